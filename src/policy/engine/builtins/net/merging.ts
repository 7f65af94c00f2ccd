import { type BuiltinContext, BuiltinError } from '../builtin.ts';
import {
  formatAddress,
  formatNetwork,
  lastOf,
  type Network,
  parseAddress,
  parseNetwork,
} from './addresses.ts';

/** Fuel units of a network that is read and merged, and of a bit of a prefix's length that is tried: 200 ns measured. */
export const unitsPerMerged = 15_000;
const unitsPerBit = 600;

/** Addresses in a row. Those of IPv4 are at ::ffff:0:0/96, where OPA has them: a wide enough range of IPv6 takes them in. */
interface Range {
  readonly first: bigint;
  readonly last: bigint;
  /** As it was written, while it is merged with no other. */
  readonly text: string | undefined;
}

const mapped = 0xffffn << 32n;

/** The fewest networks that cover the same addresses. */
export function merge(networks: readonly string[], context: BuiltinContext): string[] {
  const ranges = networks.map(rangeOf).sort((a, b) => compare(a.last, b.last) || compare(a.first, b.first));
  const merged: Range[] = [];
  for (let range = ranges.pop(); range; range = ranges.pop()) {
    const before = ranges.at(-1);
    if (before && previousOf(range.first) <= before.last) {
      const first = before.first < range.first ? before.first : range.first;
      ranges[ranges.length - 1] = { first, last: range.last, text: undefined };
    } else merged.push(range);
  }
  return merged.flatMap((range) => (range.text === undefined ? cover(range, context) : [range.text]));
}

/** Each family has a first address, which has none before it. */
function previousOf(address: bigint): bigint {
  return address === 0n || address === mapped ? address : address - 1n;
}

function rangeOf(value: string): Range {
  const address = parseAddress(value);
  if (address?.bits === 128) throw new BuiltinError('IPv6 invalid: needs prefix length');
  const length = address && classLength(address.value);
  // The host's bits stay in what is written of an address without a length.
  const network = parseNetwork(address ? `${formatAddress(address)}/${length}` : value);
  if (!network) throw new BuiltinError('not a CIDR');
  const base = network.bits === 32 ? mapped : 0n;
  const text = address ? `${formatAddress(address)}/${length}` : formatNetwork(network);
  return { first: base + network.value, last: base + lastOf(network), text };
}

/** An address without a length has its class's one, as Go's DefaultMask says. */
function classLength(value: bigint): number {
  const top = value >> 24n;
  if (top < 0x80n) return 8;
  return top < 0xc0n ? 16 : 24;
}

function cover({ first, last }: Range, context: BuiltinContext): string[] {
  const isMapped = first >> 32n === 0xffffn && last >> 32n === 0xffffn;
  const [bits, base] = isMapped ? ([32, mapped] as const) : ([128, 0n] as const);
  const networks: Network[] = [];
  for (let at = first - base; at <= last - base; ) {
    let host = 0;
    while (host < bits && isWithin(at, host + 1, last - base)) host += 1;
    context.spend(unitsPerMerged + host * unitsPerBit);
    networks.push({ bits, length: bits - host, value: at });
    at += 1n << BigInt(host);
  }
  return networks.map(formatNetwork);
}

/** Whether a network with so many bits for hosts begins there, and ends by the last. */
function isWithin(at: bigint, host: number, last: bigint): boolean {
  const size = 1n << BigInt(host);
  return at % size === 0n && at + size - 1n <= last;
}

function compare(a: bigint, b: bigint): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
