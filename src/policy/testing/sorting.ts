import type { Bench } from '../compiler.ts';
import { policyInvalid } from '../diagnostics.ts';
import { textsOf } from '../opa/platform.ts';
import { describeMixed, type Mixed, type Replacement, Replacements } from '../opa/replacements.ts';
import { eachTree } from '../opa/trees.ts';
import type { PolicySources } from '../sources.ts';
import { type Edit, Source, type Span } from './source.ts';
import type { Location, Syntax } from './syntax.ts';

/** By file, what puts replaced functions last: the compiler mixes up the others, where OPA's evaluator does not. */
type Sortings = ReadonlyMap<string, readonly Edit[]>;

const SEVERAL = /\bwith\b[^]*\bwith\b/;

/**
 * Only tests are sorted: for what decides the author is told. Throws `policy_invalid`.
 * @param parsed test files by where the compiler finds them
 */
export async function sortings(
  { platform, run }: Bench,
  { modules, tests }: PolicySources,
  parsed: ReadonlyMap<string, Syntax>,
): Promise<Sortings> {
  const replacements = new Replacements();
  for (const file of tests.keys()) {
    const syntax = parsed.get(`tenant/${file}`);
    if (syntax) replacements.look(file, { ...syntax });
  }
  if (!replacements.any && ![...modules.values()].some((text) => SEVERAL.test(text))) return new Map();
  const failed =
    (await eachTree(modules, run, (file, _text, tree) => replacements.look(file, tree))) ??
    (await eachTree(textsOf(platform), run, (file, _text, tree) => replacements.look(file, tree, false)));
  if (failed) throw policyInvalid(failed);
  const sorted = new Map<string, Edit[]>();
  for (const [file, mixed] of Map.groupBy(replacements.mixed(), (each) => each.file)) {
    const decides = modules.get(file);
    if (decides !== undefined) throw policyInvalid(mixed.map((each) => describeMixed(each, decides)));
    sorted.set(file, exchanges(new Source(tests.get(file) ?? ''), mixed));
  }
  return sorted;
}

/** Stretches of a text, and which of them comes into the place of each. */
interface Exchange {
  readonly places: readonly Span[];
  readonly taken: readonly Span[];
}

/** Where a place is not known nothing is exchanged: then the two evaluators differ, and say so. */
function exchanges(source: Source, mixed: readonly Mixed[]): Edit[] {
  const spansOf = (list: readonly Replacement[]): Span[] =>
    list
      .map(({ location }) => source.span(location as Location | undefined))
      .filter((each) => each !== undefined);
  const all = mixed
    .map(({ replacements, sorted }) => ({ places: spansOf(replacements), taken: spansOf(sorted) }))
    .filter(({ places }, at) => places.length === mixed[at]?.replacements.length);
  return editsWithin({ start: 0, end: source.text.length }, all);

  /** What is within something that moves is exchanged there, and moves with it. */
  function editsWithin(span: Span, inner: readonly Exchange[]): Edit[] {
    const own = inner.filter(({ places }) => places.every((each) => isWithin(each, span)));
    const outer = own.filter(
      (each) =>
        !own.some((other) => other !== each && other.places.some((place) => isWithin(each.places[0], place))),
    );
    return outer.flatMap(({ places, taken }) =>
      places.map((place, at) => {
        const from = taken[at] ?? place;
        const edits = editsWithin(from, own).map((edit) => shifted(edit, -from.start));
        return { ...place, text: new Source(source.text.slice(from.start, from.end)).edited(edits) };
      }),
    );
  }
}

const isWithin = (span: Span | undefined, { start, end }: Span): boolean =>
  span !== undefined && start <= span.start && span.end <= end;

const shifted = ({ start, end, text }: Edit, by: number): Edit => ({
  start: start + by,
  end: end + by,
  text,
});
