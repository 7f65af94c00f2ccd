import type { Edit, Source, Span } from '../source.ts';
import type { Expression, Head, Rule, Syntax, Term } from '../syntax.ts';

/** Something whose being reached is told by a mark beside it. */
export interface Mark {
  /** What the mark says, unique in the policy. */
  readonly id: string;
  readonly file: string;
  /** `entry`: said before an expression is evaluated. `exit`: said when a rule's body held and its value is known. */
  readonly kind: 'entry' | 'exit';
  /** In the author's text: an expression, or a rule's head. */
  readonly span: Span;
  /** In the author's text, where what follows the mark in the compiled policy is written. */
  readonly follows: Span;
}

/** A default rule. Nothing can be written into it: that it applied is seen by what its other rules say. */
export interface Fallback {
  readonly file: string;
  readonly rule: string;
  readonly span: Span;
}

/** The bodies of one rule, in all files: what each says first, and what each says when it held. */
export interface Bodies {
  readonly firsts: readonly string[];
  readonly exits: readonly string[];
  /** Whether each body says both. */
  readonly isWhole: boolean;
}

export interface Marked {
  readonly marks: readonly Mark[];
  readonly edits: readonly Edit[];
  readonly fallbacks: readonly Fallback[];
  readonly bodies: ReadonlyMap<string, Bodies>;
  /** What no mark can be put beside. */
  readonly unmarked: readonly Span[];
}

