import { compareNumbers, isNumber, numberIdentity, numberText, type RegoNumber } from './numbers.ts';
import { quote } from './quote.ts';
import { bytesOf } from './utf8.ts';

export { Decimal, isNumber, numberText, type RegoNumber } from './numbers.ts';

/**
 * Rego values on the host's side of a built-in call. JSON would lose sets, keys that are not strings, integers
 * beyond 2^53, and the difference of 1 and 1.0 that sprintf shows.
 */
export type Value = null | boolean | string | RegoNumber | readonly Value[] | RegoSet | RegoObject;

/**
 * Members are unique; of equal ones that are written differently (1 and 1.0) the first stays, as in OPA. A set or an
 * object that is in another, or a key, is not changed any more: its own identity is kept, or one nested to a depth of n
 * would be written n times.
 */
export class RegoSet {
  #members = new Map<string, Value>();
  #identity: string | undefined;
  #sorted: readonly Value[] | undefined;

  constructor(members: Iterable<Value> = []) {
    for (const member of members) this.add(member);
  }

  get size(): number {
    return this.#members.size;
  }

  get identity(): string {
    this.#identity ??= writeIdentity(this);
    return this.#identity;
  }

  add(member: Value): void {
    const key = identity(member);
    if (this.#members.has(key)) return;
    this.#changed();
    this.#members.set(key, member);
  }

  copy(): RegoSet {
    const copy = new RegoSet();
    copy.#members = new Map(this.#members);
    return copy;
  }

  has(member: Value): boolean {
    return this.#members.has(identity(member));
  }

  delete(member: Value): boolean {
    this.#changed();
    return this.#members.delete(identity(member));
  }

  /** In no order. */
  members(): IteratorObject<Value> {
    return this.#members.values();
  }

  /** Kept: sets of sets of sets would otherwise be sorted anew in each comparison, the square of their size at worst. */
  sorted(): readonly Value[] {
    this.#sorted ??= [...this.#members.values()].sort(compareValues);
    return this.#sorted;
  }

  #changed(): void {
    this.#identity = undefined;
    this.#sorted = undefined;
  }
}

export class RegoObject {
  #entries = new Map<string, readonly [key: Value, value: Value]>();
  #identity: string | undefined;
  #sorted: readonly (readonly [Value, Value])[] | undefined;

  constructor(entries: Iterable<readonly [Value, Value]> = []) {
    for (const [key, value] of entries) this.set(key, value);
  }

  get size(): number {
    return this.#entries.size;
  }

  get(key: Value): Value | undefined {
    return this.#entries.get(identity(key))?.[1];
  }

  get identity(): string {
    this.#identity ??= writeIdentity(this);
    return this.#identity;
  }

  copy(): RegoObject {
    const copy = new RegoObject();
    copy.#entries = new Map(this.#entries);
    return copy;
  }

  set(key: Value, value: Value): void {
    this.#changed();
    const id = identity(key);
    this.#entries.set(id, [this.#entries.get(id)?.[0] ?? key, value]);
  }

  delete(key: Value): boolean {
    this.#changed();
    return this.#entries.delete(identity(key));
  }

  entries(): IteratorObject<readonly [Value, Value]> {
    return this.#entries.values();
  }

  /** Kept, as that of a set. */
  sorted(): readonly (readonly [Value, Value])[] {
    this.#sorted ??= [...this.#entries.values()].sort(([a], [b]) => compareValues(a, b));
    return this.#sorted;
  }

  #changed(): void {
    this.#identity = undefined;
    this.#sorted = undefined;
  }
}

export function isArray(value: Value | undefined): value is readonly Value[] {
  return Array.isArray(value);
}

/** Go's runes: code points, which is how OPA counts. */
export function characters(text: string): string[] {
  return Array.from(text);
}

/** Equal values have the same text. */
export function identity(value: Value): string {
  return value instanceof RegoSet || value instanceof RegoObject ? value.identity : writeIdentity(value);
}

function writeIdentity(value: Value): string {
  // What is no UTF-8 is told apart too.
  return write(value, numberIdentity, ',', ':', identity, (text) => JSON.stringify(text));
}

