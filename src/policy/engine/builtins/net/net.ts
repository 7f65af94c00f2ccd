import { identity, isArray, RegoObject, RegoSet, type Value } from '../../values/values.ts';
import { type BuiltinContext, BuiltinError, type BuiltinTable, members, text } from '../builtin.ts';
import {
  contains,
  containsNetwork,
  formatAddress,
  type Network,
  parseAddress,
  parseNetwork,
} from './addresses.ts';
import { merge, unitsPerMerged } from './merging.ts';

/** Fuel units of an address that is made: measured, 1 µs, and 4 µs for IPv6. */
const unitsPerAddress = { 32: 2_000, 128: 12_000 } as const;
/** Fuel units of a network that is read, and of a comparison. */
const unitsPerNetwork = 4_000;
const unitsPerComparison = 200;
/** Fuel units per character of the indexes of a match, which are written for each. */
const unitsPerCharacter = 4;
/** More addresses than that are no answer that a policy can use. */
const largestExpansion = 1 << 20;

function containment([outer, inner]: readonly Value[], context: BuiltinContext): boolean {
  context.spend(2 * unitsPerNetwork);
  return containmentOf(text(inner))(network(text(outer)));
}

export const netBuiltins: BuiltinTable = {
  'net.cidr_contains': containment,
  'net.cidr_overlap': containment,
  'net.cidr_intersects': ([first, second], context) => {
    context.spend(2 * unitsPerNetwork);
    const [a, b] = [network(text(first)), network(text(second))];
    return contains(a, b) || contains(b, a);
  },
  'net.cidr_is_valid': ([value], context) => {
    context.spend(unitsPerNetwork);
    return typeof value === 'string' && parseNetwork(value) !== undefined;
  },
  'net.cidr_expand': ([value], context) => expand(network(text(value)), context),
  'net.cidr_contains_matches': ([networks, candidates], context) =>
    containsMatches(networks, candidates, context),
  'net.cidr_merge': ([networks], context) => {
    context.spend(members(networks).length * unitsPerMerged);
    return new RegoSet(merge(members(networks).map(text), context));
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
  readonly cidr: Value;
  readonly index: Value;
}

function indexed(operand: Value | undefined): Indexed[] {
  if (typeof operand === 'string') return [{ cidr: operand, index: operand }];
  if (operand instanceof RegoSet)
    return operand.sorted().map((member) => ({ cidr: cidrOf(member), index: member }));
  if (operand instanceof RegoObject)
    return operand.sorted().map(([key, value]) => ({ cidr: cidrOf(value), index: key }));
  return isArray(operand) ? operand.map((element, index) => ({ cidr: cidrOf(element), index })) : [];
}

function cidrOf(element: Value): Value {
  const cidr = isArray(element) ? element[0] : element;
  if (cidr === undefined || (!isArray(element) && typeof element !== 'string'))
    throw new BuiltinError('element must be string or non-empty array');
  return cidr;
}

/** As OPA nests it: nothing is looked at where there is nothing to compare it with. */
function containsMatches(
  first: Value | undefined,
  second: Value | undefined,
  context: BuiltinContext,
): Value {
  const matches = new RegoSet();
  const networks = indexed(first);
  const candidates = networks.length === 0 ? [] : indexed(second);
  if (candidates.length === 0) return matches;
  context.spend((networks.length + candidates.length) * unitsPerNetwork);
  context.spend(networks.length * candidates.length * unitsPerComparison);
  const parsed = networks.map(({ cidr, index }) => ({ range: network(text(cidr)), index }));
  const tested = candidates.map(({ cidr, index }) => ({ test: containmentOf(text(cidr)), index }));
  for (const { range, index } of parsed)
    for (const candidate of tested) {
      if (!candidate.test(range)) continue;
      const length = identity(index).length + identity(candidate.index).length;
      context.spend(unitsPerNetwork + length * unitsPerCharacter);
      matches.add([index, candidate.index]);
    }
  return matches;
}

function containmentOf(candidate: string): (range: Network) => boolean {
  const address = parseAddress(candidate);
  if (address) return (range) => contains(range, address);
  const inner = network(candidate);
  return (range) => containsNetwork(range, inner);
}