/** White space, comments, and what the grammar has between a head and its body. */
const BEFORE_BODY = /^(?:\s|#[^\n]*\n|if\b)*(?:(?<brace>\{)(?:\s|#[^\n]*\n)*)?$/;
const IF = /^(?:\s|#[^\n]*\n)*if(?:\s|#[^\n]*\n)+/;

/** Puts marks beside the expressions of a module, each a call of `builtin`, by the places that OPA's parser names. */
export class Marker {
  readonly #file: string;
  readonly #source: Source;
  readonly #builtin: string;
  readonly #marks: Mark[] = [];
  readonly #edits: Edit[] = [];
  readonly #fallbacks: Fallback[] = [];
  readonly #bodies = new Map<string, { firsts: string[]; exits: string[]; isWhole: boolean }>();
  readonly #unmarked: Span[] = [];

  constructor(file: string, source: Source, builtin: string) {
    this.#file = file;
    this.#source = source;
    this.#builtin = builtin;
  }

  mark({ package: { path }, rules = [] }: Syntax): Marked {
    for (const rule of rules) {
      const name = JSON.stringify([...path, ...rule.head.ref].map(({ value }) => value));
      if (rule.default) this.#default(rule, name);
      else this.#rule(rule, name, false);
    }
    return {
      marks: this.#marks,
      edits: this.#edits,
      fallbacks: this.#fallbacks,
      bodies: this.#bodies,
      unmarked: this.#unmarked,
    };
  }

  #default({ head }: Rule, rule: string): void {
    const span = this.#source.span(head.location);
    if (span) this.#fallbacks.push({ file: this.#file, rule, span });
  }

  #rule(rule: Rule, name: string, isElse: boolean): void {
    const { head, body, else: next } = rule;
    const [whole, span] = [this.#source.span(rule.location), this.#headOf(rule, isElse)];
    const [before, lost] = [this.#marks.length, this.#unmarked.length];
    if (!whole || !span) this.#unmarked.push(...[whole ?? span].filter((each) => each !== undefined));
    else if (body[0]?.generated) this.#bare(head, span, whole);
    else this.#body(rule, span, whole);
    const said = this.#marks.slice(before);
    this.#note(name, isElse, said, whole !== undefined && this.#unmarked.length === lost);
    this.#within(head);
    if (next) this.#rule(next, name, true);
  }

  /** An `else` has its own head, which may be no more than the word. */
  #headOf({ head, location }: Rule, isElse: boolean): Span | undefined {
    const span = this.#source.span(head.location);
    const whole = this.#source.span(location);
    if (!isElse || !whole || span?.start === whole.start) return span;
    return { start: whole.start, end: whole.start + 'else'.length };
  }

  #note(name: string, isElse: boolean, said: readonly Mark[], isWhole: boolean): void {
    const bodies = this.#bodies.get(name) ?? { firsts: [], exits: [], isWhole: true };
    this.#bodies.set(name, bodies);
    const [first] = said;
    const exit = said.find(({ kind }) => kind === 'exit');
    if (first && !isElse) bodies.firsts.push(first.id);
    if (exit) bodies.exits.push(exit.id);
    bodies.isWhole &&= isWhole && first !== undefined && exit !== undefined;
  }

  /** A rule without a body gets one that only says that its value is known. */
  #bare(head: Head, span: Span, whole: Span): void {
    const call = this.#exit(head, span, whole);
    if (call) this.#insert(span.end, ` if ${call}`);
  }

  #body({ head, body, else: next }: Rule, span: Span, whole: Span): void {
    const { text } = this.#source;
    const [first, last] = [body[0], body.at(-1)].map((each) => this.#source.span(each?.location));
    if (!first || !last) return void this.#unmarked.push(whole);
    // The parser gives the one expression of `else := … if x` the place of all that follows the word.
    const isMisplaced = first.start === whole.start;
    const open = isMisplaced
      ? IF.exec(text.slice(span.end))
      : BEFORE_BODY.exec(text.slice(span.end, first.start));
    if (!open) return void this.#unmarked.push(whole);
    if (isMisplaced) {
      const nested = this.#source.span(next?.location);
      const start = span.end + open[0].length;
      const end = nested ? nested.start : whole.end;
      this.#braced(body, head, span, whole, { start, end: end - trailing(text.slice(start, end)) });
      return;
    }
    if (open.groups?.['brace'] !== undefined) {
      this.#expressions(body);
      const call = this.#exit(head, span, whole);
      if (call) this.#insert(last.end, `; ${call}`);
      return;
    }
    this.#braced(body, head, span, whole, { start: first.start, end: last.end });
  }

  /** The one expression of a body without braces, between `if` and the end of the rule. */
  #braced(body: readonly Expression[], head: Head, span: Span, whole: Span, only: Span): void {
    const heard = body.filter((each) => !isSilent(each));
    this.#insert(only.start, heard.length > 0 ? `{ ${this.#entry(only)}` : '{ ');
    for (const each of heard) this.#within(each);
    const exit = this.#exit(head, span, whole);
    this.#insert(only.end, exit ? `\n${exit} }` : '\n}');
  }

  #expressions(body: readonly Expression[]): void {
    for (const each of body) {
      if (isSilent(each)) continue;
      const span = this.#source.span(each.location);
      if (span) this.#insert(span.start, this.#entry(span));
      else this.#unmarked.push({ start: 0, end: 0 });
      this.#within(each);
    }
  }

  /** Bodies within: of comprehensions and of `every`. */
  #within(node: unknown): void {
    if (typeof node !== 'object' || node === null) return;
    for (const [name, child] of Object.entries(node)) {
      if (name === 'location') continue;
      if (name === 'body' && isBody(child)) this.#expressions(child);
      else this.#within(child);
    }
  }

  #entry(span: Span): string {
    const id = this.#say('entry', span, span);
    return `${this.#builtin}(${JSON.stringify(id)}, true); `;
  }

  /** Said only where what the head consists of is defined too: the body holding is not enough. */
  #exit(head: Head, span: Span, whole: Span): string | undefined {
    const terms: Term[] = [...head.ref.slice(1), ...(head.value ? [head.value] : head.key ? [head.key] : [])];
    const texts: string[] = [];
    for (const term of terms.filter(({ type }) => !SCALARS.has(type))) {
      const place = this.#source.span(term.location);
      if (!place) {
        this.#unmarked.push(span);
        return undefined;
      }
      texts.push(`_ = ${this.#source.text.slice(place.start, place.end)}`);
    }
    const id = this.#say('exit', span, { start: whole.start, end: span.end });
    const known = texts.length === 0 ? 'true' : `[1 | ${texts.join('; ')}]`;
    return `${this.#builtin}(${JSON.stringify(id)}, ${known})`;
  }

  #say(kind: Mark['kind'], span: Span, follows: Span): string {
    const id = `${this.#file}#${this.#marks.length}`;
    this.#marks.push({ id, file: this.#file, kind, span, follows });
    return id;
  }

  #insert(at: number, text: string): void {
    if (text !== '') this.#edits.push({ start: at, end: at, text });
  }
}

const SCALARS: ReadonlySet<string> = new Set(['boolean', 'number', 'string', 'null']);

/** What the compiler leaves nothing of: `some x` alone, `true` alone, and `print`, which decisions do not have. */
const isSilent = ({ terms }: Expression): boolean => isPrint(terms) || isTrue(terms) || isDeclaration(terms);

const isTrue = (terms: unknown): boolean => (terms as Term | undefined)?.value === true;

const isDeclaration = (terms: unknown): boolean =>
  (terms as { symbols?: readonly Term[] } | undefined)?.symbols?.every(({ type }) => type === 'var') ?? false;

function isPrint(terms: unknown): boolean {
  const [operator] = Array.isArray(terms) ? (terms as Term[]) : [];
  return Array.isArray(operator?.value) && (operator.value as Term[])[0]?.value === 'print';
}

const isBody = (node: unknown): node is readonly Expression[] =>
  Array.isArray(node) && node.every((each: object) => 'index' in each && 'terms' in each);

/** How much of the text's end is white space and comments. */
const trailing = (text: string): number =>
  text.length - text.replace(/(?:\s|#[^\n"`]*(?:\n|$))+$/, '').length;
