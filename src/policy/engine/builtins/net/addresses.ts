import { isIPv4, isIPv6 } from 'node:net';

/** IP addresses and prefixes as integers. An IPv4 address mapped into IPv6 is the IPv4 one, as in Go. */

export interface Address {
  readonly bits: 32 | 128;
  readonly value: bigint;
}

/** A prefix with its host bits zero. */
export interface Network extends Address {
  readonly length: number;
}

export function parseAddress(text: string): Address | undefined {
  if (isIPv4(text)) return { bits: 32, value: fromIPv4(text) };
  if (!isIPv6(text) || text.includes('%')) return undefined;
  const value = fromIPv6(text);
  return value >> 32n === 0xffffn ? { bits: 32, value: value & 0xffffffffn } : { bits: 128, value };
}

/** Go's net.ParseCIDR: the network, host bits cleared. One of IPv4 addresses mapped into IPv6 is that of IPv4. */
export function parseNetwork(text: string): Network | undefined {
  const slash = text.indexOf('/');
  const written = text.slice(slash + 1);
  if (slash < 0 || !/^\d{1,12}$/.test(written)) return undefined;
  const front = text.slice(0, slash);
  const address = isIPv4(front)
    ? ({ bits: 32, value: fromIPv4(front) } as const)
    : isIPv6(front) && !front.includes('%')
      ? ({ bits: 128, value: fromIPv6(front) } as const)
      : undefined;
  const length = Number(written);
  if (!address || length > address.bits) return undefined;
  const value = first(address, length);
  return address.bits === 128 && length >= 96 && value >> 32n === 0xffffn
    ? { bits: 32, length: length - 96, value: value & 0xffffffffn }
    : { bits: address.bits, length, value };
}

export function lastOf(network: Network): bigint {
  return network.value | ((1n << BigInt(network.bits - network.length)) - 1n);
}

export function contains(network: Network, address: Address): boolean {
  return network.bits === address.bits && first(address, network.length) === network.value;
}

/** Whether all of one network is in the other. */
export function containsNetwork(outer: Network, inner: Network): boolean {
  return outer.length <= inner.length && contains(outer, inner);
}

export function formatNetwork(network: Network): string {
  return `${formatAddress(network)}/${network.length}`;
}

/** RFC 5952 for IPv6. */
export function formatAddress({ bits, value }: Address): string {
  if (bits === 32) return [24n, 16n, 8n, 0n].map((shift) => String((value >> shift) & 0xffn)).join('.');
  const groups = Array.from({ length: 8 }, (_, index) =>
    Number((value >> BigInt(112 - index * 16)) & 0xffffn),
  );
  const { start, length } = longestZeros(groups);
  const text = (part: number[]) => part.map((group) => group.toString(16)).join(':');
  if (length < 2) return text(groups);
  return `${text(groups.slice(0, start))}::${text(groups.slice(start + length))}`;
}

function longestZeros(groups: readonly number[]): { start: number; length: number } {
  let best = { start: 0, length: 0 };
  for (let start = 0; start < groups.length; start += 1) {
    let length = 0;
    while (groups[start + length] === 0) length += 1;
    if (length > best.length) best = { start, length };
  }
  return best;
}

function first({ bits, value }: Address, length: number): bigint {
  const host = BigInt(bits - length);
  return (value >> host) << host;
}

function fromIPv4(text: string): bigint {
  return text.split('.').reduce((value, part) => (value << 8n) | BigInt(part), 0n);
}

function fromIPv6(text: string): bigint {
  const dotted = /^(.*:)(\d+\.\d+\.\d+\.\d+)$/.exec(text);
  if (dotted) {
    const low = fromIPv4(dotted[2] ?? '');
    return fromIPv6(`${dotted[1]}${(low >> 16n).toString(16)}:${(low & 0xffffn).toString(16)}`);
  }
  const [front = '', back] = text.split('::');
  const groups = (part: string) => (part === '' ? [] : part.split(':'));
  const [left, right] = [groups(front), groups(back ?? '')];
  const middle = Array.from({ length: back === undefined ? 0 : 8 - left.length - right.length }, () => '0');
  return [...left, ...middle, ...right].reduce((value, group) => (value << 16n) | BigInt(`0x${group}`), 0n);
}
