import { indexesIn, mentions, type Part, unbound } from './bindings.ts';
import {
  and,
  any,
  type Comparison,
  type Condition,
  not,
  or,
  type Path,
  sizeOf,
  type TextTest,
} from './condition.ts';
import {
  attribute,
  type Cases,
  comparison,
  constant,
  isDefined,
  isTruthy,
  membership,
  noMembership,
  opposite,
  overOne,
  overTwo,
  textTest,
  truth,
} from './operands.ts';
import {
  type Body,
  constantOf,
  isTerm,
  isVar,
  nameOf,
  type Residual,
  refOf,
  rewritten,
  type SupportRule,
  type Term,
  termsIn,
  Unplannable,
} from './rego.ts';

/** How deep what is left of a policy may nest, and how many expressions it may have in all. */
const MAX_DEPTH = 24;
const MAX_PARTS = 20_000;
const MAX_BODY = 256;
/** Of what one rule may come to: rules that stand on each other would double it each time. */
const MAX_NODES = 5_000;

const COMPARISONS: Readonly<Record<string, Comparison>> = {
  eq: 'eq',
  equal: 'eq',
  neq: 'ne',
  lt: 'lt',
  lte: 'le',
  gt: 'gt',
  gte: 'ge',
};
const TEXT_TESTS: Readonly<Record<string, TextTest>> = {
  startswith: 'starts_with',
  endswith: 'ends_with',
  contains: 'contains_text',
};
const MEMBER = 'internal.member_2';

/** Turns what partial evaluation left into a condition. Throws `Unplannable` for what it cannot say, and says no more. */
export class Translation {
  readonly #support: Residual['support'];
  #parts = 0;
  #elements = 0;

  constructor(support: Residual['support']) {
    this.#support = support;
  }

  /** Holds where all expressions do, for some choice of what their variables go over. */
  body(body: Body, depth = 0): Condition {
    if (depth > MAX_DEPTH) throw new Unplannable(`it nests deeper than ${MAX_DEPTH}`, body[0]);
    if (body.length > MAX_BODY)
      throw new Unplannable(`more than ${MAX_BODY} expressions stand together`, body[0]);
    this.#count(body.length);
    // It holds whatever it is given.
    const said = body.filter(({ terms }) => !Array.isArray(terms) || nameOf(terms[0]) !== 'internal.print');
    for (const part of said) refuseInner(part);
    return this.#together(unbound(said), depth);
  }

  #count(parts: number): void {
    this.#parts += parts;
    if (this.#parts > MAX_PARTS) throw new Unplannable(`more than ${MAX_PARTS} expressions are left of it`);
  }

