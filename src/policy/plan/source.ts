import type { Location, Rule, Syntax } from '../testing/syntax.ts';
import { isTerm, isVar, nameOf, refOf, type Term, termsIn, Unplannable } from './rego.ts';

/** A change of a text: `text` in the place of `length` characters from `at` on. */
interface Edit {
  readonly at: number;
  readonly length: number;
  readonly text: string;
}

type Placed = Term & { readonly location?: Location };

interface Written {
  readonly terms: unknown;
  readonly negated?: boolean;
  readonly generated?: boolean;
  readonly location?: Location;
}

const NOW = /^time\.now_ns\(\s*\)/;
const NOW_ANYWHERE = /\btime\.now_ns\(\s*\)/g;

/**
 * A module that says the same, and says it so that partial evaluation keeps it. What has to be defined for an expression to
 * hold (a variable that is assigned, an argument, what a call is given under `not`) is lost there if it is mentioned under
 * `not` alone, and the answer would be wider; with `type_name(x)` beside, which holds of all that is defined, it is kept. `now`,
 * in milliseconds: takes the place of the time, which the evaluator has a clock of its own for. Throws `Unplannable`.
 */
export function prepared(text: string, { rules = [] }: Syntax, now: number | undefined): string {
  const source = new Source(text);
  const edits = [
    ...rules.flatMap((rule) => ofRule(rule, source)),
    ...(now === undefined ? [] : times(rules, source, now)),
  ];
  // Of two at one place the later one was found further inside.
  const ordered = edits
    .map((edit, order) => ({ ...edit, order }))
    .sort((a, b) => b.at - a.at || b.order - a.order);
  let result = text;
  for (const { at, length, text: put } of ordered)
    result = result.slice(0, at) + put + result.slice(at + length);
  return now === undefined
    ? result
    : result.replace(MARKED_NOW, (marker) => marker.replace(NOW_ANYWHERE, nanoseconds(now)));
}

