import { BuiltinError, type BuiltinTable, text } from '../builtin.ts';

export const semverBuiltins: BuiltinTable = {
  'semver.is_valid': ([value]) => typeof value === 'string' && parse(value) !== undefined,
  'semver.compare': ([first, second]) => compare(require(text(first)), require(text(second))),
};

interface Version {
  readonly numbers: readonly bigint[];
  readonly preRelease: readonly string[];
}

const numeric = /^(?:0|[1-9]\d*)$/;
const identifier = /^[0-9A-Za-z-]+$/;

/** Semantic Versioning 2.0.0, and a leading `v`. */
function parse(value: string): Version | undefined {
  const [front, metadata] = cut(value.replace(/^v/, ''), '+');
  if (metadata !== undefined && !metadata.split('.').every((part) => identifier.test(part))) return undefined;
  const [core, preRelease] = cut(front, '-');
  const parts = preRelease?.split('.') ?? [];
  if (!parts.every((part) => identifier.test(part) && (!/^\d+$/.test(part) || numeric.test(part))))
    return undefined;
  const numbers = core.split('.');
  if (numbers.length !== 3 || !numbers.every((part) => numeric.test(part))) return undefined;
  const counted = numbers.map(BigInt);
  return counted.some((part) => part >= 1n << 63n) ? undefined : { numbers: counted, preRelease: parts };
}

function require(value: string): Version {
  const version = parse(value);
  if (!version) throw new BuiltinError('not a valid SemVer');
  return version;
}

/** Section 11 of the specification. */
function compare(a: Version, b: Version): number {
  for (const [index, part] of a.numbers.entries()) {
    const other = b.numbers[index] ?? 0n;
    if (part !== other) return part < other ? -1 : 1;
  }
  if (a.preRelease.length === 0 || b.preRelease.length === 0)
    return Math.sign(b.preRelease.length - a.preRelease.length);
  for (const [index, part] of a.preRelease.entries()) {
    const other = b.preRelease[index];
    if (other === undefined) return 1;
    const difference = compareIdentifiers(part, other);
    if (difference !== 0) return difference;
  }
  return a.preRelease.length < b.preRelease.length ? -1 : 0;
}

function compareIdentifiers(a: string, b: string): number {
  if (a === b) return 0;
  const [first, second] = [numeric.test(a), numeric.test(b)];
  if (first !== second) return first ? -1 : 1;
  if (first) return BigInt(a) < BigInt(b) ? -1 : 1;
  return a < b ? -1 : 1;
}

function cut(value: string, mark: string): [string, string | undefined] {
  const at = value.indexOf(mark);
  return at < 0 ? [value, undefined] : [value.slice(0, at), value.slice(at + 1)];
}
