import { unitsOfDigits } from '../../values/parse.ts';
import { characters, Decimal, isNumber, toDisplay, type Value } from '../../values/values.ts';
import { array, type BuiltinContext, type BuiltinTable, text } from '../builtin.ts';
import { formatFloat } from '../numbers/floats.ts';

/** Go's fmt.Sprintf for what OPA hands it: int64 or *big.Int, float64, and strings (all else as OPA prints it). */
type Argument = bigint | number | string;

interface Directive {
  readonly plus: boolean;
  readonly minus: boolean;
  readonly sharp: boolean;
  readonly space: boolean;
  readonly zero: boolean;
  readonly width: number | undefined;
  readonly precision: number | undefined;
}

/**
 * Fuel units of a directive, and per character of what one prints: measured, 500 ns and up to 100 ns a character (`%x`),
 * counted before it is known how few of them a precision leaves.
 */
const unitsPerDirective = 500;
const unitsPerCharacter = 100;
const unitsPerPlainCharacter = 4;
/** Fuel units per power of two that an exact number is away from 1: its digits are those of a power of five. */
const unitsPerExponent = 60;

/** Go takes larger widths and precisions for a mistake. */
const largest = 1_000_000;
const int64 = 1n << 63n;

export const sprintfBuiltins: BuiltinTable = {
  sprintf: ([format, values], context) =>
    new Formatter(text(format), array(values).map(toArgument), context).run(),
};

function toArgument(value: Value): Argument {
  // Go hands on the text of what no float64 holds.
  if (value instanceof Decimal) return Number.isFinite(value.float) ? value.float : value.text;
  if (isNumber(value)) return BigInt(value);
  return typeof value === 'string' ? value : toDisplay(value);
}

class Formatter {
  readonly #format: string;
  readonly #arguments: readonly Argument[];
  readonly #context: BuiltinContext;
  #at = 0;
  #next = 0;
  #reordered = false;
  #badIndex = false;

  constructor(format: string, values: readonly Argument[], context: BuiltinContext) {
    this.#format = format;
    this.#arguments = values;
    this.#context = context;
  }

