import { quote } from '../../values/quote.ts';
import { bytesOf } from '../../values/utf8.ts';
import { characters } from '../../values/values.ts';
import { formatFloat } from '../numbers/floats.ts';
import { formatNumber } from './floatverbs.ts';
import { type Directive, pad } from './padding.ts';

export type { Directive } from './padding.ts';

/** Go's json.Number. */
export interface Numeral {
  readonly text: string;
}

/**
 * What is handed to Go's fmt.Sprintf. OPA itself hands int64 or *big.Int, float64, and strings (all else as it prints
 * it), a template booleans, nil and json.Number too.
 */
export type Argument = bigint | number | string | boolean | null | Numeral;

const int64 = 1n << 63n;

export function isBig(value: bigint): boolean {
  return value >= int64 || value < -int64;
}

/** A value as a directive has it, or Go's complaint about the two. */
export function formatValue(verb: string, value: Argument, directive: Directive): string {
  if (value === null) return verb === 'T' || verb === 'v' ? pad('<nil>', directive) : `%!${verb}(<nil>)`;
  if (verb === 'T') return pad(truncate(typeName(value, directive.integer), directive), directive);
  const formatted = inVerb(verb, value, directive);
  if (formatted !== undefined) return formatted;
  if (typeof value === 'bigint' && isBig(value))
    return verb === 'w' ? `%!w(*big.Int=${wordsOf(value)})` : `%!${verb}(big.Int=${value})`;
  return `%!${verb}(${typeName(value, directive.integer)}=${inVerb('v', value, directive) ?? ''})`;
}

/** How Go prints the fields of a big.Int: its sign, and words of 64 bits, the lowest first. */
function wordsOf(value: bigint): string {
  const words: bigint[] = [];
  for (let rest = value < 0n ? -value : value; rest > 0n; rest >>= 64n) words.push(BigInt.asUintN(64, rest));
  return `&{${value < 0n} [${words.join(' ')}]}`;
}

/** Undefined for a verb that is none of the type's. */
function inVerb(verb: string, value: NonNullable<Argument>, directive: Directive): string | undefined {
  if (typeof value === 'number') return formatNumber(verb, value, directive);
  if (typeof value === 'string') return formatText(verb, value, directive);
  if (typeof value === 'boolean')
    return verb === 't' || verb === 'v' ? pad(String(value), directive) : undefined;
  if (typeof value === 'object') return formatText(verb, value.text, directive);
  return isBig(value) ? formatBig(verb, value, directive) : formatInteger(verb, value, directive);
}

const bases: Readonly<Record<string, number>> = { d: 10, v: 10, b: 2, o: 8, O: 8, x: 16, X: 16 };
const basePrefixes: Readonly<Record<string, string>> = { b: '0b', o: '0', x: '0x', X: '0X' };

function digitsOf(value: bigint, base: number, verb: string): string {
  const digits = (value < 0n ? -value : value).toString(base);
  return verb === 'X' ? digits.toUpperCase() : digits;
}

function signOf(value: bigint, { plus, space }: Directive): string {
  if (value < 0n) return '-';
  if (plus) return '+';
  return space ? ' ' : '';
}

function formatInteger(verb: string, value: bigint, directive: Directive): string | undefined {
  if (verb === 'c' || verb === 'q' || verb === 'U') return formatCodePoint(verb, value, directive);
  const base = bases[verb];
  if (base === undefined) return undefined;
  const { minus, zero, width, precision } = directive;
  const sign = signOf(value, directive);
  if (precision === 0 && value === 0n) return ' '.repeat(width ?? 0);
  const zeroed = zero && !minus && width !== undefined ? width - sign.length : 0;
  let digits = digitsOf(value, base, verb).padStart(precision ?? zeroed, '0');
  const prefix = verb === 'O' ? '0' : (basePrefixes[verb] ?? '');
  if (directive.sharp && !(base === 8 && digits.startsWith('0'))) digits = prefix + digits;
  if (verb === 'O') digits = `0o${digits}`;
  return pad(sign + digits, { ...directive, zero: false });
}

/** *big.Int is a Formatter of its own: it takes %s, and its prefix is within the width. */
function formatBig(verb: string, value: bigint, directive: Directive): string | undefined {
  const base = verb === 's' ? 10 : bases[verb];
  if (base === undefined) return undefined;
  const { minus, zero, width = 0, precision, sharp, sharpValue } = directive;
  const prefix = verb === 'O' ? '0o' : sharp || sharpValue ? (basePrefixes[verb] ?? '') : '';
  const front = signOf(value, directive) + prefix;
  const digits = digitsOf(value, base, verb).padStart(precision ?? 0, '0');
  if (minus) return (front + digits).padEnd(width);
  if (zero && precision === undefined) return front + digits.padStart(width - front.length, '0');
  return (front + digits).padStart(width);
}

function formatCodePoint(verb: string, value: bigint, directive: Directive): string {
  const isValid = value >= 0n && value <= 0x10ffffn && !(value >= 0xd800n && value < 0xe000n);
  const character = isValid ? String.fromCodePoint(Number(value)) : '\ufffd';
  if (verb === 'c') return pad(character, directive);
  if (verb === 'q') return pad(quote(character, "'", directive.plus), directive);
  const digits = BigInt.asUintN(64, value)
    .toString(16)
    .toUpperCase()
    .padStart(Math.max(directive.precision ?? 4, 4), '0');
  const isShown = directive.sharp && isValid && quote(character, '') === character;
  return pad(`U+${digits}${isShown ? ` '${character}'` : ''}`, { ...directive, zero: false });
}

function formatText(verb: string, value: string, directive: Directive): string | undefined {
  if (verb === 'q' || (verb === 'v' && directive.sharpValue)) return formatQuoted(value, directive);
  if (verb === 'v' || verb === 's') return pad(truncate(value, directive), directive);
  if (verb !== 'x' && verb !== 'X') return undefined;
  const bytes = bytesOf(value).subarray(0, directive.precision ?? Number.POSITIVE_INFINITY);
  const separator = directive.space ? ' ' : '';
  const prefix = directive.sharp && bytes.length > 0 ? '0x' : '';
  const pairs = Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0'));
  const joined = prefix + pairs.join(separator + (directive.space ? prefix : ''));
  return pad(verb === 'X' ? joined.toUpperCase() : joined, directive);
}

function formatQuoted(value: string, directive: Directive): string {
  const cut = truncate(value, directive);
  const isRaw = directive.sharp && !/(?!\t)\p{Cc}|[`\ufeff]/u.test(cut.replace(/[\u0080-\u009f]/g, ''));
  return pad(isRaw ? `\`${cut}\`` : quote(cut, '"', directive.plus), directive);
}

function truncate(value: string, { precision }: Directive): string {
  if (precision === undefined || value.length <= precision) return value;
  return characters(value).slice(0, precision).join('');
}

/** @param integer what an integer is that is not large */
export function typeName(value: NonNullable<Argument>, integer: string): string {
  if (typeof value === 'boolean') return 'bool';
  if (typeof value === 'object') return 'json.Number';
  if (typeof value === 'string') return 'string';
  if (typeof value === 'number') return 'float64';
  return isBig(value) ? '*big.Int' : integer;
}

export function plain(value: NonNullable<Argument>): string {
  if (typeof value === 'object') return value.text;
  return typeof value === 'number' ? formatFloat(value, 'g', undefined) : String(value);
}
