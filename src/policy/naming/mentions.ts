import type { Expression, Location, Rule, Syntax, Term } from '../testing/syntax.ts';
import type { Kind } from './declared.ts';
import { constantIn, kindAt, type Names, nameOf, type Path, type Takers } from './places.ts';
import { type Constants, elementOf, NOTHING, says, strings, type Value } from './values.ts';

/** A constant that names something of the tenant's, and where it is written. */
export interface Mention {
  readonly kind: Kind;
  readonly name: string;
  /** It is only the beginning of a name. */
  readonly isPrefix: boolean;
  readonly location: Location;
}

/** What puts its two operands on one side: a name in the one is a name in the other. */
const RELATIONS: ReadonlySet<string> = new Set([
  'eq',
  'equal',
  'neq',
  'assign',
  'internal.member_2',
  'internal.member_3',
  'and',
  'or',
  'minus',
]);
const SETS: ReadonlySet<string> = new Set(['and', 'or', 'minus']);
const PREFIXES: ReadonlySet<string> = new Set(['startswith', 'strings.any_prefix_match']);

/**
 * Reads a module's rules, as OPA's parser has them: constants that are compared with, or looked up by, what stands at a
 * place of the input that holds names. Variables are followed within a rule, constant rules and a function's arguments
 * through the package; all else says nothing.
 */
export class Reader {
  readonly mentions: Mention[] = [];
  readonly #names: Names;
  readonly #constants: Constants;
  readonly #takers: Takers;

  constructor(names: Names, constants: Constants, takers: Takers) {
    this.#names = names;
    this.#constants = constants;
    this.#takers = takers;
  }

  read({ rules = [] }: Syntax): void {
    for (const rule of rules) this.#rule(rule);
  }

  #rule(rule: Rule, outer?: Map<string, Value>): void {
    const scope: Scope = new Map(outer);
    const path = [...this.#names.package, nameOf(rule.head)].join('.');
    const takes = (argument: number, kind: Kind): void => {
      const known = this.#takers.get(path) ?? [];
      known[argument] ??= kind;
      this.#takers.set(path, known);
    };
    for (const [at, { type, value }] of (rule.head.args ?? []).entries())
      if (type === 'var') scope.set(String(value), { constants: [], argument: at });
    const looking = new Looking(scope, takes);
    this.#body(rule.body, looking);
    for (const term of [rule.head.key, rule.head.value, ...rule.head.ref.slice(1)])
      if (term) this.#value(term, looking);
    if (rule.else) this.#rule(rule.else, scope);
  }

