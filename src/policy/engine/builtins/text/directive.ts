import { quote } from '../../values/quote.ts';
import { characters } from '../../values/values.ts';
import { formatFloat } from '../numbers/floats.ts';

/** What OPA hands to Go's fmt.Sprintf: int64 or *big.Int, float64, and strings (all else as OPA prints it). */
export type Argument = bigint | number | string;

export interface Directive {
  readonly plus: boolean;
  readonly minus: boolean;
  readonly sharp: boolean;
  readonly space: boolean;
  readonly zero: boolean;
  readonly width: number | undefined;
  readonly precision: number | undefined;
}

const int64 = 1n << 63n;

/** A value as a directive has it, or Go's complaint about the two. */
export function formatValue(verb: string, value: Argument, directive: Directive): string {
  const formatted =
    typeof value === 'bigint'
      ? formatInteger(verb, value, directive)
      : typeof value === 'number'
        ? formatNumber(verb, value, directive)
        : formatText(verb, value, directive);
  if (formatted !== undefined) return formatted;
  if (verb === 'T') return pad(typeName(value), directive);
  return `%!${verb}(${typeName(value)}=${plain(value)})`;
}

const bases: Readonly<Record<string, number>> = { d: 10, v: 10, b: 2, o: 8, O: 8, x: 16, X: 16 };
const basePrefixes: Readonly<Record<string, string>> = { b: '0b', o: '0', x: '0x', X: '0X' };

function formatInteger(verb: string, value: bigint, directive: Directive): string | undefined {
  if (verb === 'c' || verb === 'q' || verb === 'U') return formatCodePoint(verb, value, directive);
  // *big.Int is a Formatter of its own and takes %s, which int64 does not.
  const base = verb === 's' && isBig(value) ? 10 : bases[verb];
  if (base === undefined) return undefined;
  let digits = (value < 0n ? -value : value).toString(base);
  if (verb === 'X') digits = digits.toUpperCase();
  const sign = value < 0n ? '-' : directive.plus ? '+' : directive.space ? ' ' : '';
  const prefix = verb === 'O' ? '0o' : directive.sharp ? (basePrefixes[verb] ?? '') : '';
  if (directive.precision !== undefined) {
    if (directive.precision === 0 && value === 0n) return pad('', directive);
    digits = digits.padStart(directive.precision, '0');
  } else if (directive.zero && directive.width !== undefined)
    digits = digits.padStart(directive.width - sign.length, '0');
  return pad(sign + prefix + digits, directive);
}

function formatCodePoint(verb: string, value: bigint, directive: Directive): string | undefined {
  if (isBig(value)) return undefined;
  const isValid = value >= 0n && value <= 0x10ffffn && !(value >= 0xd800n && value < 0xe000n);
  const character = isValid ? String.fromCodePoint(Number(value)) : '\ufffd';
  if (verb === 'c') return pad(character, directive);
  if (verb === 'q') return pad(quote(character, "'"), directive);
  const code = `U+${value
    .toString(16)
    .toUpperCase()
    .padStart(Math.max(directive.precision ?? 4, 4), '0')}`;
  return pad(directive.sharp ? `${code} '${character}'` : code, directive);
}

const floatVerbs: Readonly<Record<string, readonly ['e' | 'f' | 'g', number | undefined]>> = {
  v: ['g', undefined],
  g: ['g', undefined],
  G: ['g', undefined],
  e: ['e', 6],
  E: ['e', 6],
  f: ['f', 6],
  F: ['f', 6],
};

function formatNumber(verb: string, value: number, directive: Directive): string | undefined {
  const [format, usual] = floatVerbs[verb] ?? [];
  if (!format) return undefined;
  let digits = formatFloat(value, format, directive.precision ?? usual);
  if (verb === 'E' || verb === 'G') digits = digits.toUpperCase();
  if (!digits.startsWith('-')) digits = (directive.plus ? '+' : directive.space ? ' ' : '') + digits;
  if (!directive.zero || directive.width === undefined) return pad(digits, directive);
  const sign = /^[-+ ]/.exec(digits)?.[0] ?? '';
  return sign + digits.slice(sign.length).padStart(directive.width - sign.length, '0');
}

function formatText(verb: string, value: string, directive: Directive): string | undefined {
  const cut =
    directive.precision === undefined ? value : characters(value).slice(0, directive.precision).join('');
  if (verb === 'v' || verb === 's')
    return pad(directive.sharp && verb === 'v' ? quote(cut, '"') : cut, directive);
  if (verb === 'q')
    return pad(directive.sharp && !cut.includes('`') ? `\`${cut}\`` : quote(cut, '"'), directive);
  if (verb !== 'x' && verb !== 'X') return undefined;
  const bytes = Buffer.from(value).subarray(0, directive.precision ?? Number.POSITIVE_INFINITY);
  const separator = directive.space ? ' ' : '';
  const prefix = directive.sharp && bytes.length > 0 ? '0x' : '';
  const pairs = Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0'));
  const joined = prefix + pairs.join(separator + (directive.space ? prefix : ''));
  return pad(verb === 'X' ? joined.toUpperCase() : joined, directive);
}

function pad(value: string, { width, minus, zero }: Directive): string {
  if (width === undefined) return value;
  const missing = width - characters(value).length;
  if (missing <= 0) return value;
  if (minus) return value + ' '.repeat(missing);
  return (zero ? '0' : ' ').repeat(missing) + value;
}

export function isBig(value: bigint): boolean {
  return value >= int64 || value < -int64;
}

export function typeName(value: Argument): string {
  if (typeof value === 'string') return 'string';
  if (typeof value === 'number') return 'float64';
  return isBig(value) ? '*big.Int' : 'int64';
}

export function plain(value: Argument): string {
  return typeof value === 'number' ? formatFloat(value, 'g', undefined) : String(value);
}