export function equalValues(a: Value, b: Value): boolean {
  return a === b || identity(a) === identity(b);
}

/** What opa_value_parse reads: JSON, and sets, and any value as a key. */
export function toRego(value: Value): string {
  return write(value, numberText, ',', ':');
}

/** How OPA prints a value, e.g. in sprintf's `%v`: `{"a": [1, 2], "b": {3}}`. */
export function toDisplay(value: Value): string {
  return write(value, numberText, ', ', ': ', undefined, quote);
}

function write(
  value: Value,
  number: (value: RegoNumber) => string,
  comma: string,
  colon: string,
  nested?: (inner: Value) => string,
  string: (value: string) => string = quoteJson,
): string {
  nested ??= (inner) => write(inner, number, comma, colon, undefined, string);
  if (typeof value === 'string') return string(value);
  if (value === null || typeof value === 'boolean') return String(value);
  if (isNumber(value)) return number(value);
  if (isArray(value)) return `[${value.map(nested).join(comma)}]`;
  if (value instanceof RegoSet)
    return value.size === 0 ? 'set()' : `{${value.sorted().map(nested).join(comma)}}`;
  return `{${value
    .sorted()
    .map(([key, inner]) => `${nested(key)}${colon}${nested(inner)}`)
    .join(comma)}}`;
}

/** A lone surrogate has no UTF-8 form; the module would abort on its escape. */
function quoteJson(value: string): string {
  return JSON.stringify(value.toWellFormed());
}

/** OPA's order of types: null, boolean, number, string, array, object, set. */
function rank(value: Value): number {
  if (value === null) return 0;
  if (typeof value === 'boolean') return 1;
  if (isNumber(value)) return 2;
  if (typeof value === 'string') return 3;
  if (isArray(value)) return 4;
  return value instanceof RegoObject ? 5 : 6;
}

/** OPA's total order of values (ast.Compare). */
export function compareValues(a: Value, b: Value): number {
  if (typeof a === 'string' && typeof b === 'string') return compareText(a, b);
  const ranks = rank(a) - rank(b);
  if (ranks !== 0) return ranks;
  if (typeof a === 'boolean') return Number(a) - Number(b);
  if (isNumber(a) && isNumber(b)) return compareNumbers(a, b);
  if (isArray(a) && isArray(b)) return compareLists(a, b);
  if (a instanceof RegoSet && b instanceof RegoSet) return compareLists(a.sorted(), b.sorted());
  if (a instanceof RegoObject && b instanceof RegoObject) return compareObjects(a, b);
  return 0;
}

/** By code points, which is the order of the UTF-8 bytes. */
export function compareText(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let index = 0; index < length; index += 1) {
    const left = a.charCodeAt(index);
    const right = b.charCodeAt(index);
    if (left === right) continue;
    if (isSurrogate(left) || isSurrogate(right)) return compareBytesFrom(index, a, b);
    return left - right;
  }
  return a.length - b.length;
}

const isSurrogate = (unit: number): boolean => unit >= 0xd800 && unit < 0xe000;

/** What differs first is a character of at most four bytes, or as many bytes that are none; its first half may be equal. */
function compareBytesFrom(index: number, a: string, b: string): number {
  const start = Math.max(0, index - 1);
  const [left, right] = [a, b].map((text) => bytesOf(text.slice(start, index + 8)));
  return left?.compare(right ?? empty) || bytesOf(a).compare(bytesOf(b));
}

const empty = new Uint8Array();

function compareLists(a: readonly Value[], b: readonly Value[]): number {
  for (const [index, left] of a.entries()) {
    const right = b[index];
    if (right === undefined) return 1;
    const difference = compareValues(left, right);
    if (difference !== 0) return difference;
  }
  return a.length - b.length;
}

function compareObjects(a: RegoObject, b: RegoObject): number {
  const flat = (object: RegoObject) => object.sorted();
  const [left, right] = [flat(a), flat(b)];
  for (const [index, [key, value]] of left.entries()) {
    const other = right[index];
    if (!other) return 1;
    const difference = compareValues(key, other[0]) || compareValues(value, other[1]);
    if (difference !== 0) return difference;
  }
  return left.length - right.length;
}