  #together(parts: readonly Part[], depth: number): Condition {
    const found = firstIteration(parts);
    if (!found) return and(parts.map((part) => this.#part(part, depth)));
    const { name, base } = found;
    this.#elements += 1;
    const element = `e${this.#elements}`;
    const inside = parts.filter((part) => mentions(part, name));
    const outside = parts.filter((part) => !mentions(part, name));
    const within = inside.map((part) => overElement(part, base, name, element));
    for (const [at, part] of within.entries()) {
      if (mentions(part, name))
        throw new Unplannable('where an element stands is not told in a filter', inside[at]);
      for (const index of indexesIn(part))
        if (!part.negated && outside.some((other) => !other.negated && mentions(other, index)))
          throw new Unplannable('elements of two attributes are not joined in a filter', inside[at]);
    }
    if (depth > MAX_DEPTH) throw new Unplannable(`it nests deeper than ${MAX_DEPTH}`, inside[0]);
    const over = any(pathOf(base), element, this.#together(within, depth + 1));
    return and([over, this.#together(outside, depth)]);
  }

  #part(part: Part, depth: number): Condition {
    const { terms, negated, with: replaced, defined } = part;
    try {
      if (defined) return overOne(this.cases(defined, depth), isDefined);
      if (replaced) throw new Unplannable('"with" has no counterpart in a filter');
      // What only it mentions goes over all elements: none of them may do.
      if (negated) return not(this.body([{ terms }], depth + 1));
      return Array.isArray(terms) ? this.#call(terms as Term[], depth) : this.#alone(terms, depth);
    } catch (error) {
      if (error instanceof Unplannable && error.expression === undefined)
        throw new Unplannable(error.why, defined ?? part);
      throw error;
    }
  }

  #alone(term: unknown, depth: number): Condition {
    if (!isTerm(term)) throw new Unplannable('"every" over an attribute has no counterpart in a filter');
    return overOne(this.cases(term, depth), isTruthy);
  }

  #call([operator, ...given]: readonly Term[], depth: number): Condition {
    const name = nameOf(operator);
    // See `prepared`: of all that is defined.
    if (name === 'type_name' && given.length === 1)
      return overOne(this.cases(given[0] as Term, depth), isDefined);
    const [one, other] = given.map((each) => () => this.cases(each, depth));
    if (one && other && given.length === 2) {
      const compared = own(COMPARISONS, name);
      if (compared) return overTwo(one(), other(), (a, b) => comparison(compared, a, b));
      if (name === MEMBER) return overTwo(one(), other(), membership);
      const text = own(TEXT_TESTS, name);
      if (text) return overTwo(one(), other(), (a, b) => textTest(text, a, b));
    }
    return overOne(this.#value(name, given, depth), isTruthy);
  }

  /** What a call gives. */
  #value(name: string, given: readonly Term[], depth: number): Cases {
    // What is nested is looked at once for true and once for false.
    this.#count(1);
    const [one, other, third] = given;
    if (one && other && given.length === 2) {
      const compared = own(COMPARISONS, name);
      const [some, others] = [() => this.cases(one, depth), () => this.cases(other, depth)];
      if (compared)
        return truth(
          overTwo(some(), others(), (a, b) => comparison(compared, a, b)),
          overTwo(some(), others(), (a, b) => comparison(opposite[compared], a, b)),
        );
      if (name === MEMBER)
        return truth(overTwo(some(), others(), membership), overTwo(some(), others(), noMembership));
    }
    if (name === 'object.get' && one && other && third && given.length === 3)
      return this.#withDefault(one, other, third);
    if (one && given.length === 1 && own(IS, name)) {
      const value = constantOf(one);
      if (value !== undefined) return constant(own(IS, name)?.(one.type));
    }
    throw new Unplannable(`${name} has no counterpart in a filter`);
  }

  /** Of the properties themselves, which are an object always. */
  #withDefault(object: Term, key: Term, otherwise: Term): Cases {
    const path = refOf(object)?.map(({ value }) => value);
    const name = constantOf(key);
    const value = constantOf(otherwise);
    if (path?.join('.') !== 'input.resource.properties' || typeof name !== 'string' || value === undefined)
      throw new Unplannable(
        'object.get has a counterpart for input.resource.properties and a constant alone',
      );
    const at: Path = ['resource', 'properties', name];
    const exists: Condition = { op: 'exists', attribute: at };
    return [
      { when: exists, is: { attribute: at } },
      { when: not(exists), is: { constant: value } },
    ];
  }

  /** What a term may be. */
  cases(term: Term, depth = 0): Cases {
    const fixed = constantOf(term);
    if (fixed !== undefined) return constant(fixed);
    if (term.type === 'call') {
      const [operator, ...given] = term.value as Term[];
      return this.#value(nameOf(operator), given, depth);
    }
    const ref = refOf(term);
    if (!ref)
      throw new Unplannable(
        `${WORDS[term.type] ?? 'what it is compared with'} has no counterpart in a filter`,
      );
    if (isVar(ref[0]) && ref[0].value === 'data') return this.#supported(ref, depth);
    return attribute(pathOf(ref));
  }

