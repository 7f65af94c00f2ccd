import type { Location } from './syntax.ts';

/** A stretch of a source in UTF-16 code units, the end left out. */
export interface Span {
  readonly start: number;
  readonly end: number;
}

/** Puts `text` in place of what is between `start` and `end`. */
export interface Edit extends Span {
  readonly text: string;
}

/** The text of a file, by the places that OPA's parser names. */
export class Source {
  readonly text: string;
  /** Where each row begins. */
  readonly #rows: readonly number[];

  constructor(text: string) {
    this.text = text;
    const rows = [0];
    for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n', at + 1)) rows.push(at + 1);
    this.#rows = rows;
  }

  /** Undefined where the text is not what the parser says it is: then nothing is known of the place. */
  span(location: Location | undefined): Span | undefined {
    if (location?.text === undefined) return undefined;
    const row = this.#rows[location.row - 1];
    if (row === undefined) return undefined;
    const written = Buffer.from(location.text, 'base64').toString('utf8');
    const start = this.#forward(row, location.col - 1);
    const end = start + written.length;
    return written.length > 0 && this.text.slice(start, end) === written ? { start, end } : undefined;
  }

  /** The offset of a row and column; undefined for a row that the text does not have. */
  offset({ row, col }: { readonly row: number; readonly col: number }): number | undefined {
    const begin = this.#rows[row - 1];
    return begin === undefined ? undefined : this.#forward(begin, col - 1);
  }

  /** Row and column, counted from 1, columns in characters. */
  position(offset: number): { readonly row: number; readonly col: number } {
    let [low, high] = [0, this.#rows.length];
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if ((this.#rows[middle] ?? 0) <= offset) low = middle;
      else high = middle;
    }
    const begin = this.#rows[low] ?? 0;
    let col = 1;
    for (let at = begin; at < offset; at = this.#forward(at, 1)) col += 1;
    return { row: low + 1, col };
  }

  /** With all of these applied, which do not overlap; those at one place in the order given. */
  edited(edits: readonly Edit[]): string {
    let [text, done] = ['', 0];
    for (const edit of edits.toSorted((a, b) => a.start - b.start)) {
      text += this.text.slice(done, edit.start) + edit.text;
      done = edit.end;
    }
    return text + this.text.slice(done);
  }

  #forward(offset: number, characters: number): number {
    let at = offset;
    for (let n = 0; n < characters; n += 1) at += (this.text.codePointAt(at) ?? 0) > 0xffff ? 2 : 1;
    return at;
  }
}
