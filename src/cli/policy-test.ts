import path from 'node:path';
import { Command } from 'commander';
import { systemClock } from '../effects.ts';
import { ServiceError } from '../errors.ts';
import type { PolicySources } from '../policy/sources.ts';
import { ExitCode, globalsOf, printJson, warn } from './output.ts';
import { compilerOf, limitsOf, ROOT_FLAG, ROOT_HELP, readIn, refuse } from './policy-folder.ts';
import { visibleLines } from './visible.ts';

export const testCommand = (): Command =>
  new Command('test')
    .description(
      "run a tenant's Rego tests (*_test.rego) on the engine that serves, and on OPA's; exits 1 if one fails",
    )
    .argument('<folder>', 'a folder with a tenant.yaml')
    .option('-v, --verbose', 'name every test')
    .option('--run <regex>', 'only tests of this name')
    .option(ROOT_FLAG, ROOT_HELP)
    .addHelpText('after', '\nExample:\n  $ mandate policy test policies/acme\n')
    .action(async (folder: string, options: TestOptions, command: Command) => {
      const { json } = globalsOf(command);
      try {
        await runTests(folder, options, json);
      } catch (error) {
        refuse(error, folder, json);
      }
    });

interface TestOptions {
  readonly verbose?: boolean;
  readonly run?: string;
  readonly root?: string;
}

async function runTests(folder: string, options: TestOptions, json = false): Promise<void> {
  const { sources, manifest } = await readIn(folder, options.root);
  const { runTests: run } = await import('../policy/testing/run.ts');
  const { verbose = false, run: only } = options;
  const tested = await run(await compilerOf(), sources, {
    only,
    traced: verbose && !json,
    limits: await limitsOf(manifest),
    clock: systemClock,
    stopwatch: () => performance.now(),
  });
  if (sources.tests.size === 0) warn(`mandate: ${folder} holds no *_test.rego`);
  if ('refused' in tested) return refuseTests(tested.refused.stderr, folder, sources);
  const { tests, traces } = tested;
  const { passed, reportOf } = await import('../policy/testing/report.ts');
  if (!json) process.stdout.write(visibleLines(authored(reportOf(tests, traces, verbose), folder, sources)));
  else printJson(relative(tests, sources));
  // OPA is content with no test at all: a name that is mistyped would pass for ever.
  const missed = only !== undefined && tests.length === 0;
  if (missed) warn(`mandate: no test in ${folder} matches --run ${only}`);
  process.exitCode = passed(tests) && !missed ? ExitCode.allow : ExitCode.deny;
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