  run(): string {
    let output = '';
    while (this.#at < this.#format.length) {
      this.#context.spend(unitsPerDirective);
      const percent = this.#format.indexOf('%', this.#at);
      if (percent < 0) {
        output += this.#format.slice(this.#at);
        break;
      }
      output += this.#format.slice(this.#at, percent);
      this.#at = percent + 1;
      output += this.#directive();
    }
    if (!this.#reordered && this.#next < this.#arguments.length) {
      const extra = this.#arguments.slice(this.#next).map((value) => {
        this.#pay('v', value, 0);
        return `${typeName(value)}=${plain(value)}`;
      });
      output += `%!(EXTRA ${extra.join(', ')})`;
    }
    return output;
  }

  #directive(): string {
    this.#badIndex = false;
    const flags = new Set<string>();
    while ('+-# 0'.includes(this.#format[this.#at] ?? '!')) {
      this.#context.spend(unitsPerCharacter);
      flags.add(this.#format[this.#at++] ?? '');
    }
    let problem = '';
    let indexed = this.#index();
    let width = this.#number(() => (problem += '%!(BADWIDTH)'));
    if (width !== undefined && indexed) this.#badIndex = true;
    if (width !== undefined && width < 0) {
      flags.add('-');
      width = -width;
    }
    let precision: number | undefined;
    if (this.#format[this.#at] === '.') {
      this.#at += 1;
      if (indexed) this.#badIndex = true;
      indexed = this.#index();
      precision = this.#number(() => (problem += '%!(BADPREC)'));
      if (precision === undefined || precision < 0)
        precision = precision === undefined && !problem ? 0 : undefined;
    }
    if (!indexed) this.#index();
    const verb = this.#verb();
    if (verb === undefined) return `${problem}%!(NOVERB)`;
    if (verb === '%') return `${problem}%`;
    if (this.#badIndex) return `${problem}%!${verb}(BADINDEX)`;
    const value = this.#arguments[this.#next];
    if (value === undefined) return `${problem}%!${verb}(MISSING)`;
    this.#next += 1;
    this.#pay(verb, value, (width ?? 0) + (precision ?? 0));
    const directive: Directive = {
      plus: flags.has('+'),
      minus: flags.has('-'),
      sharp: flags.has('#'),
      space: flags.has(' '),
      zero: flags.has('0') && !flags.has('-'),
      width,
      precision,
    };
    return problem + formatValue(verb, value, directive);
  }

  #pay(verb: string, value: Argument, padding: number): void {
    this.#context.spend(unitsPerDirective + padding * unitsPerPlainCharacter);
    if (typeof value === 'string') {
      const isPlain = (verb === 's' || verb === 'v') && padding === 0;
      this.#context.spend(value.length * (isPlain ? unitsPerPlainCharacter : unitsPerCharacter));
    } else if (typeof value === 'bigint') this.#context.spend(unitsOfInteger(value));
    else if (value !== 0) this.#context.spend(Math.abs(Math.log2(Math.abs(value))) * unitsPerExponent);
  }

  #verb(): string | undefined {
    const point = this.#format.codePointAt(this.#at);
    if (point === undefined) return undefined;
    const verb = String.fromCodePoint(point);
    this.#at += verb.length;
    return verb;
  }

  /** `[3]` selects the third argument. */
  #index(): boolean {
    if (this.#format[this.#at] !== '[') return false;
    this.#reordered = true;
    // No index is longer; to look further would be quadratic in the length of `%[%[%[`.
    const near = this.#format.slice(this.#at, this.#at + 32).indexOf(']');
    const close = near < 0 ? near : this.#at + near;
    const digits = close < 0 ? '' : this.#format.slice(this.#at + 1, close);
    this.#at = close < 0 ? this.#at + 1 : close + 1;
    const index = /^\d{1,7}$/.test(digits) ? Number(digits) : 0;
    if (index < 1 || index > this.#arguments.length) this.#badIndex = true;
    else this.#next = index - 1;
    return true;
  }

  /** Digits, or `*` for the next argument. */
  #number(complain: () => void): number | undefined {
    if (this.#format[this.#at] === '*') {
      this.#at += 1;
      const value = this.#arguments[this.#next];
      this.#next += 1;
      if (typeof value === 'bigint' && value <= largest && value >= -largest) return Number(value);
      complain();
      return undefined;
    }
    const digits = /^\d+/.exec(this.#format.slice(this.#at, this.#at + 20))?.[0];
    if (digits === undefined) return undefined;
    this.#at += digits.length;
    const value = Number(digits);
    if (value <= largest) return value;
    complain();
    return undefined;
  }
}

/** The digits of an integer beyond 64 bits take a time that grows faster than they do. */
function unitsOfInteger(value: bigint): number {
  if (!isBig(value)) return 0;
  // Hexadecimal digits are counted in no time.
  return unitsOfDigits(value.toString(16).length * 1.25);
}

function formatValue(verb: string, value: Argument, directive: Directive): string {
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

const escapes: Readonly<Record<string, string>> = {
  '\x07': '\\a',
  '\b': '\\b',
  '\f': '\\f',
  '\n': '\\n',
  '\r': '\\r',
  '\t': '\\t',
  '\v': '\\v',
  '\\': '\\\\',
};

/** Go's strconv.Quote. */
function quote(value: string, mark: string): string {
  const inner = Array.from(value, (character) => {
    if (character === mark) return `\\${mark}`;
    const escape = escapes[character];
    if (escape !== undefined) return escape;
    const point = character.codePointAt(0) ?? 0;
    if (/^[\p{L}\p{M}\p{N}\p{P}\p{S} ]$/u.test(character)) return character;
    if (point < 0x80) return `\\x${point.toString(16).padStart(2, '0')}`;
    return point < 0x10000
      ? `\\u${point.toString(16).padStart(4, '0')}`
      : `\\U${point.toString(16).padStart(8, '0')}`;
  });
  return mark + inner.join('') + mark;
}

function pad(value: string, { width, minus, zero }: Directive): string {
  if (width === undefined) return value;
  const missing = width - characters(value).length;
  if (missing <= 0) return value;
  if (minus) return value + ' '.repeat(missing);
  return (zero ? '0' : ' ').repeat(missing) + value;
}

function isBig(value: bigint): boolean {
  return value >= int64 || value < -int64;
}

function typeName(value: Argument): string {
  if (typeof value === 'string') return 'string';
  if (typeof value === 'number') return 'float64';
  return isBig(value) ? '*big.Int' : 'int64';
}

function plain(value: Argument): string {
  return typeof value === 'number' ? formatFloat(value, 'g', undefined) : String(value);
}
