import path from 'node:path';
import { hasTests, type PolicySources } from '../../../policy/sources.ts';
import { coverageText } from '../../../policy/testing/reached/report.ts';
import { outcomesOf, reportOf } from '../../../policy/testing/report.ts';
import { print, warn } from '../../terminal/output.ts';
import { visibleLines } from '../../terminal/visible.ts';
import { marked } from '../marked.ts';
import { describeError, isCovered, isMistyped, type Ran, type RunOptions } from './ran.ts';

/** What is told of one folder when its tests have run. */
export function show(folder: string, ran: Ran, options: RunOptions): void {
  const { json, verbose = false, isOneOfMany } = options;
  if ('error' in ran) return warn(`mandate: ${describeError(ran.error)}`);
  if ('invalid' in ran) {
    if (!json) for (const each of ran.invalid) print(marked(each, folder));
    return;
  }
  const { sources } = ran;
  if (!hasTests(sources)) warn(`mandate: ${folder} holds no *_test.rego and no *_test.yaml`);
  if ('refused' in ran) {
    process.stderr.write(visibleLines(authored(ran.refused, folder, sources)));
    return;
  }
  const { tests, traces, coverage } = ran;
  const isQuiet = json || (isOneOfMany && ran.code === 0 && !verbose);
  if (!isQuiet)
    process.stdout.write(visibleLines(authored(reportOf(tests, traces, verbose), folder, sources)));
  if (isMistyped(tests, options)) warn(`mandate: no test in ${folder} matches --run ${options.run}`);
  if (isCovered(options) && !coverage) warn('mandate: there is no coverage while tests fail');
  if (coverage) showCoverage(coverage, folder, sources, options);
}

type Coverage = NonNullable<Extract<Ran, { coverage: unknown }>['coverage']>;

function showCoverage(
  { report, differing }: Coverage,
  folder: string,
  sources: PolicySources,
  { threshold = 0, json }: RunOptions,
): void {
  if (differing.length > 0)
    return warn(
      `mandate: there is no coverage: ${differing.join(', ')} came to something else while it was measured; this is a fault of Mandate's`,
    );
  if (!json) process.stdout.write(visibleLines(authored(coverageText(report), folder, sources)));
  if (report.coverage < threshold)
    warn(`mandate: coverage is ${report.coverage.toFixed(2)} %, and --threshold asks for ${threshold} %`);
}

/** One of several folders, in a line. */
export function summaryOf(folder: string, ran: Ran): string {
  if ('error' in ran) return `${folder}: ${ran.error.code}`;
  if ('invalid' in ran || 'refused' in ran) return `${folder}: its tests cannot run`;
  return `${folder}: ${outcomesOf(ran.tests).join(', ') || 'no tests'}`;
}

/** Of one folder OPA's report, or that of coverage; of several an object each. */
export function documentOf(results: ReadonlyMap<string, Ran>): unknown {
  const documents = [...results].map(([folder, ran]) => {
    if ('error' in ran) {
      const { code, message } = ran.error;
      return { folder, ok: false, error: { code, message } };
    }
    if ('invalid' in ran) return { folder, ok: false, diagnostics: ran.invalid };
    if ('refused' in ran)
      return { folder, ok: false, error: { code: 'policy_invalid', message: ran.refused } };
    const { tests, coverage, sources } = ran;
    const report = coverage && coverage.differing.length === 0 ? { coverage: coverage.report } : {};
    return { folder, ok: ran.code === 0, tests: relative(tests, sources), ...report };
  });
  const [only] = documents;
  if (documents.length !== 1 || !only) return documents;
  if ('coverage' in only) return only.coverage;
  if ('tests' in only) return only.tests;
  return only;
}

/** OPA ran on copies; the author knows the files by the folder that was named. */
const authored = (report: string, folder: string, { modules, tests, tables }: PolicySources): string =>
  report.replace(/(?<![^\s"])(?:tenant|engine)\/([^":\n]+\.(?:rego|ya?ml))/g, (whole, name: string) =>
    modules.has(name) || tests.has(name) || tables.has(name) ? path.join(folder, name) : whole,
  );

/** The same of every text in a value, files relative to the folder. */
const relative = (value: unknown, sources: PolicySources): unknown =>
  JSON.parse(JSON.stringify(value), (_name, each: unknown) =>
    typeof each === 'string' ? authored(each, '', sources) : each,
  );