  /** A rule that OPA left as a rule. */
  #supported(ref: readonly Term[], depth: number): Cases {
    const path = ref.slice(1).map(({ value }) => String(value));
    const rules = this.#support.get(path.join('/'));
    if (!rules)
      throw new Unplannable(`${['data', ...path].join('.')} is not inlined where it depends on the resource`);
    if (rules.some(({ else: another, head }) => another || head.args || head.key || !head.value))
      throw new Unplannable(`${path.slice(1).join('.')} has no counterpart in a filter`);
    const cases = rules.filter((rule) => !rule.default).flatMap((rule) => this.#ruled(rule, depth));
    if (cases.reduce((nodes, { when }) => nodes + sizeOf(when).nodes, 0) > MAX_NODES)
      throw new Unplannable(`${path.slice(1).join('.')} comes to more than ${MAX_NODES} conditions`);
    const otherwise = rules.find((rule) => rule.default)?.head.value;
    if (!otherwise) return cases;
    const none = not(or(cases.map(({ when, is }) => and([when, isDefined(is)]))));
    return [...cases, ...this.cases(otherwise, depth).map(({ is }) => ({ when: none, is }))];
  }

  #ruled({ body, head }: SupportRule, depth: number): Cases {
    const holds = this.body(body, depth + 1);
    return this.cases(head.value as Term, depth + 1).map(({ when, is }) => ({
      when: and([holds, when]),
      is,
    }));
  }
}

/** Comprehensions and `every` have variables of their own, which go over nothing outside. */
function refuseInner(part: Body[number]): void {
  if (typeof part.terms === 'object' && part.terms !== null && 'domain' in part.terms)
    throw new Unplannable('"every" over an attribute has no counterpart in a filter', part);
  for (const { type } of termsIn(part.terms))
    if (type.endsWith('comprehension'))
      throw new Unplannable('a comprehension over an attribute has no counterpart in a filter', part);
}

/** Checks of the type of a constant. */
const IS: Readonly<Record<string, (type: string) => boolean>> = Object.fromEntries(
  ['set', 'array', 'object', 'string', 'number', 'boolean', 'null'].map((each) => [
    `is_${each}`,
    (type: string) => type === each,
  ]),
);

const WORDS: Readonly<Record<string, string>> = {
  arraycomprehension: 'a comprehension over an attribute',
  setcomprehension: 'a comprehension over an attribute',
  objectcomprehension: 'a comprehension over an attribute',
  array: 'an array with an attribute in it',
  object: 'an object with an attribute in it',
  set: 'a set with an attribute in it',
};

const own = <T>(table: Readonly<Record<string, T>>, name: string): T | undefined =>
  Object.hasOwn(table, name) ? table[name] : undefined;

/** The outermost variable of the first expression that goes over something, and the reference up to it. */
function firstIteration(parts: readonly Part[]): { name: string; base: readonly Term[] } | undefined {
  for (const part of parts) {
    if (part.negated) continue;
    for (const term of termsIn([part.terms, part.defined])) {
      const ref = refOf(term);
      const at = ref?.findIndex((each, place) => place > 0 && isVar(each)) ?? -1;
      const found = ref?.[at];
      if (ref && isVar(found)) return { name: found.value, base: ref.slice(0, at) };
    }
  }
  return undefined;
}

/** The expression with references to the element in the place of those to the base and the variable. */
function overElement(part: Part, base: readonly Term[], name: string, element: string): Part {
  const wanted = JSON.stringify(base);
  return rewritten(part, (term) => {
    const ref = refOf(term);
    const index = ref?.[base.length];
    if (!ref || !isVar(index) || index.value !== name) return undefined;
    if (JSON.stringify(ref.slice(0, base.length)) !== wanted) return undefined;
    return { type: 'ref', value: [{ type: 'element', value: element }, ...ref.slice(base.length + 1)] };
  }) as Part;
}

/** Where the attribute is that a reference names. */
function pathOf(ref: readonly Term[]): Path {
  const [head, ...rest] = ref;
  if (rest.some(({ type }) => type !== 'string'))
    throw new Unplannable('a place in an array, or a name that is not text, is not told in a filter');
  const members = rest.map(({ value }) => String(value));
  if (head?.type === 'element') return [String(head.value), ...members];
  if (!isVar(head) || head.value !== 'input') throw new Unplannable('a variable is left that nothing binds');
  const [first, second] = members;
  const isAttribute =
    first === 'resource' &&
    (second === 'id' ? members.length === 2 : second === 'properties' && members.length > 2);
  if (!isAttribute) throw new Unplannable('the resource is taken whole, where a filter knows its attributes');
  return members;
}
