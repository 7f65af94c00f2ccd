import type { Clock } from '../../effects.ts';
import type { ManifestPrincipal } from '../../tenancy/manifest.ts';
import type { Bench, Compiler } from '../compiler.ts';
import { policyInvalid } from '../diagnostics.ts';
import type { Limits } from '../engine/instance.ts';
import type { Run } from '../opa/child.ts';
import { intrusions } from '../opa/intrusions.ts';
import type { PolicySources } from '../sources.ts';
import { type CompiledTests, compileTests, entrypointOf, isAsked } from './compilation.ts';
import type { TestRule } from './discovery.ts';
import { Evaluator, type Stopwatch } from './evaluation.ts';
import { type Judged, judge, unasked, unplanned } from './judgement.ts';
import { type Opinion, opinionsIn } from './opinion.ts';
import { type Measured, measure, type Passed } from './reached/measure.ts';
import { runTables } from './tables/run.ts';

export interface TestOptions {
  /** OPA's regular expression over full names, such as `data.authz_test.test_reader`. */
  readonly only: string | undefined;
  /** Whether OPA's trace of each failure is wanted too. */
  readonly traced: boolean;
  /** Whether coverage is wanted. */
  readonly covered: boolean;
  /** What the tenant's own evaluations may spend. */
  readonly limits: Limits;
  readonly clock: Clock;
  readonly stopwatch: Stopwatch;
  /** Whom tables may name: those of tenant.yaml. */
  readonly principals: readonly ManifestPrincipal[];
}

export type Tested =
  /** OPA does not compile the tests, or not the regular expression. */
  | { readonly refused: Run }
  | {
      /** In the order of their files and lines. */
      readonly tests: readonly Judged[];
      /** OPA's own of what failed. */
      readonly traces: string;
      /** Where it was asked for and no test failed. */
      readonly coverage: Measured | undefined;
    };

/**
 * Runs a tenant's tests, in Rego and in tables, on the engine that serves, and beside it on OPA's own evaluator. Throws `policy_invalid`
 * where the tests would test something else than what decides, or the engine does not take them.
 */
export function runTests(compiler: Compiler, sources: PolicySources, options: TestOptions): Promise<Tested> {
  return compiler.withTests(sources, async (bench) => {
    const given = ['--capabilities', bench.capabilities, 'platform', 'tenant', 'data'];
    const only = options.only === undefined ? [] : ['--run', options.only];
    const [report, wrong, compiled] = await Promise.all([
      bench.run(['test', '--format', 'json', ...only, ...given]),
      // Of what does not parse, OPA's report says more.
      intrusions(sources, bench.run).catch(later),
      compileTests(bench, sources).catch(later),
    ]);
    const opinions = opinionsIn(report.stdout);
    if (!opinions) return { refused: report };
    if (now(wrong).length > 0) throw policyInvalid(now(wrong));
    const { texts } = now(compiled);
    const inRego = judgeAll(opinions, now(compiled), sources.data, options);
    const tabled = await runTables(compiler, bench, sources, options);
    const tests = [...inRego.tests, ...tabled.tests].sort(byPlaceOf);
    const passed = [...inRego.passed, ...tabled.passed];
    const failed = opinions.filter(({ fail }) => fail);
    const traces = options.traced && failed.length > 0 ? await tracesOf(bench, given, only) : '';
    const isMeasured = options.covered && tests.every(({ fail, error }) => !fail && !error);
    const coverage = isMeasured ? await measure(bench, sources, texts, passed) : undefined;
    return { tests, traces, coverage };
  });
}

/** What failed beside something that may say more of it. */
class Later {
  readonly cause: unknown;

  constructor(cause: unknown) {
    this.cause = cause;
  }
}

const later = (cause: unknown): Later => new Later(cause);

function now<T>(value: T | Later): T {
  if (value instanceof Later) throw value.cause;
  return value;
}

const placeOf = ({ file, row, col }: Opinion['location']): string => `${file}:${row}:${col}`;

function judgeAll(
  opinions: readonly Opinion[],
  { tests: rules, module, refused }: CompiledTests,
  data: string,
  { limits, clock, stopwatch, only }: TestOptions,
): { readonly tests: Judged[]; readonly passed: readonly Passed[] } {
  const evaluator = module && new Evaluator(module, data, limits, stopwatch);
  const nowMs = clock();
  const byPlace = new Map(rules.map((test) => [placeOf(test.location), test]));
  const passed: Passed[] = [];
  const judged = opinions.map((opinion) => {
    if (opinion.skip) return { ...opinion, cost: 0 } as Judged;
    const test = byPlace.get(placeOf(opinion.location));
    byPlace.delete(placeOf(opinion.location));
    if (!test || !isAsked(test)) return unasked(opinion);
    const [name, entrypoint] = [`${opinion.package}.${opinion.name}`, entrypointOf(test)];
    const problem = refused.get(entrypoint);
    if (problem !== undefined || !evaluator) return unplanned(opinion, problem);
    const context = { nowMs, seed: name };
    const evaluated = evaluator.evaluate(entrypoint, context);
    passed.push({ name, entrypoint, context, value: evaluated.value });
    return judge(opinion, evaluated, test.cases);
  });
  // Without a choice of tests, OPA ran all that there are.
  const missed = only === undefined ? [...byPlace.values()].filter(isAsked) : [];
  return { tests: [...judged, ...missed.map(unheard)], passed };
}

const byPlaceOf = ({ location: a }: Judged, { location: b }: Judged): number =>
  compare(a.file, b.file) || a.row - b.row || a.col - b.col;

const compare = (a: string, b: string): number => (a < b ? -1 : Number(a > b));

const unheard = ({ location, package: name, path: parts }: TestRule): Judged => ({
  location: { file: location.file, row: location.row, col: location.col },
  package: name,
  name: parts.at(-1) ?? '',
  duration: 0,
  cost: 0,
  error: { code: 'internal', message: "OPA's evaluator did not run this test" },
});

const FAILURES = /^-{80}\nFAILURES\n-{80}\n(?<traces>[^]*?)^-{80}\n(?:PASS|FAIL|SKIPPED|ERROR): \d/m;

/** OPA's own words on how each failure came about. */
async function tracesOf({ run }: Bench, given: readonly string[], only: readonly string[]): Promise<string> {
  const { stdout } = await run(['test', '--verbose', ...only, ...given]);
  return FAILURES.exec(stdout)?.groups?.['traces'] ?? '';
}
