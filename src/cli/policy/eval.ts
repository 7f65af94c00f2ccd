import { readFile } from 'node:fs/promises';
import { Command, Option } from 'commander';
import { systemClock } from '../../effects.ts';
import { ServiceError } from '../../errors.ts';
import type { Asked, Whole } from '../../policy/explain/engine.ts';
import { snaked } from '../explaining/json.ts';
import { printTree } from '../explaining/tree.ts';
import { ExitCode, globalsOf, print, printJson, warn } from '../terminal/output.ts';
import { compilerOf, limitsOf, ROOT_FLAG, ROOT_HELP, readIn, refuse } from './folder.ts';

const ENGINES = ['ours', 'stock', 'opa'] as const;
type Engine = (typeof ENGINES)[number];

interface EvalOptions {
  readonly input: string;
  readonly entrypoint: string;
  readonly engine: Engine | 'all';
  readonly explain?: boolean;
  readonly root?: string;
}

/** What `rand` and `uuid` draw from, where there is no decision. */
const SEED = 'policy-eval';

export const evalCommand = (): Command =>
  new Command('eval')
    .description(
      "evaluate an input against a tenant's folder, without a server; exits 1 if engines differ or the policy fails",
    )
    .argument('<folder>', 'a folder with a tenant.yaml')
    .requiredOption('-i, --input <file>', 'the policy input, JSON, such as a record has it')
    .option('-e, --entrypoint <path>', 'what is asked for', 'mandate/decision')
    .addOption(
      new Option(
        '--engine <name>',
        "ours serves, stock is @open-policy-agent/opa-wasm, opa is OPA's own; all compares",
      )
        .choices([...ENGINES, 'all'])
        .default('ours'),
    )
    .option('--explain', 'say why, rule by rule')
    .option(ROOT_FLAG, ROOT_HELP)
    .addHelpText('after', '\nExample:\n  $ mandate policy eval policies/acme --input input.json --explain\n')
    .action(async (folder: string, options: EvalOptions, command: Command) => {
      const { json } = globalsOf(command);
      try {
        await evaluate(folder, options, json);
      } catch (error) {
        refuse(error, folder, json);
      }
    });

async function evaluate(folder: string, options: EvalOptions, json = false): Promise<void> {
  const input = await readFile(options.input, 'utf8').catch((cause: unknown) => {
    throw new ServiceError('invalid_request', `--input: ${options.input} cannot be read`, { cause });
  });
  const asked = { entryPoint: options.entrypoint, input, nowMs: nowIn(input), seed: SEED };
  const { sources, manifest } = await readIn(folder, options.root);
  const [compiler, limits] = [await compilerOf(), await limitsOf(manifest)];
  const bundle = await compiler.compile(sources);
  const ask: Readonly<Record<Engine, () => Promise<Whole>>> = {
    ours: async () => {
      const { askEngine } = await import('../../policy/explain/engine.ts');
      return askEngine(bundle.wasm, bundle.data, limits, asked);
    },
    stock: async () => {
      const { askStock } = await import('./stock.ts');
      return askStock(bundle.wasm, bundle.data, asked);
    },
    opa: async () => {
      const { askOpaAlone } = await import('../../policy/explain/explain.ts');
      return askOpaAlone(compiler, sources, asked);
    },
  };
  const names = options.engine === 'all' ? ENGINES : [options.engine];
  const answers: [Engine, Whole][] = [];
  for (const name of names) answers.push([name, await ask[name]()]);
  const isSame = await agree(answers.map(([, whole]) => whole));
  const isWhole = answers.every(([, { answer }]) => answer.code === '');
  process.exitCode = isSame && isWhole ? ExitCode.allow : ExitCode.deny;
  const explanation = options.explain ? await explained(asked, compiler, sources, limits) : undefined;
  if (json)
    return printJson({
      revision: bundle.revision,
      same: isSame,
      engines: Object.fromEntries(
        answers.map(([name, { answer, value }]) => [name, { ...answer, result: value ?? null }]),
      ),
      ...(explanation && { explanation: snaked(explanation) }),
    });
  for (const [name, { answer }] of answers) {
    const head = answers.length > 1 ? `${name.padEnd(5)}  ` : '';
    print(head + (answer.code === '' ? answer.result || 'undefined' : `${answer.code}: ${answer.message}`));
  }
  if (!isSame) warn('mandate: THE ENGINES DIFFER: it is a fault of the one that is not as opa is');
  if (explanation) printTree(explanation);
}

async function explained(
  asked: Asked,
  compiler: Awaited<ReturnType<typeof compilerOf>>,
  sources: Awaited<ReturnType<typeof readIn>>['sources'],
  limits: Awaited<ReturnType<typeof limitsOf>>,
) {
  const { explainPolicy } = await import('../../policy/explain/explain.ts');
  const {
    value: _value,
    failed: _failed,
    ...explanation
  } = await explainPolicy(compiler, sources, asked, limits);
  return explanation;
}

/** One that ended by a bound of its own says nothing of the others. */
async function agree([first, ...others]: readonly Whole[]): Promise<boolean> {
  const { agreement } = await import('../../policy/explain/engine.ts');
  return first === undefined || others.every((other) => agreement(first, other) !== 'differs');
}

/** As in a decision, the policy's clock is what the input says; without a time in it, it is now. */
function nowIn(input: string): number {
  let now: unknown;
  try {
    ({ now } = JSON.parse(input) as { now?: unknown });
  } catch (cause) {
    throw new ServiceError('invalid_request', '--input is no JSON', { cause });
  }
  const time = typeof now === 'string' ? Date.parse(now) : Number.NaN;
  return Number.isNaN(time) ? systemClock() : time;
}
