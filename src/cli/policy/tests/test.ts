import { writeFile } from 'node:fs/promises';
import { Command, InvalidArgumentError } from 'commander';
import { ServiceError } from '../../../errors.ts';
import { ExitCode, globalsOf, print, printJson } from '../../terminal/output.ts';
import { ROOT_FLAG, ROOT_HELP } from '../folder.ts';
import { junitOf } from './junit.ts';
import { type Ran, type RunOptions, ran } from './ran.ts';
import { documentOf, show, summaryOf } from './shown.ts';
import { again } from './watching.ts';

export const testCommand = (): Command =>
  new Command('test')
    .description(
      "run tenants' tests (*_test.rego, *_test.yaml) on the engine that serves, and on OPA's; exits 1 if one fails",
    )
    .argument('<folder...>', 'folders with a tenant.yaml')
    .option('-v, --verbose', 'name every test')
    .option('--run <regex>', 'only tests of this name')
    .option('--coverage', "tell which lines of the tenant's rules the tests reach")
    .option('--threshold <percent>', 'exit 1 if fewer lines are reached', percent)
    .option('--junit <file>', 'write a report in the XML of JUnit too')
    .option('--watch', 'run again when a file of a folder changes, until interrupted')
    .option(ROOT_FLAG, ROOT_HELP)
    .addHelpText('after', '\nExample:\n  $ mandate policy test policies/acme --coverage\n')
    .action(async (folders: string[], options: TestOptions, command: Command) => {
      const { json = false } = globalsOf(command);
      if (options.watch && json) throw new ServiceError('invalid_request', '--watch prints no JSON');
      const results = new Map<string, Ran>();
      const run = async (some: readonly string[]): Promise<void> => {
        for (const folder of some) {
          const result = await ran(folder, { ...options, json, isOneOfMany: folders.length > 1 });
          results.set(folder, result);
          show(folder, result, { ...options, json, isOneOfMany: folders.length > 1 });
        }
        await report(results, options, json);
      };
      await run(folders);
      if (options.watch) await again(folders, run);
    });

function percent(value: string): number {
  const number = value.trim() === '' ? Number.NaN : Number(value);
  if (!(number >= 0 && number <= 100)) throw new InvalidArgumentError('It is between 0 and 100.');
  return number;
}

interface TestOptions extends Pick<RunOptions, 'verbose' | 'coverage' | 'threshold' | 'run' | 'root'> {
  readonly junit?: string;
  readonly watch?: boolean;
}

/** Of all folders together: JSON, a line each where there are several, JUnit's file, and the exit code. */
async function report(
  results: ReadonlyMap<string, Ran>,
  { junit }: TestOptions,
  json: boolean,
): Promise<void> {
  if (json) printJson(documentOf(results));
  else if (results.size > 1) for (const [folder, result] of results) print(summaryOf(folder, result));
  if (junit !== undefined)
    await writeFile(junit, junitOf(results)).catch((cause: Error) => {
      throw new ServiceError('invalid_request', `--junit: ${cause.message}`, { cause });
    });
  process.exitCode = Math.max(ExitCode.allow, ...[...results.values()].map(({ code }) => code));
}
