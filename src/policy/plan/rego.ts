import { ServiceError } from '../../errors.ts';

/** Rego as OPA's partial evaluation leaves it: JSON of its syntax tree, without places. */
export interface Term {
  readonly type: string;
  readonly value: unknown;
}

export interface Expression {
  /** A term alone, or an operator and what it is given. */
  readonly terms: unknown;
  readonly negated?: boolean;
  readonly with?: unknown;
}

export type Body = readonly Expression[];

export interface SupportRule {
  readonly default?: boolean;
  readonly body: Body;
  readonly else?: unknown;
  readonly head: {
    readonly ref: readonly Term[];
    readonly value?: Term;
    readonly key?: Term;
    readonly args?: unknown;
  };
}

export interface Residual {
  readonly queries: readonly Body[];
  /** By path, without `data`: `partial/authz/kind`. */
  readonly support: ReadonlyMap<string, readonly SupportRule[]>;
}

/** What cannot be said as a condition. `expression` is what is left of it, as text; `tokens` help to find where it stands. */
export class Unplannable extends Error {
  readonly why: string;
  readonly expression: unknown;

  constructor(why: string, expression?: unknown) {
    super(why);
    this.why = why;
    this.expression = expression;
  }
}

interface Output {
  readonly partial?: {
    readonly queries?: readonly Body[];
    readonly modules?: readonly {
      readonly package: { readonly path: readonly Term[] };
      readonly rules?: readonly SupportRule[];
    }[];
  };
}

/** A number that JavaScript would make another one of. */
const INEXACT = Symbol('inexact');

/** Reads what OPA prints. A number whose text is not kept by a double is no constant that can be compared. */
export function readResidual(text: string): Residual {
  const { partial = {} } = JSON.parse(text, (_name, value: unknown, context?: { source?: string }) =>
    typeof value === 'number' && !isExact(value, context?.source ?? '') ? INEXACT : value,
  ) as Output;
  const support = new Map<string, SupportRule[]>();
  for (const { package: of, rules = [] } of partial.modules ?? [])
    for (const rule of rules) {
      const path = [...of.path.slice(1), ...rule.head.ref].map(({ value }) => String(value)).join('/');
      support.set(path, [...(support.get(path) ?? []), rule]);
    }
  return { queries: partial.queries ?? [], support };
}

/** Of integers all digits, of others as JavaScript writes them: 0.10 and 1e2 are not, and need not be. */
function isExact(value: number, source: string): boolean {
  if (Number.isInteger(value)) return Number.isSafeInteger(value) && /^-?\d+$/.test(source);
  return String(value) === source;
}

export const isTerm = (value: unknown): value is Term =>
  typeof value === 'object' && value !== null && typeof (value as Term).type === 'string';

export const isVar = (value: unknown): value is { readonly type: 'var'; readonly value: string } =>
  isTerm(value) && value.type === 'var';

export const refOf = (value: unknown): readonly Term[] | undefined =>
  isTerm(value) && value.type === 'ref' ? (value.value as readonly Term[]) : undefined;

/** The name of an operator: `startswith`, `internal.member_2`. */
export const nameOf = (operator: unknown): string =>
  (refOf(operator) ?? []).map(({ value }) => String(value)).join('.');

/** Whether a constant is a scalar that may be compared; the rest of a term is for others. */
export const isScalar = ({ type, value }: Term): boolean =>
  (type === 'string' || type === 'number' || type === 'boolean' || type === 'null') && value !== INEXACT;

/** Each term below, the node itself included. */
export function* termsIn(node: unknown): Generator<Term> {
  if (Array.isArray(node)) for (const each of node as unknown[]) yield* termsIn(each);
  else if (typeof node === 'object' && node !== null) {
    if (isTerm(node)) yield node;
    for (const each of Object.values(node)) yield* termsIn(each);
  }
}