/** What was put in quotes the source as it was. */
const MARKED_NOW = /\btype_name\((?:[^\n]*)time\.now_ns\(\s*\)[^\n]*/g;
const nanoseconds = (now: number): string => `${now}000000`;

class Source {
  readonly #text: string;
  readonly #starts: number[] = [0];

  constructor(text: string) {
    this.#text = text;
    for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n', at + 1)) this.#starts.push(at + 1);
  }

  /** Where something begins and ends. Throws `Unplannable` where the parser and the text do not agree. */
  range({ row, col, text = '' }: Location): { from: number; to: number } {
    const start = this.#starts[row - 1] ?? 0;
    const said = Buffer.from(text, 'base64').toString();
    const line = this.#text.slice(start, this.#starts[row] ?? this.#text.length);
    const byBytes =
      start +
      Buffer.from(line)
        .subarray(0, col - 1)
        .toString().length;
    for (const from of [byBytes, start + col - 1])
      if (this.#text.startsWith(said, from)) return { from, to: from + said.length };
    throw new Unplannable('what the parser says of a place is not there');
  }

  textOf(location: Location): string {
    const { from, to } = this.range(location);
    return this.#text.slice(from, to);
  }

  textFrom(at: number): string {
    return this.#text.slice(at, at + 256);
  }

  before(at: number): string {
    return this.#text.slice(0, at).trimEnd().at(-1) ?? '';
  }
}

function ofRule(rule: Rule, source: Source, args: readonly Term[] = []): Edit[] {
  const { head, body, else: otherwise, default: isDefault } = rule;
  if (isDefault) return [];
  const edits: Edit[] = [];
  const given = argumentsOf(head.args ?? [], source, edits);
  const [first] = body as readonly Written[];
  if (first?.generated || !first) {
    const place = head.location ?? rule.location;
    if (given.length > 0 && place)
      edits.push({ at: endOfHead(rule, source), length: 0, text: ` if { ${given.join('; ')} }` });
  } else edits.push(...ofBody(body, given, source, rule.head.args ?? args));
  return otherwise
    ? [...edits, ...ofRule({ ...otherwise, head: withoutArgs(otherwise.head) }, source, head.args ?? args)]
    : edits;
}

/** The arguments were told to be there by the rule itself. */
const withoutArgs = ({ args: _args, ...head }: Rule['head']): Rule['head'] => head;

function endOfHead({ head, location }: Rule, source: Source): number {
  const ends = [head.location, head.value?.location]
    .filter((each) => each !== undefined)
    .map((each) => source.range(each).to);
  return ends.length > 0 ? Math.max(...ends) : location ? source.range(location).to : 0;
}

/** A marker for each, where what has no name is given one. */
function argumentsOf(args: readonly Term[], source: Source, edits: Edit[]): string[] {
  const names: string[] = [];
  for (const [at, term] of [...termsIn(args)].entries()) {
    if (!isVar(term)) continue;
    const { location } = term as Placed;
    if (!term.value.startsWith('$') && term.value !== '_') names.push(term.value);
    else if (location) {
      const { from } = source.range(location);
      edits.push({ at: from, length: 1, text: `mandate_argument_${at}` });
      names.push(`mandate_argument_${at}`);
    }
  }
  return names.map(marker);
}

const marker = (text: string): string => `type_name(${text})`;

function ofBody(
  body: readonly Written[],
  given: readonly string[],
  source: Source,
  args: readonly Term[],
): Edit[] {
  const locals = new Set([...varsIn(args), ...body.flatMap(({ terms }) => [...varsBoundIn(terms)])]);
  const edits: Edit[] = [];
  for (const [index, { terms, negated, location }] of body.entries()) {
    if (!location) continue;
    const { from, to } = source.range(location);
    const before = [...(index === 0 ? given : []), ...(negated ? liftedIn(terms, source, locals) : [])];
    const after = negated ? [] : [...varsBoundIn(terms)].map(marker);
    if (before.length + after.length === 0) continue;
    const isBare = body.length === 1 && !isBraced(source.before(from));
    const [open, close] = isBare ? ['{ ', ' }'] : ['', ''];
    edits.push({ at: from, length: 0, text: `${open}${before.map((each) => `${each}; `).join('')}` });
    edits.push({ at: to, length: 0, text: `${after.map((each) => `; ${each}`).join('')}${close}` });
  }
  return edits;
}

const isBraced = (before: string): boolean => before === '{' || before === ';' || before === '\n';

/** What a negated expression needs to be defined: the compiler takes it out of the negation. */
function liftedIn(terms: unknown, source: Source, locals: ReadonlySet<string>): string[] {
  const found = new Set<string>();
  const add = ({ location }: Placed): void => void (location && found.add(source.textOf(location)));
  /** At the top of an expression: references are not taken out, but what is in them is. */
  const top = (term: Placed): void => {
    if (isVar(term)) {
      if (locals.has(term.value)) found.add(term.value);
      return;
    }
    const ref = refOf(term);
    if (ref) {
      const [head, ...parts] = ref as readonly Placed[];
      if (isVar(head) && locals.has(head.value)) found.add(head.value);
      for (const part of parts) if (part.type !== 'string') below(part);
    } else if (term.type === 'call') for (const each of (term.value as Placed[]).slice(1)) below(each);
    else if (!term.type.endsWith('comprehension'))
      for (const each of [term.value].flat(2)) if (isTerm(each)) below(each);
  };
  const below = (term: Placed): void => {
    if (isVar(term) ? isNamed(term) : refOf(term) || term.type === 'call') add(term);
    top(term);
  };
  if (Array.isArray(terms)) {
    const [operator, ...given] = terms as Placed[];
    const isEquality = ['eq', 'equal'].includes(nameOf(operator));
    for (const each of given)
      if (isEquality && each.type !== 'call') top(each);
      else below(each);
  } else if (isTerm(terms)) top(terms);
  return [...found].map(marker);
}

/** Not those of the language, nor made by the parser. */
const isNamed = ({ value }: Term): boolean =>
  typeof value === 'string' && !value.startsWith('$') && !['_', 'input', 'data'].includes(value);

/** Variables that an expression may bind: by `:=`, `=` and `some … in`. */
function varsBoundIn(terms: unknown): Set<string> {
  const { symbols } = (terms ?? {}) as { symbols?: unknown };
  const isBinding = Array.isArray(terms) && ['assign', 'eq'].includes(nameOf((terms as unknown[])[0]));
  if (Array.isArray(symbols)) return varsIn(symbols.flatMap(sideOf));
  return varsIn(isBinding ? (terms as unknown[]).slice(1) : []);
}

/** `some x in y` is a call; in `some x` nothing is bound yet. Where an element stands, as `k` of `some k, v`, is there always. */
const sideOf = (each: unknown): unknown[] =>
  isTerm(each) && each.type === 'call' ? (each.value as unknown[]).slice(-2, -1) : [];

/** In patterns too. */
function varsIn(node: unknown): Set<string> {
  const names = new Set<string>();
  const walk = (each: unknown): void => {
    if (Array.isArray(each)) for (const one of each as unknown[]) walk(one);
    else if (isTerm(each)) {
      if (isVar(each) && isNamed(each)) names.add(each.value);
      else if (each.type === 'array' || each.type === 'object') walk(each.value);
    }
  };
  walk(node);
  return names;
}

/** The parser says where the time is asked for; what stands there otherwise, such as its replacement, cannot be told. */
function times(rules: readonly Rule[], source: Source, now: number): Edit[] {
  const places = new Map<number, Edit>();
  for (const term of termsIn(rules)) {
    const ref = refOf(term);
    if (ref?.map(({ value }) => value).join('.') !== 'time.now_ns') continue;
    const { location } = ref[0] as Placed;
    if (!location) continue;
    const { from } = source.range(location);
    const called = NOW.exec(source.textFrom(from));
    if (!called) throw new Unplannable('time.now_ns has no counterpart in a filter where it is not called');
    places.set(from, { at: from, length: called[0].length, text: nanoseconds(now) });
  }
  return [...places.values()];
}
