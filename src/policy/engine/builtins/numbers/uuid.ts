import { RegoObject, toRego, type Value } from '../../values/values.ts';
import { type BuiltinTable, fromBigInt, text } from '../builtin.ts';
import { drawBytes } from './random.ts';

/** Fuel units of a draw: up to 4 µs for the digest it is made of. */
const unitsPerDraw = 4_000;
/** Fuel units to take an identifier to pieces: measured, 5 µs for one that has a time in it. */
const unitsPerParsed = 3_000;

export const uuidBuiltins: BuiltinTable = {
  'uuid.rfc4122': ([key], context) => {
    context.spend(unitsPerDraw);
    const bytes = drawBytes(context.seed, 'uuid.rfc4122', key === undefined ? '' : toRego(key));
    bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x40;
    bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80;
    const hex = bytes.toString('hex', 0, 16);
    return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
  },
  'uuid.parse': ([value], context) => {
    context.spend(unitsPerParsed);
    return parse(text(value));
  },
};

const form = /^(?:urn:uuid:)?([0-9a-f]{8})-([0-9a-f]{4})-([0-9a-f]{4})-([0-9a-f]{4})-([0-9a-f]{12})$/i;
const domains = ['Person', 'Group', 'Org'];
/** 100 ns intervals from the Gregorian calendar's start to the Unix epoch (RFC 9562 section 5.1). */
const gregorian = 0x01b21dd213814000n;

/** Go's uuid.Parse: what stands around one of 36 characters may be any two bytes. */
function parse(value: string): Value | undefined {
  const octets = Buffer.from(value).toString('latin1');
  const framed = octets.length === 38 ? octets.slice(1, -1) : octets;
  const plain = /^[0-9a-f]{32}$/i.test(framed)
    ? framed.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-')
    : framed;
  const found = form.exec(plain);
  if (!found) return undefined;
  const bytes = Buffer.from(found.slice(1).join(''), 'hex');
  const version = (bytes[6] ?? 0) >> 4;
  const entries: [string, Value][] = [
    ['version', version],
    ['variant', variantOf(bytes[8] ?? 0)],
  ];
  if (version === 1 || version === 2) entries.push(...timeBased(bytes));
  if (version === 2)
    entries.push(['id', bytes.readUInt32BE(0)], ['domain', domains[bytes[9] ?? 0] ?? `Domain${bytes[9]}`]);
  return new RegoObject(entries);
}

function timeBased(bytes: Buffer): [string, Value][] {
  const ticks =
    (BigInt(bytes.readUInt16BE(6) & 0x0fff) << 48n) |
    (BigInt(bytes.readUInt16BE(4)) << 32n) |
    BigInt(bytes.readUInt32BE(0));
  const first = bytes[10] ?? 0;
  const nodeId = Array.from(bytes.subarray(10), (byte) => byte.toString(16).padStart(2, '0')).join('-');
  const scope = (first & 2) === 0 ? 'global' : 'local';
  return [
    ['time', fromBigInt(BigInt.asIntN(64, (ticks - gregorian) * 100n))],
    ['nodeid', nodeId],
    ['macvariables', `${scope}:${(first & 1) === 0 ? 'unicast' : 'multicast'}`],
    ['clocksequence', bytes.readUInt16BE(8) & 0x3fff],
  ];
}

function variantOf(byte: number): string {
  if ((byte & 0xc0) === 0x80) return 'RFC4122';
  if ((byte & 0xe0) === 0xc0) return 'Microsoft';
  return (byte & 0xe0) === 0xe0 ? 'Future' : 'Reserved';
}
