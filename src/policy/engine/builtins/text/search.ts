import type { BuiltinContext } from '../builtin.ts';

/** Fuel units of a character of a text, and of one that is looked for. */
const unitsPerSearched = 12;
const unitsPerPrepared = 24;
/** The runtime's own search takes a time up to the product of the two lengths: seconds for `a…b…a` in `a…a`. */
const largestProduct = 1 << 16;

/** Looks for a text that is not empty, in a time that is the sum of the two lengths (Knuth, Morris and Pratt). */
export class Searcher {
  readonly #text: string;
  readonly #part: string;
  /** How much of the part matches again where it fails; not there where the runtime's search is fast. */
  readonly #borders: Int32Array | undefined;

  constructor(text: string, part: string, context: BuiltinContext) {
    context.spend(text.length * unitsPerSearched + part.length * unitsPerPrepared);
    this.#text = text;
    this.#part = part;
    if (part.length > 1 && text.length * part.length > largestProduct && part.length <= text.length)
      this.#borders = bordersOf(part);
  }

  /** The place of the first at or behind `from`; -1 if there is none. */
  next(from: number): number {
    const borders = this.#borders;
    if (!borders) return this.#text.indexOf(this.#part, from);
    let matched = 0;
    for (let at = from; at < this.#text.length; at += 1) {
      const unit = this.#text.charCodeAt(at);
      while (matched > 0 && this.#part.charCodeAt(matched) !== unit) matched = borders[matched - 1] ?? 0;
      if (this.#part.charCodeAt(matched) === unit) matched += 1;
      if (matched === this.#part.length) return at - matched + 1;
    }
    return -1;
  }

  /** What is between those that do not overlap. */
  pieces(): string[] {
    if (!this.#borders) return this.#text.split(this.#part);
    const pieces: string[] = [];
    let start = 0;
    for (let at = this.next(0); at >= 0; at = this.next(start)) {
      pieces.push(this.#text.slice(start, at));
      start = at + this.#part.length;
    }
    pieces.push(this.#text.slice(start));
    return pieces;
  }

  /** The places of all, also of those that overlap. */
  *places(): Generator<number> {
    const borders = this.#borders ?? bordersOf(this.#part);
    let matched = 0;
    for (let at = 0; at < this.#text.length; at += 1) {
      const unit = this.#text.charCodeAt(at);
      while (matched > 0 && this.#part.charCodeAt(matched) !== unit) matched = borders[matched - 1] ?? 0;
      if (this.#part.charCodeAt(matched) === unit) matched += 1;
      if (matched < this.#part.length) continue;
      yield at - matched + 1;
      matched = borders[matched - 1] ?? 0;
    }
  }
}

function bordersOf(part: string): Int32Array {
  const borders = new Int32Array(part.length);
  let matched = 0;
  for (let at = 1; at < part.length; at += 1) {
    const unit = part.charCodeAt(at);
    while (matched > 0 && part.charCodeAt(matched) !== unit) matched = borders[matched - 1] ?? 0;
    if (part.charCodeAt(matched) === unit) matched += 1;
    borders[at] = matched;
  }
  return borders;
}
