import type { Bench } from '../compiler.ts';
import type { PolicySources } from '../sources.ts';
import { parseAll, type Rule, type Syntax } from '../testing/syntax.ts';
import { bounds } from './bounds.ts';
import type { Asked } from './engine.ts';
import type { ExplainedBody, ExplainedRule } from './explanation.ts';
import { coverageOf, type Range, type Traced } from './opa.ts';
import { placed, Written } from './written.ts';

/** What is told of a rule whose trace is too long. */
export const PLACES_ALONE = 'its evaluation has too many steps to be traced: places are told, and no values';

/**
 * Where each body of a rule ended, of an evaluation with too many steps to be traced: OPA's coverage says which
 * expressions were reached, however often. Undefined where that too takes more than it may.
 */
export async function placesOf(
  bench: Bench,
  sources: PolicySources,
  asked: Asked,
  { rule }: Traced,
): Promise<ExplainedRule | undefined> {
  const coverage = await coverageOf(bench, asked, rule);
  if (!coverage) return undefined;
  const [authors = '', name = ''] = rule.split('.');
  const texts = new Map([...sources.modules].map(([file, text]) => [`tenant/${file}`, text]));
  const files = [...texts].filter(([, text]) => text.includes(name)).map(([file]) => file);
  const syntax = new Map<string, Syntax>();
  for (const file of files.slice(0, bounds.files)) {
    const parsed = await parseAll([file], bench.run).catch(() => undefined);
    for (const [parsedFile, tree] of parsed ?? []) syntax.set(parsedFile, tree);
  }
  const written = new Written(texts, syntax);
  const bodies = [...syntax].flatMap(([file, { rules = [] }]) =>
    written.packageOf(file) === authors
      ? rules
          .filter(({ head }) => head.ref[0]?.value === name && head.ref.length === 1)
          .flatMap((each) => bodiesOf(each, file, coverage.covered.get(file) ?? [], written))
      : [],
  );
  const shown = bodies.slice(0, bounds.bodies);
  return {
    name: rule,
    isPlatform: false,
    value: coverage.value,
    bodies: shown,
    more: bodies.length - shown.length,
    cut: PLACES_ALONE,
  };
}

function bodiesOf(rule: Rule, file: string, covered: readonly Range[], written: Written): ExplainedBody[] {
  const { location, body } = rule;
  const others = rule.else ? bodiesOf(rule.else, file, covered, written) : [];
  if (!location) return others;
  const place = placed({ ...location, file });
  const isDefault = rule.default === true;
  const isHeld = covered.some(({ start }) => start.row === location.row && start.col === location.col);
  if (isHeld) return [{ ...place, held: true, isDefault, gave: [] }, ...others];
  const places = body.flatMap(({ location: at, generated }) => (at && !generated ? [{ ...at, file }] : []));
  const reached = places.filter((at) => {
    const extent = written.extentOf(at);
    return extent && covered.some(({ start }) => isWithin(start, extent));
  });
  const last = reached.at(-1);
  const failed = last && { ...written.expressionAt(last), values: [], times: 0, because: [] };
  return [{ ...place, held: false, isDefault, gave: [], failed }, ...others];
}

const isWithin = (at: Range['start'], { start, end }: Range): boolean =>
  isBefore(start, at) && isBefore(at, end) && !(at.row === end.row && at.col === end.col);

const isBefore = (one: Range['start'], other: Range['start']): boolean =>
  one.row < other.row || (one.row === other.row && one.col <= other.col);