  #body(body: readonly Expression[], looking: Looking): void {
    // What a variable is may be said after it is used: the order of expressions means nothing.
    const isQuiet = looking.quiet;
    looking.quiet = true;
    for (const each of body) this.#expression(each, looking);
    looking.quiet = isQuiet;
    for (const each of body) this.#expression(each, looking);
  }

  #expression({ terms }: Expression, looking: Looking): void {
    if (Array.isArray(terms)) this.#call(terms as Term[], looking);
    else if (isRecord(terms) && Array.isArray(terms['symbols']))
      for (const each of terms['symbols'] as Term[]) this.#value(each, looking);
    else if (isRecord(terms) && Array.isArray(terms['body'])) this.#every(terms, looking);
    else if (isRecord(terms)) this.#value(terms as unknown as Term, looking);
  }

  #every(terms: Record<string, unknown>, looking: Looking): void {
    const { domain, value, body } = terms as unknown as { domain: Term; value: Term; body: Expression[] };
    looking.scope.set(String(value.value), elementOf(this.#value(domain, looking)));
    this.#body(body, looking);
  }

  #call([operator, ...operands]: readonly Term[], looking: Looking): Value {
    const values = operands.map((each) => this.#value(each, looking));
    const ref = operator?.type === 'ref' ? (operator.value as Term[]) : [];
    const name = ref.map(({ value }) => String(value)).join('.');
    const [one = NOTHING, last = NOTHING] = values.slice(-2);
    if (RELATIONS.has(name)) {
      const other = name.startsWith('internal.member_') ? elementOf(last) : last;
      const [left, right] = operands.slice(-2);
      this.#bind(left, other, looking);
      this.#bind(right, one, looking);
      this.#relate(one, other, looking);
      // What is in both of two sets, or in either, is of what they are.
      const constants = SETS.has(name) ? [...one.constants, ...other.constants] : [];
      return { constants, kind: one.kind ?? other.kind };
    }
    const [first = NOTHING, second = NOTHING] = values;
    if (PREFIXES.has(name)) this.#mention(first.kind, second.constants, looking, true);
    const takes = this.#takers.get(this.#names.path(ref)?.join('.') ?? '') ?? [];
    for (const [at, kind] of takes.entries())
      if (kind) this.#relate(values[at] ?? NOTHING, { constants: [], kind }, looking);
    return NOTHING;
  }

  #relate(one: Value, other: Value, looking: Looking): void {
    this.#mention(one.kind, other.constants, looking);
    this.#mention(other.kind, one.constants, looking);
    for (const [{ argument }, { kind }] of [
      [one, other],
      [other, one],
    ] as const)
      if (argument !== undefined && kind) looking.takes(argument, kind);
  }

  #mention(kind: Kind | undefined, constants: readonly Term[], { quiet }: Looking, isPrefix = false): void {
    if (kind === undefined || quiet) return;
    for (const { value, location } of constants)
      if (location && value !== '') this.mentions.push({ kind, name: String(value), isPrefix, location });
  }

  #value(term: Term, looking: Looking): Value {
    const { type, value } = term;
    switch (type) {
      case 'string':
        return { constants: [term] };
      case 'var':
        return looking.scope.get(String(value)) ?? this.#at(this.#names.path([term]));
      case 'ref':
        return this.#ref(value as Term[], looking);
      case 'call':
        return this.#call(value as Term[], looking);
      case 'set':
      case 'array': {
        const inner = (value as Term[]).map((each) => this.#value(each, looking));
        return { constants: inner.flatMap(({ constants }) => constants) };
      }
      case 'object': {
        for (const [key, each] of value as [Term, Term][])
          for (const one of [key, each]) if (one.type !== 'string') this.#value(one, looking);
        return { constants: strings(term) };
      }
      case 'setcomprehension':
      case 'arraycomprehension':
      case 'objectcomprehension': {
        const { term: made, key, body } = value as { term?: Term; key?: Term; body: Expression[] };
        this.#body(body, looking);
        const each = made ?? key;
        return each ? this.#value(each, looking) : NOTHING;
      }
      default:
        return NOTHING;
    }
  }

  #ref(ref: readonly Term[], looking: Looking): Value {
    const [head, ...rest] = ref;
    const own = head?.type === 'var' ? looking.scope.get(String(head.value)) : undefined;
    const pathTo = (end: number): Path | undefined => {
      if (!own) return this.#names.path(ref.slice(0, end));
      return own.path && [...own.path, ...rest.slice(0, end - 1).map(constantIn)];
    };
    for (const [at, part] of rest.entries()) {
      const looked = part.type === 'string' ? NOTHING : this.#value(part, looking);
      // What a constant collection is looked into by.
      const whole = own && at === 0 ? own : this.#at(pathTo(at + 1));
      if (part.type !== 'string') this.#bind(part, { constants: whole.constants }, looking);
      this.#relate({ constants: whole.constants }, looked, looking);
      if (part.type === 'string' && whole.kind) this.#mention(whole.kind, [part], looking);
    }
    return own && rest.length === 0 ? own : this.#at(pathTo(ref.length));
  }

  /** What a variable is compared with is what it may be, unless more is known of it. A rule's name is no variable. */
  #bind(term: Term | undefined, value: Value, { scope }: Looking): void {
    if (term?.type !== 'var' || !says(value) || this.#names.path([term])) return;
    const name = String(term.value);
    const known = scope.get(name);
    if (!known || !says(known)) scope.set(name, value);
  }

  #at(path: Path | undefined): Value {
    if (!path) return NOTHING;
    const constant = path.includes(undefined) ? undefined : this.#constants.get(path.join('.'));
    if (constant) return constant;
    const whole = this.#constants.get(path.slice(0, path.indexOf(undefined)).join('.'));
    if (whole && path.indexOf(undefined) === path.length - 1) return whole;
    return { constants: [], kind: kindAt(path), path };
  }
}

/** The variables of a rule, and what is known of each. */
type Scope = Map<string, Value>;

class Looking {
  readonly scope: Scope;
  readonly takes: (argument: number, kind: Kind) => void;
  /** Variables are learnt of, and nothing is told. */
  quiet = false;

  constructor(scope: Scope, takes: (argument: number, kind: Kind) => void) {
    this.scope = scope;
    this.takes = takes;
  }
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
