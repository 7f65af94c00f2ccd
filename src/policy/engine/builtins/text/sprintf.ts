import { unitsOfDigits } from '../../values/parse.ts';
import { Decimal, isNumber, toDisplay, type Value } from '../../values/values.ts';
import { array, type BuiltinContext, type BuiltinTable, text } from '../builtin.ts';
import { type Argument, type Directive, formatValue, isBig, plain, typeName } from './directive.ts';

/**
 * Fuel units of a directive, and per character of what one prints: measured, 500 ns and up to 100 ns a character (`%x`),
 * counted before it is known how few of them a precision leaves.
 */
const unitsPerDirective = 500;
const unitsPerCharacter = 100;
const unitsPerPlainCharacter = 4;
/** Fuel units of a character that is looked at for a closing bracket. */
const unitsPerLooked = 0.5;
/** Fuel units per power of two that an exact number is away from 1: its digits are those of a power of five. */
const unitsPerExponent = 60;

/** Go takes larger widths and precisions for a mistake. */
const largest = 1_000_000;

export const sprintfBuiltins: BuiltinTable = {
  sprintf: ([format, values], context) =>
    new Formatter(text(format), array(values).map(toArgument), context).run(),
};

function toArgument(value: Value): Argument {
  // Go hands on the text of what no float64 holds.
  if (value instanceof Decimal) {
    if (!/[.eE]/.test(value.text)) return BigInt(value.text);
    return Number.isFinite(value.float) ? value.float : value.text;
  }
  if (isNumber(value)) return BigInt(value);
  return typeof value === 'string' ? value : toDisplay(value);
}

/** Go's fmt.Sprintf. */
export class Formatter {
  readonly #format: string;
  readonly #arguments: readonly Argument[];
  readonly #context: BuiltinContext;
  readonly #integer: string;
  #at = 0;
  #next = 0;
  #reordered = false;
  #badIndex = false;

  constructor(format: string, values: readonly Argument[], context: BuiltinContext, integer = 'int64') {
    this.#format = format;
    this.#integer = integer;
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
        return value === null ? '<nil>' : `${typeName(value, this.#integer)}=${plain(value)}`;
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
    let isIndexed = this.#index();
    let width: number | undefined;
    if (this.#format[this.#at] === '*') {
      width = this.#star();
      if (width === undefined) problem += '%!(BADWIDTH)';
      if (width !== undefined && width < 0) {
        flags.add('-');
        flags.delete('0');
        width = -width;
      }
      isIndexed = false;
    } else {
      width = this.#number();
      if (isIndexed && width !== undefined) this.#badIndex = true;
    }
    let precision: number | undefined;
    // A dot at the end is a verb.
    if (this.#format[this.#at] === '.' && this.#at + 1 < this.#format.length) {
      this.#at += 1;
      if (isIndexed) this.#badIndex = true;
      isIndexed = this.#index();
      if (this.#format[this.#at] === '*') {
        precision = this.#star();
        if (precision !== undefined && precision < 0) precision = undefined;
        if (precision === undefined) problem += '%!(BADPREC)';
        isIndexed = false;
      } else precision = this.#number() ?? 0;
    }
    if (!isIndexed) this.#index();
    const verb = this.#verb();
    if (verb === undefined) return `${problem}%!(NOVERB)`;
    if (verb === '%') return `${problem}%`;
    if (this.#badIndex) return `${problem}%!${verb}(BADINDEX)`;
    const value = this.#arguments[this.#next];
    if (value === undefined) return `${problem}%!${verb}(MISSING)`;
    this.#next += 1;
    this.#pay(verb, value, (width ?? 0) + (precision ?? 0));
    const isValue = verb === 'v' || verb === 'w';
    const directive: Directive = {
      integer: this.#integer,
      plus: flags.has('+') && (!isValue || (typeof value === 'bigint' && isBig(value))),
      minus: flags.has('-'),
      sharp: flags.has('#') && !isValue,
      space: flags.has(' '),
      zero: flags.has('0'),
      sharpValue: flags.has('#') && isValue,
      width,
      precision,
    };
    return problem + formatValue(verb, value, directive);
  }

  #pay(verb: string, given: Argument, padding: number): void {
    this.#context.spend(unitsPerDirective + padding * unitsPerPlainCharacter);
    if (given === null || typeof given === 'boolean') return;
    const value = typeof given === 'object' ? given.text : given;
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

  /** `[3]` selects the third argument. False where there is none, or no number in the brackets. */
  #index(): boolean {
    if (this.#format[this.#at] !== '[') return false;
    this.#reordered = true;
    const close = this.#format.indexOf(']', this.#at);
    // Each of `%[%[%[` looks as far.
    this.#context.spend(((close < 0 ? this.#format.length : close) - this.#at) * unitsPerLooked);
    const digits = close < 0 ? '' : this.#format.slice(this.#at + 1, Math.min(close, this.#at + 32));
    this.#at = close < 0 ? this.#at + 1 : close + 1;
    const isNumber = /^\d+$/.test(digits) && counted(digits) !== undefined;
    const index = isNumber ? Number(digits) : 0;
    if (index < 1 || index > this.#arguments.length) this.#badIndex = true;
    else this.#next = index - 1;
    return isNumber;
  }

  /** The next argument, if it is an integer and not too large. */
  #star(): number | undefined {
    this.#at += 1;
    const value = this.#arguments[this.#next];
    if (value === undefined) return undefined;
    this.#next += 1;
    return typeof value === 'bigint' && value <= largest && value >= -largest ? Number(value) : undefined;
  }

  /** A number that is too large takes all that is left of the format. */
  #number(): number | undefined {
    const digits = /^\d+/.exec(this.#format.slice(this.#at, this.#at + 20))?.[0];
    if (digits === undefined) return undefined;
    const value = counted(digits);
    this.#at = value === undefined ? this.#format.length : this.#at + digits.length;
    return value;
  }
}

/** Go looks whether it is too large before each digit, so that the last may make it so. */
function counted(digits: string): number | undefined {
  return Number(digits.slice(0, -1)) > largest ? undefined : Number(digits);
}

/** The digits of an integer beyond 64 bits take a time that grows faster than they do. */
function unitsOfInteger(value: bigint): number {
  if (!isBig(value)) return 0;
  // Hexadecimal digits are counted in no time.
  return unitsOfDigits(value.toString(16).length * 1.25);
}
