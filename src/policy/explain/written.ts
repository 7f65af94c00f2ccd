import { Source, type Span } from '../testing/source.ts';
import type { Rule, Syntax } from '../testing/syntax.ts';
import { bounds, clipped, inOneLine } from './bounds.ts';
import type { Place } from './explanation.ts';

/** A place as OPA says it, its files in `tenant/` and `platform/`. */
export interface OpaPlace {
  readonly file: string;
  readonly row: number;
  readonly col: number;
}

/** Rows and columns count from 1; the end is left out. */
export interface Range {
  readonly start: { readonly row: number; readonly col: number };
  readonly end: { readonly row: number; readonly col: number };
}

/** As the author knows it: the tenant's files without their folder, the platform's with it. */
export const placed = ({ file, row, col }: OpaPlace): Place => ({
  file: file.replace(/^tenant\//, ''),
  line: row,
  column: col,
});

/** What is written where: the files of a policy, and the expressions in them as OPA's parser reads them. */
export class Written {
  readonly #sources = new Map<string, Source>();
  readonly #packages = new Map<string, string>();
  readonly #spans = new Map<string, readonly Span[]>();

  /** `texts` and `syntax` by file, as OPA names it; of a file without syntax lines are told, no expressions. */
  constructor(texts: ReadonlyMap<string, string>, syntax: ReadonlyMap<string, Syntax>) {
    for (const [file, text] of texts) {
      const source = new Source(text);
      this.#sources.set(file, source);
      this.#packages.set(file, /^[ \t]*package[ \t]+([\w.]+)/m.exec(text)?.[1] ?? '');
      this.#spans.set(file, spansIn(syntax.get(file), source));
    }
  }

  packageOf(file: string): string {
    return this.#packages.get(file) ?? '';
  }

  /** From where to where the expression at a place goes. */
  extentOf(place: OpaPlace): Range | undefined {
    const source = this.#sources.get(place.file);
    const offset = place.col > bounds.column ? undefined : source?.offset(place);
    const span = this.#spans.get(place.file)?.find(({ start }) => start === offset);
    return source && span && { start: source.position(span.start), end: source.position(span.end) };
  }

  /** The expression of a rule's body that is at this place, or that it is within; else its line. */
  expressionAt(place: OpaPlace): Place & { readonly text: string } {
    const source = this.#sources.get(place.file);
    const offset = place.col > bounds.column ? undefined : source?.offset(place);
    if (!source || offset === undefined) return { ...placed(place), text: '' };
    const span = this.#spans.get(place.file)?.find(({ start, end }) => start <= offset && offset < end);
    if (!span) return { ...placed(place), text: clipped(lineAt(source.text, offset), bounds.textCharacters) };
    const { row, col } = source.position(span.start);
    const text = inOneLine(source.text.slice(span.start, span.end), bounds.textCharacters);
    return { ...placed({ file: place.file, row, col }), text };
  }
}

function lineAt(text: string, offset: number): string {
  const end = text.indexOf('\n', offset);
  return text.slice(text.lastIndexOf('\n', offset - 1) + 1, end < 0 ? undefined : end).trim();
}

function spansIn(syntax: Syntax | undefined, source: Source): Span[] {
  const spans: Span[] = [];
  const look = (rule: Rule): void => {
    for (const { location, generated } of rule.body) {
      const span = generated ? undefined : source.span(location);
      if (span) spans.push(span);
    }
    if (rule.else) look(rule.else);
  };
  for (const rule of syntax?.rules ?? []) look(rule);
  return spans;
}
