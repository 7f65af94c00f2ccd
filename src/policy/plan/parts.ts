import { ALWAYS, and, type Condition, isNever, NEVER, not, or, sizeOf } from './condition.ts';
import { settled } from './evaluate.ts';
import { comparison, type Operand } from './operands.ts';
import {
  type Body,
  constantOf,
  type Expression,
  isVar,
  nameOf,
  type Residual,
  type Term,
  Unplannable,
} from './rego.ts';
import { Translation } from './translate.ts';

/** For which resources it is allowed, and what comes with it. */
export interface Plan {
  readonly condition: Condition;
  /** For those of them that the condition holds of, too. */
  readonly obligations: readonly { readonly obligation: object; readonly when: Condition }[];
}

const MAX_NODES = 5_000;
const MAX_DEPTH = 32;
const MAX_OBLIGATIONS = 64;
/** Of a rule that is asked whether it has two at once. */
const MAX_VALUES = 64;

const DENYING = ['guarded', 'denied', 'malformed', 'challenged'];

/**
 * Puts together what `policies/platform/plan.rego` was asked, as mandate/decision does. `known`: properties of the resource.
 * Throws `Unplannable`.
 */
export function planOf(
  residual: Residual,
  { denyIsSet }: { readonly denyIsSet: boolean },
  known: Readonly<Record<string, unknown>>,
): Plan {
  const translation = new Translation(residual.support);
  const parts = new Map<string, Condition[]>();
  const obligations = new Map<string, { obligation: object; when: Condition[] }>();
  const values = new Map<string, { when: Condition; is: Operand }[]>();
  const add = (part: string, when: Condition): void =>
    void parts.set(part, [...(parts.get(part) ?? []), when]);
  for (const query of residual.queries) {
    const { part, path, value, rest } = taggedIn(query);
    if (part === 'malformed' && denyIsSet) continue;
    const holds = translation.body(rest);
    if (part === 'value') {
      const cases = translation
        .cases(value as Term)
        .map(({ when, is }) => ({ when: and([holds, when]), is }));
      values.set(path, [...(values.get(path) ?? []), ...cases]);
    } else if (part === 'obligation') {
      const obligation = constantOf(value);
      if (obligation === undefined) throw new Unplannable('an obligation depends on attributes', value);
      // A decision that finds one which is no object has failed.
      if (typeof obligation !== 'object' || obligation === null || Array.isArray(obligation))
        add('denied', holds);
      else if (((obligation as { on?: unknown }).on ?? 'allow') === 'allow') {
        const key = JSON.stringify(obligation);
        obligations.set(key, { obligation, when: [...(obligations.get(key)?.when ?? []), holds] });
      }
    } else add(part, holds);
  }
  const failed = [...values.values()].map(conflict);
  const denied = or([...DENYING.flatMap((each) => parts.get(each) ?? []), ...failed]);
  if (obligations.size > MAX_OBLIGATIONS)
    throw new Unplannable(`it has more than ${MAX_OBLIGATIONS} obligations`);
  const finished = (condition: Condition): Condition => bounded(settled(condition, known));
  return {
    condition: finished(and([or(parts.get('allowed') ?? []), not(denied)])),
    obligations: [...obligations.values()]
      .map(({ obligation, when }) => ({ obligation, when: finished(or(when)) }))
      .filter(({ when }) => !isNever(when)),
  };
}

/** A rule with two values at once: the evaluation fails. */
function conflict(values: readonly { readonly when: Condition; readonly is: Operand }[]): Condition {
  if (values.length > MAX_VALUES) throw new Unplannable(`a rule has more than ${MAX_VALUES} values`);
  return or(
    values.flatMap(({ when, is }, at) =>
      values
        .slice(at + 1)
        .map((other) => (isSame(is, other.is) ? NEVER : and([when, other.when, differ(is, other.is)]))),
    ),
  );
}

const isSame = (one: Operand, other: Operand): boolean => JSON.stringify(one) === JSON.stringify(other);

const differ = (one: Operand, other: Operand): Condition =>
  'constant' in one && 'constant' in other ? ALWAYS : comparison('ne', one, other);

/** Which part a query is of, and the rest of it. */
function taggedIn(query: Body): { part: string; path: string; value: unknown; rest: Body } {
  const at = query.findIndex(isTag);
  const [, one, other] = (query[at]?.terms ?? []) as Term[];
  const tag = isVar(one) ? other : one;
  const rest = query.filter((_each, place) => place !== at);
  if (tag?.type === 'string') return { part: String(tag.value), path: '', value: undefined, rest };
  if (tag?.type !== 'array') throw new Unplannable('an obligation depends on attributes', query[at]);
  const [part, ...more] = tag.value as Term[];
  return { part: String(part?.value), path: String(more[0]?.value), value: more.at(-1), rest };
}

function isTag({ terms, negated }: Expression): boolean {
  if (negated || !Array.isArray(terms) || nameOf(terms[0]) !== 'eq') return false;
  return (terms as Term[]).slice(1).some((term) => isVar(term) && term.value === 'x');
}

function bounded(condition: Condition): Condition {
  const { nodes, depth } = sizeOf(condition);
  if (nodes > MAX_NODES) throw new Unplannable(`the filter has more than ${MAX_NODES} parts`);
  if (depth > MAX_DEPTH) throw new Unplannable(`the filter nests deeper than ${MAX_DEPTH}`);
  return condition;
}
