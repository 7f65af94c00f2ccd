import { type Analysis, wordsIn } from './analysis.ts';
import { refOf, termsIn } from './rego.ts';

/**
 * Where what partial evaluation left stands in the sources, which it does not say: the rule that it names, or the expression
 * with the most of its words. Undefined where none has any.
 */
export function placeOf(
  expression: unknown,
  { expressions, rules }: Pick<Analysis, 'expressions' | 'rules'>,
): { readonly file: string; readonly line: number } | undefined {
  for (const term of termsIn(expression)) {
    const [head, ...rest] = (refOf(term) ?? []).map(({ value }) => String(value));
    const rule = head === 'data' ? rules.get(rest.join('.').replace(/^partial\./, '')) : undefined;
    if (rule) return rule;
  }
  const all = [...wordsIn(expression)];
  const own = all.filter((word) => !EVERYWHERE.has(word));
  const words = new Set(own.length > 0 ? own : all);
  let best: { file: string; line: number } | undefined;
  let most = 0;
  for (const place of expressions) {
    const shared = [...words].filter((word) => place.words.has(word)).length;
    // Of two the shorter: the other one holds it.
    const score = shared - place.words.size / 1_000;
    if (shared > 0 && score > most) [best, most] = [place, score];
  }
  return best;
}

const EVERYWHERE = new Set(['input', 'resource', 'properties', 'data', 'internal', 'eq']);