/** A copy in which `change` has put something else for some terms; what it answers is not looked into. */
export function rewritten(node: unknown, change: (term: Term) => unknown): unknown {
  if (Array.isArray(node)) return (node as unknown[]).map((each) => rewritten(each, change));
  if (typeof node !== 'object' || node === null) return node;
  if (isTerm(node)) {
    const other = change(node);
    if (other !== undefined) return other;
  }
  return Object.fromEntries(Object.entries(node).map(([name, each]) => [name, rewritten(each, change)]));
}

/** A constant as plain JSON: sets as arrays. Undefined for what is none. */
export function constantOf(term: unknown): unknown {
  if (!isTerm(term)) return undefined;
  const { type, value } = term;
  // OPA writes an empty object there.
  if (type === 'null') return null;
  if (isScalar(term)) return value;
  if (type === 'array' || type === 'set') {
    const items = (value as unknown[]).map(constantOf);
    return items.includes(undefined) ? undefined : items;
  }
  if (type !== 'object') return undefined;
  const entries = (value as [unknown, unknown][]).map(([key, of]) => [constantOf(key), constantOf(of)]);
  return entries.every(([key, of]) => typeof key === 'string' && of !== undefined)
    ? Object.fromEntries(entries)
    : undefined;
}

const MAX_TEXT = 300;

/** As somebody would write it, for messages. */
export function textOf(node: unknown): string {
  const text = written(node);
  return text.length > MAX_TEXT ? `${text.slice(0, MAX_TEXT)}…` : text;
}

const INFIX: Readonly<Record<string, string>> = {
  eq: '==',
  equal: '==',
  neq: '!=',
  lt: '<',
  lte: '<=',
  gt: '>',
  gte: '>=',
  'internal.member_2': 'in',
};

function written(node: unknown): string {
  if (Array.isArray(node)) {
    const [operator, ...given] = node as unknown[];
    const name = nameOf(operator);
    const infix = Object.hasOwn(INFIX, name) ? INFIX[name] : undefined;
    if (infix && given.length === 2) return `${written(given[0])} ${infix} ${written(given[1])}`;
    return `${name}(${given.map(written).join(', ')})`;
  }
  if (!isTerm(node)) return expressionText(node as Expression);
  const { type, value } = node;
  switch (type) {
    case 'ref':
      return (value as Term[]).map((part, place) => member(part, place)).join('');
    case 'var':
      return String(value).startsWith('__') ? '_' : String(value);
    case 'call':
      return written(value);
    case 'array':
      return `[${(value as unknown[]).map(written).join(', ')}]`;
    case 'set':
      return `{${(value as unknown[]).map(written).join(', ')}}`;
    case 'object':
      return `{${(value as [unknown, unknown][]).map(([key, of]) => `${written(key)}: ${written(of)}`).join(', ')}}`;
    case 'arraycomprehension':
    case 'setcomprehension':
    case 'objectcomprehension':
      return comprehension(type, value as Record<string, unknown>);
    case 'null':
      return 'null';
    default:
      return value === INEXACT ? 'a number that is too exact' : JSON.stringify(value);
  }
}

function comprehension(type: string, { term, key, value, body }: Record<string, unknown>): string {
  const head = term === undefined ? `${written(key)}: ${written(value)}` : written(term);
  const inner = `${head} | ${(body as Expression[]).map(expressionText).join('; ')}`;
  return type === 'arraycomprehension' ? `[${inner}]` : `{${inner}}`;
}

function expressionText({ terms, negated }: Expression): string {
  const { domain } = (terms ?? {}) as { domain?: unknown };
  const text = domain === undefined ? written(terms) : `every … in ${written(domain)} { … }`;
  return negated ? `not ${text}` : text;
}

const member = ({ type, value }: Term, place: number): string => {
  if (place === 0) return String(value);
  if (type === 'string' && /^[A-Za-z_]\w*$/.test(String(value))) return `.${String(value)}`;
  return `[${written({ type, value })}]`;
};

export const planUnsupported = (message: string, detail?: string): ServiceError =>
  new ServiceError('plan_unsupported', message, detail === undefined ? {} : { detail });
