import { inflateRawSync } from 'node:zlib';
import { BuiltinError } from '../builtin.ts';
import { packedZones } from './packed.ts';
import { parseRule, type Rule, typeByRule } from './rules.ts';

/** What clocks show in a zone for some time. */
export interface ZoneType {
  /** Seconds ahead of UTC. */
  readonly offset: number;
  readonly isSummer: boolean;
  readonly abbreviation: string;
}

interface Zone {
  readonly first: ZoneType;
  /** Seconds since the Unix epoch, ascending, and what begins then. */
  readonly times: readonly number[];
  readonly types: readonly ZoneType[];
  /** For what is behind the last of them. */
  readonly rule: Rule | undefined;
}

const utc: ZoneType = { offset: 0, isSummer: false, abbreviation: 'UTC' };

/** The host's own zone must not make a difference to a decision. */
export function isUtc(name: string): boolean {
  return name === '' || name === 'UTC' || name === 'Local';
}

/** @throws BuiltinError for a name that is not in the time zone database as it is written */
export function typeAt(name: string, seconds: number): ZoneType {
  if (isUtc(name)) return utc;
  const zone = zoneOf(name);
  const { times, types, rule } = zone;
  if (times.length === 0 || seconds < (times[0] ?? 0))
    return times.length === 0 && rule ? typeByRule(rule, seconds) : zone.first;
  let [low, high] = [0, times.length];
  while (high - low > 1) {
    const middle = (low + high) >>> 1;
    if (seconds < (times[middle] ?? 0)) high = middle;
    else low = middle;
  }
  return low === times.length - 1 && rule ? typeByRule(rule, seconds) : (types[low] ?? zone.first);
}

/** @throws BuiltinError */
export function checkZone(name: string): void {
  if (!isUtc(name)) zoneOf(name);
}

let lines: ReadonlyMap<string, string> | undefined;
/** Bounded by the number of zones there are. */
const zones = new Map<string, Zone>();

function zoneOf(name: string): Zone {
  const known = zones.get(name);
  if (known) return known;
  lines ??= unpack();
  const line = lines.get(name);
  if (line === undefined) throw new BuiltinError('unknown time zone');
  const zone = parseZone(line);
  zones.set(name, zone);
  return zone;
}

function unpack(): ReadonlyMap<string, string> {
  const text = inflateRawSync(Buffer.from(packedZones, 'base64')).toString('latin1');
  return new Map(
    text.split('\n').flatMap((line) => {
      const [names = ''] = line.split('|', 1);
      return names.split(',').map((name) => [name, line] as const);
    }),
  );
}

function parseZone(line: string): Zone {
  const [, writtenTypes = '', writtenChanges = '', rule = ''] = line.split('|');
  const all = writtenTypes.split(',').map((written): ZoneType => {
    const [offset, isSummer, abbreviation = ''] = written.split(' ');
    return { offset: Number(offset), isSummer: isSummer === '1', abbreviation };
  });
  const changes = writtenChanges === '' ? [] : writtenChanges.split(',').map((change) => change.split(' '));
  let time = 0;
  const times = changes.map(([step = '0']) => (time += Number.parseInt(step, 36)));
  const indexes = changes.map(([, index]) => Number(index));
  const types = indexes.map((index) => all[index] ?? utc);
  return { first: all[firstOf(all, indexes)] ?? utc, times, types, rule: parseRule(rule) };
}

/** As Go chooses what was before the first change: a type that is used for nothing else, or one that is not summer's. */
function firstOf(types: readonly ZoneType[], indexes: readonly number[]): number {
  if (!indexes.includes(0)) return 0;
  const [first = 0] = indexes;
  if (types[first]?.isSummer)
    for (let index = first - 1; index >= 0; index -= 1) if (types[index]?.isSummer === false) return index;
  return Math.max(
    types.findIndex(({ isSummer }) => !isSummer),
    0,
  );
}
