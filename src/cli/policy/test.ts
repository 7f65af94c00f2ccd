import path from 'node:path';
import { Command, InvalidArgumentError } from 'commander';
import { systemClock } from '../../effects.ts';
import { ServiceError } from '../../errors.ts';
import type { PolicySources } from '../../policy/sources.ts';
import type { Measured } from '../../policy/testing/reached/measure.ts';
import { ExitCode, globalsOf, printJson, warn } from '../terminal/output.ts';
import { visibleLines } from '../terminal/visible.ts';
import { compilerOf, limitsOf, ROOT_FLAG, ROOT_HELP, readIn, refuse } from './folder.ts';

export const testCommand = (): Command =>
  new Command('test')
    .description(
      "run a tenant's Rego tests (*_test.rego) on the engine that serves, and on OPA's; exits 1 if one fails",
    )
    .argument('<folder>', 'a folder with a tenant.yaml')
    .option('-v, --verbose', 'name every test')
    .option('--run <regex>', 'only tests of this name')
    .option('--coverage', "tell which lines of the tenant's rules the tests reach")
    .option('--threshold <percent>', 'exit 1 if fewer lines are reached', percent)
    .option(ROOT_FLAG, ROOT_HELP)
    .addHelpText('after', '\nExample:\n  $ mandate policy test policies/acme --coverage\n')
    .action(async (folder: string, options: TestOptions, command: Command) => {
      const { json } = globalsOf(command);
      try {
        await runTests(folder, options, json);
      } catch (error) {
        refuse(error, folder, json);
      }
    });

function percent(value: string): number {
  const number = value.trim() === '' ? Number.NaN : Number(value);
  if (!(number >= 0 && number <= 100)) throw new InvalidArgumentError('It is between 0 and 100.');
  return number;
}

interface TestOptions {
  readonly verbose?: boolean;
  readonly coverage?: boolean;
  readonly threshold?: number;
  readonly run?: string;
  readonly root?: string;
}

async function runTests(folder: string, options: TestOptions, json = false): Promise<void> {
  const { sources, manifest } = await readIn(folder, options.root);
  const { runTests: run } = await import('../../policy/testing/run.ts');
  const { verbose = false, run: only, threshold } = options;
  const covered = options.coverage === true || threshold !== undefined;
  const tested = await run(await compilerOf(), sources, {
    only,
    traced: verbose && !json,
    covered,
    limits: await limitsOf(manifest),
    clock: systemClock,
    stopwatch: () => performance.now(),
  });
  if (sources.tests.size === 0) warn(`mandate: ${folder} holds no *_test.rego`);
  if ('refused' in tested) return refuseTests(tested.refused.stderr, folder, sources);
  const { tests, traces, coverage } = tested;
  const { passed, reportOf } = await import('../../policy/testing/report.ts');
  if (!json) process.stdout.write(visibleLines(authored(reportOf(tests, traces, verbose), folder, sources)));
  else if (!coverage) printJson(relative(tests, sources));
  // OPA is content with no test at all: a name that is mistyped would pass for ever.
  const missed = only !== undefined && tests.length === 0;
  if (missed) warn(`mandate: no test in ${folder} matches --run ${only}`);
  if (covered && !coverage) warn('mandate: there is no coverage while tests fail');
  const isReached =
    coverage === undefined || (await reportCoverage(coverage, folder, sources, threshold, json));
  process.exitCode = passed(tests) && !missed && isReached ? ExitCode.allow : ExitCode.deny;
}

/** Answers whether the report holds, and reaches what was asked for. */
async function reportCoverage(
  { report, differing }: Measured,
  folder: string,
  sources: PolicySources,
  threshold = 0,
  json = false,
): Promise<boolean> {
  const { coverageText } = await import('../../policy/testing/reached/report.ts');
  if (differing.length > 0) {
    const names = differing.join(', ');
    warn(
      `mandate: there is no coverage: ${names} came to something else while it was measured; this is a fault of Mandate's`,
    );
    return false;
  }
  if (json) printJson(report);
  else process.stdout.write(visibleLines(authored(coverageText(report), folder, sources)));
  const isReached = report.coverage >= threshold;
  if (!isReached)
    warn(`mandate: coverage is ${report.coverage.toFixed(2)} %, and --threshold asks for ${threshold} %`);
  return isReached;
}

/** OPA did not come to run them. */
function refuseTests(stderr: string, folder: string, sources: PolicySources): void {
  const wrong = /^error parsing regexp: (.+)/.exec(stderr)?.[1];
  if (wrong !== undefined) throw new ServiceError('invalid_request', `--run: ${wrong}`);
  process.stderr.write(visibleLines(authored(stderr, folder, sources)));
  process.exitCode = ExitCode.deny;
}

/** OPA ran on copies; the author knows the files by the folder that was named. */
const authored = (report: string, folder: string, { modules, tests }: PolicySources): string =>
  report.replace(/(?<![^\s"])(?:tenant|engine)\/([^":\n]+\.rego)/g, (whole, name: string) =>
    modules.has(name) || tests.has(name) ? path.join(folder, name) : whole,
  );

/** The same of every text in a value, files relative to the folder. */
const relative = (value: unknown, sources: PolicySources): unknown =>
  JSON.parse(JSON.stringify(value), (_name, each: unknown) =>
    typeof each === 'string' ? authored(each, '', sources) : each,
  );
