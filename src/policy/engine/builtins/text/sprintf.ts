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
