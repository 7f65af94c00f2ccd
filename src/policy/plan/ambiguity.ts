import type { Rule } from '../testing/syntax.ts';
import { withoutPlaces } from '../testing/syntax.ts';
import { isSet, type Known, type Problem } from './known.ts';
import { constantOf, isVar, nameOf, refOf, type Term, termsIn } from './rego.ts';

/** Rules that may come to two values at once. */
export interface Ambiguous {
  /** Those of which nobody can say when. */
  readonly problems: readonly Problem[];
  /** Paths of those whose values can be asked for, one by one. */
  readonly doubtful: readonly string[];
}

/**
 * Of rules that depend on the resource. Where one has two values the evaluation fails, and is a deny; partial evaluation takes
 * each value for itself and would allow. Of what does not depend on the resource it finds them itself.
 */
export function ambiguous(rules: readonly Known[], dependent: ReadonlySet<Known>): Ambiguous {
  const byPath = new Map<string, Known[]>();
  for (const each of rules)
    if (!each.rule.default && !isSet(each.rule.head))
      byPath.set(each.path, [...(byPath.get(each.path) ?? []), each]);
  const problems: Problem[] = [];
  const doubtful: string[] = [];
  for (const [path, defined] of byPath) {
    if (!defined.some((each) => dependent.has(each))) continue;
    const all = defined.map(({ rule }) => rule);
    if (hasPlainName(all) && isCertain(all)) continue;
    const { file, line } = defined.at(-1) as Known;
    const message = `${path.replaceAll('/', '.')} depends on the resource and may have two values at once`;
    if (hasPlainName(all) && all.flatMap(chainOf).every(isOneEach)) doubtful.push(path);
    else problems.push({ file, line, message });
  }
  return { problems, doubtful };
}

/** Of others the name holds a variable. */
const hasPlainName = (rules: readonly Rule[]): boolean =>
  rules.every(({ head }) => head.ref.every((part, at) => at === 0 || part.type === 'string'));

function isCertain(rules: readonly Rule[]): boolean {
  if (rules.some(({ head }) => head.ref.some((part, at) => at > 0 && part.type !== 'string'))) return false;
  const values = rules.flatMap(chainOf).map(({ head }) => head.value);
  const [first] = values;
  const isOne = values.every(
    (each) =>
      constantOf(each) !== undefined &&
      JSON.stringify(withoutPlaces(each)) === JSON.stringify(withoutPlaces(first)),
  );
  return isOne || (rules.length === 1 && rules.flatMap(chainOf).every(isFunctional));
}

/** Each way for it to hold gives the same, and there is no argument on which it depends. */
const isOneEach = (rule: Rule): boolean =>
  !rule.head.args && (constantOf(rule.head.value) !== undefined || isFunctional(rule));

const chainOf = (rule: Rule): Rule[] => [rule, ...(rule.else ? chainOf(rule.else) : [])];

/** Nothing in it goes over elements: there is one way at most for it to hold. */
function isFunctional({ head, body }: Rule): boolean {
  const bound = new Set((head.args ?? []).filter(isVar).map(({ value }) => value));
  for (const { terms } of body) {
    if (!Array.isArray(terms)) continue;
    const [operator, target] = terms as Term[];
    if (nameOf(operator) === 'assign' && isVar(target)) bound.add(target.value);
  }
  if (body.some(({ terms }) => typeof terms === 'object' && terms !== null && 'symbols' in terms))
    return false;
  for (const term of termsIn([head.value, body])) {
    const ref = refOf(term);
    if (
      ref
        ?.slice(1)
        .some(
          (part) =>
            part.type !== 'string' && part.type !== 'number' && !(isVar(part) && bound.has(part.value)),
        )
    )
      return false;
    if (ref && nameOf(term) === 'walk') return false;
  }
  return true;
}
