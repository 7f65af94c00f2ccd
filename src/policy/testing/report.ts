import { leavesOf } from './cases.ts';
import type { Judged } from './judgement.ts';
import type { Cases } from './opinion.ts';

const RULE = '-'.repeat(80);

type Outcome = 'PASS' | 'FAIL' | 'SKIPPED' | 'ERROR';

/** In the words of `opa test`. */
export function outcomeOf({ fail, skip, error }: Judged): Outcome {
  if (fail) return 'FAIL';
  if (skip) return 'SKIPPED';
  return error ? 'ERROR' : 'PASS';
}

/** As `--run` knows it. */
export const nameOf = ({ package: path, name, tabled }: Judged): string =>
  tabled ? `${path}: ${name}` : `${path}.${name}`;

export const passed = (tests: readonly Judged[]): boolean =>
  tests.every((test) => outcomeOf(test) === 'PASS');

/** The report of `opa test` (v1/tester/reporter.go), with what each test costs; `traces` are OPA's own of what failed. */
export function reportOf(tests: readonly Judged[], traces: string, verbose: boolean): string {
  const lines: string[] = [];
  let file = '';
  for (const test of tests.filter((each) => verbose || outcomeOf(each) !== 'PASS')) {
    const { location } = test;
    if (file !== '' && file !== location.file) lines.push('');
    file = location.file;
    lines.push(`${file}:${location.row}:`, ...linesOf(test, verbose));
  }
  if (traces !== '') lines.push(RULE, 'FAILURES', RULE, traces.trimEnd(), '');
  if (lines.length > 0) lines.push(RULE);
  lines.push(...outcomesOf(tests));
  return lines.map((line) => `${line}\n`).join('');
}

function* linesOf(test: Judged, verbose: boolean): Generator<string> {
  const { duration, cost, sub_results: cases, output, error, differs, unmet = [] } = test;
  const outcome = outcomeOf(test);
  const spent = outcome === 'SKIPPED' ? '' : ` (${durationOf(duration)}, ${cost} fuel)`;
  yield `${nameOf(test)}: ${outcome}${spent}`;
  yield* caseLines(cases, verbose, '  ');
  if (output !== undefined && output !== '') {
    const printed = Buffer.from(output, 'base64').toString('utf8').trim();
    yield* ['', ...indented(printed), ''];
  }
  yield* indented(unmet);
  if (error) yield* indented([`${error.code}: ${error.message}`, error.detail ?? ''].join('\n').trim());
  if (differs)
    yield* indented(
      `The engine that serves says ${differs.engine}, OPA's evaluator says ${differs.opa}.\n` +
        "They must agree: this is a fault of Mandate's, not of the policy. Please report it with this test.",
    );
}

const indented = (text: string | readonly string[]): string[] =>
  (typeof text === 'string' ? text.split('\n') : text).map((line) => `  ${line}`);

function* caseLines(cases: Cases = {}, verbose: boolean, indent: string): Generator<string> {
  for (const name of Object.keys(cases).toSorted()) {
    const { fail, sub_results: inner } = cases[name] ?? {};
    if (fail || verbose) yield `${indent}${name}: ${fail ? 'FAIL' : 'PASS'}`;
    yield* caseLines(inner, verbose, `${indent}  `);
  }
}

/** A test with cases counts as so many. */
export function outcomesOf(tests: readonly Judged[]): string[] {
  const counts: Record<Outcome, number> = { PASS: 0, FAIL: 0, SKIPPED: 0, ERROR: 0 };
  for (const test of tests) {
    const outcome = outcomeOf(test);
    const leaves = outcome === 'PASS' || outcome === 'FAIL' ? [...leavesOf(test.sub_results ?? {})] : [];
    if (leaves.length === 0) counts[outcome] += 1;
    for (const { fail } of leaves) counts[fail ? 'FAIL' : 'PASS'] += 1;
  }
  const total = Object.values(counts).reduce((sum, count) => sum + count, 0);
  return Object.entries(counts)
    .filter(([, count]) => count > 0)
    .map(([outcome, count]) => `${outcome}: ${count}/${total}`);
}

const UNITS = [
  ['s', 1e9],
  ['ms', 1e6],
  ['µs', 1e3],
] as const;

/** Nanoseconds as Go prints them, to three places. */
function durationOf(nanoseconds: number): string {
  for (const [unit, size] of UNITS)
    if (nanoseconds >= size) return `${Number((nanoseconds / size).toFixed(3))}${unit}`;
  return `${nanoseconds}ns`;
}
