import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { Bench } from '../../compiler.ts';
import type { OpaCapabilities } from '../../engine/capabilities.ts';
import type { EvaluationContext, Limits } from '../../engine/instance.ts';
import { PolicyModule } from '../../engine/module.ts';
import type { PolicySources } from '../../sources.ts';
import { build, layOut, namesOf, planOf } from '../compilation.ts';
import { builtinOfTests } from '../earnest.ts';
import { Evaluator } from '../evaluation.ts';
import type { Span } from '../source.ts';
import { type MarkedFile, markAll, moved, nameNotIn } from './marked.ts';
import type { Bodies, Mark } from './marks.ts';
import { type Following, followingsIn, type Place } from './plan.ts';
import { Recorder } from './recorder.ts';
import { type Counted, type CoverageReport, coverageOf } from './report.ts';

/** A mark is a call of the host, which costs as much as a thousand units of the policy's own. */
const MARKED_LIMITS: Limits = { fuel: 2 ** 31 - 1, memoryPages: 16_384 };
const FOLDER = 'marked';

/** A test that passed, and what it came to. */
export interface Passed {
  readonly name: string;
  readonly entrypoint: string;
  readonly context: EvaluationContext;
  /** JSON; undefined for a test in Rego, which brings its own. */
  readonly input?: string;
  /** JSON of the rule's value. */
  readonly value: string | undefined;
}

export interface Measured {
  readonly report: CoverageReport;
  /** Tests that come to something else with marks in the policy: then the report says nothing of it. */
  readonly differing: readonly string[];
}

/**
 * Which lines of the tenant's rules its tests reach on the engine that serves. The tests, all of which passed, run once
 * more on a second module, with marks in it; the verdicts are those of the one without.
 * @param texts test files that are compiled in another form than the author's
 */
export async function measure(
  bench: Bench,
  sources: PolicySources,
  texts: ReadonlyMap<string, string>,
  passed: readonly Passed[],
): Promise<Measured> {
  const builtin = nameNotIn(sources);
  const files = await markAll(bench, sources, texts, builtin, FOLDER);
  await layOut(
    path.join(bench.folder, FOLDER),
    [...sources.tests, ...texts].filter(([name]) => !files.has(name)),
  );
  const recorder = new Recorder(bodiesOf(files));
  if (passed.length === 0) return { report: coverageOf(countAll(files, recorder, new Set())), differing: [] };
  const entrypoints = [...new Set(passed.map(({ entrypoint }) => entrypoint))];
  const capabilities = await capabilitiesWith(bench, builtin);
  const built = { entrypoints, folder: FOLDER, names: namesOf(sources), capabilities };
  const [wasm, plan] = await Promise.all([build(bench, built), planOf(bench, built)]);
  const module = PolicyModule.compile(wasm, (name) =>
    name === builtin ? recorder.builtin : builtinOfTests(name),
  );
  const evaluator = new Evaluator(module, sources.data, MARKED_LIMITS, () => 0);
  const differing = passed.filter(({ entrypoint, context, input, value }) => {
    const evaluated = evaluator.evaluate(entrypoint, context, input);
    recorder.end();
    return evaluated.value !== value;
  });
  const astray = strayed(followingsIn(plan, builtin), files);
  return {
    report: coverageOf(countAll(files, recorder, astray)),
    differing: differing.map(({ name }) => name),
  };
}

/** The compiler's own, with the built-in of the marks. */
async function capabilitiesWith({ folder, capabilities }: Bench, builtin: string): Promise<string> {
  const given = JSON.parse(await readFile(capabilities, 'utf8')) as OpaCapabilities;
  const args = [{ type: 'string' }, { type: 'any' }];
  const decl = { type: 'function', args, result: { type: 'boolean' } };
  const place = path.join(folder, 'capabilities-marked.json');
  await writeFile(
    place,
    JSON.stringify({ ...given, builtins: [...given.builtins, { name: builtin, decl }] }),
  );
  return place;
}

/** A rule's bodies may be in several files. */
function bodiesOf(files: ReadonlyMap<string, MarkedFile>): ReadonlyMap<string, Bodies> {
  const bodies = new Map<string, Bodies>();
  for (const { marked } of files.values())
    for (const [rule, each] of marked.bodies) {
      const { firsts = [], exits = [], isWhole = true } = bodies.get(rule) ?? {};
      bodies.set(rule, {
        firsts: [...firsts, ...each.firsts],
        exits: [...exits, ...each.exits],
        isWhole: isWhole && each.isWhole,
      });
    }
  return bodies;
}

/** Marks that the compiler has put elsewhere than beside what they were written beside. */
function strayed(
  followings: Iterable<Following>,
  files: ReadonlyMap<string, MarkedFile>,
): ReadonlySet<string> {
  const expected = new Map<string, { readonly file: string; readonly start: Place; readonly end: Place }>();
  for (const [name, { marked, target }] of files)
    for (const { id, follows } of marked.marks) {
      const { start, end } = moved(follows, marked.edits);
      const file = `${FOLDER}/${name}`;
      expected.set(id, { file, start: target.position(start), end: target.position(end) });
    }
  const astray = new Set<string>();
  for (const { id, place } of followings) {
    const within = expected.get(id);
    const isThere =
      within?.file === place?.file &&
      within !== undefined &&
      place !== undefined &&
      !isBefore(place, within.start) &&
      isBefore(place, within.end);
    if (!isThere) astray.add(id);
  }
  return astray;
}

const isBefore = (a: Place, b: Place): boolean => a.row < b.row || (a.row === b.row && a.col < b.col);

function countAll(
  files: ReadonlyMap<string, MarkedFile>,
  recorder: Recorder,
  astray: ReadonlySet<string>,
): ReadonlyMap<string, Counted> {
  const bodies = bodiesOf(files);
  /** Whether it can be told that the default of a rule applied: by every body that did not hold. */
  const isToldOf = (rule: string): boolean => {
    const of = bodies.get(rule);
    return of !== undefined && of.isWhole && !of.exits.some((id) => astray.has(id));
  };
  const counted = new Map<string, Counted>();
  for (const [file, { source, marked }] of files) {
    const spans = (is: (mark: Mark) => boolean): Span[] => marked.marks.filter(is).map(({ span }) => span);
    const [told, untold] = [true, false].map((is) =>
      marked.fallbacks.filter(({ rule }) => isToldOf(rule) === is),
    );
    const applied = (is: boolean): Span[] =>
      (told ?? []).filter(({ rule }) => recorder.fellBack.has(rule) === is).map(({ span }) => span);
    counted.set(file, {
      source,
      covered: [...spans(({ id }) => !astray.has(id) && recorder.reached.has(id)), ...applied(true)],
      missed: [...spans(({ id }) => !astray.has(id) && !recorder.reached.has(id)), ...applied(false)],
      uncounted: [
        ...spans(({ id }) => astray.has(id)),
        ...(untold ?? []).map(({ span }) => span),
        ...marked.unmarked,
      ],
    });
  }
  return counted;
}
