import { readFile } from 'node:fs/promises';
import { Command } from 'commander';
import { systemClock } from '../../effects.ts';
import { ServiceError } from '../../errors.ts';
import type { Cost } from '../../policy/testing/costs.ts';
import { globalsOf, print, printJson, printTable, warn } from '../terminal/output.ts';
import { wholeNumber } from '../terminal/values.ts';
import { compilerOf, limitsOf, ROOT_FLAG, ROOT_HELP, readIn, refuse } from './folder.ts';

export const benchCommand = (): Command =>
  new Command('bench')
    .description(
      "tell what a tenant's tests, requests and rules cost on the engine that serves: fuel, which is the same each time, and microseconds of this machine",
    )
    .argument('<folder>', 'a folder with a tenant.yaml')
    .option(
      '--input <file>',
      'inputs of a decision, a JSON object or an array of them, beside the requests of *_test.yaml',
    )
    .option('--count <times>', 'how often each is asked', wholeNumber(1, 10_000), 20)
    .option('--all', 'show more than the dearest of each kind')
    .option(ROOT_FLAG, ROOT_HELP)
    .addHelpText('after', '\nExample:\n  $ mandate policy bench policies/acme\n')
    .action(async (folder: string, options: BenchOptions, command: Command) => {
      const { json = false } = globalsOf(command);
      try {
        await bench(folder, options, json);
      } catch (error) {
        refuse(error, folder, json);
      }
    });

interface BenchOptions {
  readonly input?: string;
  readonly count: number;
  readonly all?: boolean;
  readonly root?: string;
}

const MAX_INPUT = 16 * 1024 * 1024;
const SHOWN = 10;

async function bench(
  folder: string,
  { input, count, all = false, root }: BenchOptions,
  json: boolean,
): Promise<void> {
  const inputs = input === undefined ? [] : await inputsIn(input);
  const { sources, manifest } = await readIn(folder, root);
  const { costsOf } = await import('../../policy/testing/costs.ts');
  const limits = await limitsOf(manifest);
  const costs = await costsOf(await compilerOf(), sources, {
    inputs,
    count,
    limits,
    principals: manifest.principals,
    nowMs: systemClock(),
    stopwatch: () => performance.now(),
  });
  if (json) return printJson({ budget: limits.fuel, count, ...costs });
  print(`A decision may spend ${limits.fuel} fuel. Times are medians of ${count} on this machine.\n`);
  show('QUESTION', costs.questions, limits.fuel, all);
  if (costs.rules.length > 0) {
    print('');
    show('RULE, WITH WHAT IT CALLS', costs.rules, limits.fuel, all);
  }
  if (costs.questions.length === 0) warn(`mandate: ${folder} holds no tests, and no --input is given`);
}

function show(title: string, costs: readonly Cost[], budget: number, all: boolean): void {
  const shown = all ? costs : costs.slice(0, SHOWN);
  printTable(
    ['FUEL', 'BUDGET', 'µs', title, ...(shown.some(({ at }) => at) ? ['DEAREST BY'] : [])],
    shown.map(({ name, fuel, microseconds, at, error }) => [
      String(fuel),
      `${((fuel / budget) * 100).toFixed(2)} %`,
      String(microseconds),
      error === undefined ? name : `${name} (${error})`,
      ...(at === undefined ? [] : [at]),
    ]),
  );
  if (shown.length < costs.length) print(`… and ${costs.length - shown.length} more (--all)`);
}

async function inputsIn(file: string): Promise<{ name: string; json: string }[]> {
  const wrong = (problem: string, cause?: unknown): ServiceError =>
    new ServiceError('invalid_request', `--input: ${problem}`, { cause });
  const bytes = await readFile(file).catch((cause: Error) => {
    throw wrong(cause.message, cause);
  });
  if (bytes.length > MAX_INPUT) throw wrong(`${file} is larger than ${MAX_INPUT} bytes`);
  let value: unknown;
  try {
    value = JSON.parse(bytes.toString('utf8'));
  } catch (cause) {
    throw wrong(`${file} is not JSON`, cause);
  }
  const list: unknown[] = Array.isArray(value) ? value : [value];
  if (list.some((each) => typeof each !== 'object' || each === null || Array.isArray(each)))
    throw wrong(`${file} is neither an object nor an array of objects`);
  return list.map((each, at) => ({
    name: list.length === 1 ? file : `${file}[${at}]`,
    json: JSON.stringify(each),
  }));
}
