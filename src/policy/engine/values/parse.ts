import { numberOf, type RegoNumber } from './numbers.ts';
import { RegoObject, RegoSet, type Value } from './values.ts';

// Rego also writes `.5`.
const number = /-?(?:\d+(?:\.\d+)?|\.\d+)(?:[eE][+-]?\d+)?/y;
const emptySet = 'set()';

/**
 * Fuel units of a value, and of one that is a member or a key, which is written once more to be found, and sorted.
 * Measured: some 80 ns a value, 300 ns a member, and a nanosecond a character.
 */
const unitsPerValue = 60;
const unitsPerKey = 200;
const unitsPerKeyCharacter = 2;
/** Numbers of more digits than a float has take a time that grows faster than they do: 60 ns a digit for 100,000. */
const usualDigits = 40;
const unitsPerDigit = 20;
const digitsPerUnit = 500;

type Spend = (units: number) => void;

/** Fuel units to read or to write a number of so many digits. */
export function unitsOfDigits(length: number): number {
  return length <= usualDigits ? 0 : length * (unitsPerDigit + length / digitsPerUnit);
}

/**
 * Parses what opa_value_dump writes: JSON, and sets `{1, 2}` and `set()`, and any value as a key.
 * @param spend pays for what is not in proportion to the text, before it is done
 * @throws SyntaxError for anything else
 */
export function parseValue(text: string, spend: Spend = () => {}): Value {
  // Most arguments are strings, and the runtime's own parser is the fastest.
  if (text.charCodeAt(0) === 0x22) return (JSON.parse(text) as string).toWellFormed();
  const parser = new Parser(text, spend);
  const value = parser.value();
  if (parser.at !== text.length) throw parser.unexpected();
  return value;
}

/** @throws SyntaxError for what is not JSON, or is nested deeper than largestDepth */
export function parseJson(text: string, spend: Spend = () => {}): Value {
  // JSON is what the runtime takes for it; the values are then read again with their numbers exact.
  JSON.parse(text);
  const parser = new Parser(text, spend);
  return parser.value();
}

/** Values are read, compared and written by recursion: deeper ones would overflow the stack somewhere. */
export const largestDepth = 1_000;

class Parser {
  readonly #text: string;
  readonly #spend: Spend;
  #depth = 0;
  at = 0;

  constructor(text: string, spend: Spend) {
    this.#text = text;
    this.#spend = spend;
  }

  unexpected(): SyntaxError {
    return new SyntaxError(`unexpected text at ${this.at}`);
  }

  value(): Value {
    this.#spend(unitsPerValue);
    this.#space();
    const text = this.#text;
    const first = text[this.at];
    let value: Value;
    if (first === '"') value = this.#string();
    else if (first === '[') value = this.#nested(() => this.#array());
    else if (first === '{') value = this.#nested(() => this.#objectOrSet());
    else if (this.#take('null')) value = null;
    else if (this.#take('true')) value = true;
    else if (this.#take('false')) value = false;
    else if (this.#take(emptySet)) value = new RegoSet();
    else value = this.#number();
    this.#space();
    return value;
  }

  #nested<T>(read: () => T): T {
    this.#depth += 1;
    if (this.#depth > largestDepth) throw new SyntaxError(`nested deeper than ${largestDepth}`);
    const value = read();
    this.#depth -= 1;
    return value;
  }

  #number(): RegoNumber {
    const digits = this.#token(number);
    this.#spend(unitsOfDigits(digits.length));
    return numberOf(digits);
  }

  /** A value that is to be found by its identity. */
  #key(): Value {
    const start = this.at;
    const value = this.value();
    this.#spend(unitsPerKey + (this.at - start) * unitsPerKeyCharacter);
    return value;
  }

  /** By search for the closing quote: a regular expression would need a stack as long as the string. */
  #string(): string {
    const start = this.at;
    for (let end = this.#text.indexOf('"', start + 1); end >= 0; end = this.#text.indexOf('"', end + 1)) {
      let backslashes = 0;
      while (this.#text.charCodeAt(end - 1 - backslashes) === 0x5c) backslashes += 1;
      if (backslashes % 2 === 1) continue;
      this.at = end + 1;
      return (JSON.parse(this.#text.slice(start, this.at)) as string).toWellFormed();
    }
    throw this.unexpected();
  }

  #array(): Value[] {
    const elements: Value[] = [];
    this.at += 1;
    this.#space();
    if (this.#take(']')) return elements;
    do elements.push(this.value());
    while (this.#take(','));
    this.#expect(']');
    return elements;
  }

  #objectOrSet(): RegoObject | RegoSet {
    this.at += 1;
    this.#space();
    if (this.#take('}')) return new RegoObject();
    const first = this.#key();
    return this.#take(':') ? this.#object(first) : this.#set(first);
  }

  #object(firstKey: Value): RegoObject {
    const object = new RegoObject([[firstKey, this.value()]]);
    while (this.#take(',')) {
      const key = this.#key();
      this.#expect(':');
      object.set(key, this.value());
    }
    this.#expect('}');
    return object;
  }

  #set(first: Value): RegoSet {
    const set = new RegoSet([first]);
    while (this.#take(',')) set.add(this.#key());
    this.#expect('}');
    return set;
  }

  #space(): void {
    for (;;) {
      const unit = this.#text.charCodeAt(this.at);
      if (unit !== 0x20 && unit !== 0x0a && unit !== 0x0d && unit !== 0x09) return;
      this.at += 1;
    }
  }

  #take(token: string): boolean {
    if (!this.#text.startsWith(token, this.at)) return false;
    this.at += token.length;
    return true;
  }

  #expect(token: string): void {
    if (!this.#take(token)) throw this.unexpected();
  }

  #token(pattern: RegExp): string {
    pattern.lastIndex = this.at;
    const found = pattern.exec(this.#text);
    if (!found) throw this.unexpected();
    this.at = pattern.lastIndex;
    return found[0];
  }
}
