import { identity, isArray, RegoObject, RegoSet, type Value } from '../../values/values.ts';
import { type BuiltinContext, BuiltinError, type BuiltinTable, members, text } from '../builtin.ts';
import {
  type Address,
  contains,
  formatAddress,
  formatNetwork,
  lastOf,
  type Network,
  parseAddress,
  parseNetwork,
} from './addresses.ts';

/** Fuel units of an address that is made: measured, 1 µs, and 4 µs for IPv6. */
const unitsPerAddress = { 32: 1_000, 128: 4_000 } as const;
/** Fuel units of a network that is read, of one that is merged, and of a comparison. */
const unitsPerNetwork = 1_500;
const unitsPerMerged = 2_000;
const unitsPerComparison = 200;
/** Fuel units of a bit of a prefix's length that is tried: measured, some 200 ns. */
const unitsPerBit = 300;
/** Fuel units per character of the indexes of a match, which are written for each. */
const unitsPerCharacter = 4;
/** More addresses than that are no answer that a policy can use. */
const largestExpansion = 1 << 20;

export const netBuiltins: BuiltinTable = {
  'net.cidr_is_valid': ([value]) => typeof value === 'string' && parseNetwork(value) !== undefined,
  'net.cidr_expand': ([value], context) => expand(network(text(value)), context),
  'net.cidr_contains_matches': ([networks, candidates], context) =>
    containsMatches(indexed(networks), indexed(candidates), context),
  'net.cidr_merge': ([networks], context) => {
    context.spend(members(networks).length * unitsPerNetwork);
    const parsed = members(networks).map((each) => toNetwork(text(each)));
    context.spend(parsed.length * unitsPerMerged);
    return new RegoSet(merge(parsed, context).map(formatNetwork));
  },
};

function network(value: string): Network {
  const parsed = parseNetwork(value);
  if (!parsed) throw new BuiltinError('not a CIDR');
  return parsed;
}

function expand(range: Network, context: BuiltinContext): Value {
  const size = 2 ** (range.bits - range.length);
  context.spend(Math.min(size, 2 ** 31) * unitsPerAddress[range.bits]);
  if (size > largestExpansion) throw new BuiltinError('too many addresses');
  const addresses = new RegoSet();
  for (let offset = 0n; offset < BigInt(size); offset += 1n)
    addresses.add(formatAddress({ bits: range.bits, value: range.value + offset }));
  return addresses;
}

/** A CIDR or an address, and what it is known by: itself, its index, or its key. */
interface Indexed {
  readonly cidr: string;
  readonly index: Value;
}

function indexed(operand: Value | undefined): Indexed[] {
  if (typeof operand === 'string') return [{ cidr: operand, index: operand }];
  if (operand instanceof RegoSet)
    return operand.sorted().map((member) => ({ cidr: cidrOf(member), index: member }));
  if (operand instanceof RegoObject)
    return operand.sorted().map(([key, value]) => ({ cidr: cidrOf(value), index: key }));
  return members(operand).map((element, index) => ({ cidr: cidrOf(element), index }));
}

function cidrOf(element: Value): string {
  return text(isArray(element) ? element[0] : element);
}

function containsMatches(networks: Indexed[], candidates: Indexed[], context: BuiltinContext): Value {
  context.spend((networks.length + candidates.length) * unitsPerNetwork);
  context.spend(networks.length * candidates.length * unitsPerComparison);
  const matches = new RegoSet();
  if (candidates.length === 0) return matches;
  const parsed = networks.map(({ cidr, index }) => ({ range: network(cidr), index }));
  const tested = candidates.map(({ cidr, index }) => ({ test: containment(cidr), index }));
  for (const { range, index } of parsed)
    for (const candidate of tested) {
      if (!candidate.test(range)) continue;
      const length = identity(index).length + identity(candidate.index).length;
      context.spend(unitsPerNetwork + length * unitsPerCharacter);
      matches.add([index, candidate.index]);
    }
  return matches;
}

function containment(candidate: string): (range: Network) => boolean {
  const address = parseAddress(candidate);
  if (address) return (range) => contains(range, address);
  const inner = network(candidate);
  return (range) => range.length <= inner.length && contains(range, inner);
}

/** An address without a length has its class's one, as Go's DefaultMask says. */
function toNetwork(value: string): Network {
  const address = parseAddress(value);
  if (!address) return network(value);
  if (address.bits === 128) throw new BuiltinError('IPv6 invalid: needs prefix length');
  return network(`${value}/${classLength(address)}`);
}

function classLength({ value }: Address): number {
  const top = value >> 24n;
  if (top < 0x80n) return 8;
  return top < 0xc0n ? 16 : 24;
}

interface Range {
  readonly bits: 32 | 128;
  readonly first: bigint;
  last: bigint;
}

/** The fewest networks that cover the same addresses. */
function merge(networks: readonly Network[], context: BuiltinContext): Network[] {
  const ranges: Range[] = networks
    .map((each) => ({ bits: each.bits, first: each.value, last: lastOf(each) }))
    .sort((a, b) => a.bits - b.bits || compare(a.first, b.first) || compare(a.last, b.last));
  const joined: Range[] = [];
  for (const range of ranges) {
    const before = joined.at(-1);
    if (before && before.bits === range.bits && range.first <= before.last + 1n) {
      if (range.last > before.last) before.last = range.last;
    } else joined.push({ ...range });
  }
  return joined.flatMap((range) => cover(range, context));
}

function cover({ bits, first, last }: Range, context: BuiltinContext): Network[] {
  const networks: Network[] = [];
  for (let at = first; at <= last; ) {
    let host = 0;
    while (host < bits && at % (1n << BigInt(host + 1)) === 0n && at + (1n << BigInt(host + 1)) - 1n <= last)
      host += 1;
    context.spend(unitsPerMerged + host * unitsPerBit);
    networks.push({ bits, length: bits - host, value: at });
    at += 1n << BigInt(host);
  }
  return networks;
}

function compare(a: bigint, b: bigint): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
