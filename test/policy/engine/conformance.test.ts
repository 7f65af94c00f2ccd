import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { ServiceError } from '../../../src/errors.ts';
import type { PolicyInput } from '../../../src/input.ts';
import { capabilitiesFor, type OpaCapabilities } from '../../../src/policy/engine/capabilities.ts';
import { PolicyModule } from '../../../src/policy/engine/module.ts';
import { agrees, type Case, inputsOf, loadCases, locateCases, moveUnder } from './cases.ts';
import { buildWasm, context, limits, opaBinary } from './opa.ts';

/** Where we differ from OPA on a case that we can compile, and why. A case that agrees again fails the test too. */
const knownDifferences: Readonly<Record<string, string>> = {
  'data/toplevel integer':
    'WASM: an integer key of data is no path (OPA issue 3711; on its own list of exceptions)',
  'data/nested integer':
    'WASM: an integer key of data is no path (OPA issue 3711; on its own list of exceptions)',
  'jsonbuiltins/unmarshal number beyond the supported exponent is undefined':
    'WASM: json.unmarshal is native and has no limit of exponents (on its own list of exceptions)',
  'jsonbuiltins/unmarshal number with too big an exponent is undefined':
    'WASM: json.unmarshal is native and has no limit of exponents (on its own list of exceptions)',
  'strings/format_int: bignum exact (>64-bit integer, all bases + negative)':
    'WASM: format_int is native and aborts beyond 64 bits (on its own list of exceptions)',
};

const located = locateCases();
const folder = mkdtempSync(join(tmpdir(), 'mandate-conformance-'));
afterAll(() => rmSync(folder, { recursive: true }));

describe.skipIf('reason' in located)('OPA conformance', () => {
  test('evaluates the cases that use only available built-ins as OPA does', {
    timeout: 180_000,
  }, async () => {
    const { cases, others } = loadCases('folder' in located ? located.folder : '');
    const all = JSON.parse(
      execFileSync(opaBinary, ['capabilities', '--current'], { encoding: 'utf8' }),
    ) as OpaCapabilities;
    const available = capabilitiesFor(all);
    const capabilities = join(folder, 'capabilities.json');
    writeFileSync(capabilities, JSON.stringify(available));

    const names = new Set(available.builtins.map(({ name }) => name));
    // The last is one of OPA's test suite only.
    const missing = [
      ...all.builtins.map(({ name }) => name).filter((name) => !names.has(name)),
      'test.sleep',
    ];
    const uses = (module: string, name: string) =>
      new RegExp(`(?<![\\w.])${name.replaceAll('.', '\\.')}(?![\\w.])`).test(module);
    const usable = cases.filter(
      ({ modules, env }) => !env && !modules.some((module) => missing.some((name) => uses(module, name))),
    );
    const verdicts = await runAll(usable, ['--capabilities', capabilities]);

    const failed = verdicts.filter(({ problem }) => problem !== undefined);
    const unexpected = failed.filter(({ note }) => !(note in knownDifferences));
    const agreeing = Object.keys(knownDifferences).filter(
      (note) => !failed.some((verdict) => verdict.note === note),
    );
    console.log(
      `${verdicts.length - failed.length} of ${verdicts.length} cases agree; ${cases.length - usable.length} use ` +
        `built-ins that are not available, ${others} are queries that no entry point can be`,
    );
    expect(unexpected).toEqual([]);
    expect(agreeing).toEqual([]);
    expect(verdicts.length).toBeGreaterThan(1_900);
  });
});

test.runIf('reason' in located)('OPA conformance is skipped', ({ skip }) => {
  skip('reason' in located ? located.reason : '');
});

interface Verdict {
  readonly note: string;
  readonly problem: string | undefined;
}

const batchSize = 40;

/** In batches; a batch that does not compile, and a case that fails in one, is run alone and unchanged. */
async function runAll(cases: readonly Case[], flags: readonly string[]): Promise<Verdict[]> {
  const batches: Case[][] = [];
  for (let at = 0; at < cases.length; at += batchSize) batches.push(cases.slice(at, at + batchSize));
  const verdicts: Verdict[] = [];
  const work = async (): Promise<void> => {
    for (let batch = batches.pop(); batch; batch = batches.pop()) {
      const alone = await runBatch(batch, flags, verdicts);
      for (const each of alone) verdicts.push(await runAlone(each, flags));
    }
  };
  await Promise.all([work(), work(), work()]);
  return verdicts;
}

async function runBatch(
  batch: readonly Case[],
  flags: readonly string[],
  verdicts: Verdict[],
): Promise<Case[]> {
  const moved = batch.map((each, index) => moveUnder(`case${index}`, each));
  let module: PolicyModule;
  try {
    const modules = moved.flatMap(({ modules }) => modules);
    module = PolicyModule.compile(
      await buildWasm(
        modules,
        moved.map(({ entrypoint }) => entrypoint),
        flags,
      ),
    );
  } catch {
    return [...batch];
  }
  return batch.filter((each, index) => {
    const problem = judge(module, moved[index] ?? each);
    if (problem === undefined) verdicts.push({ note: each.note, problem });
    return problem !== undefined;
  });
}

async function runAlone(each: Case, flags: readonly string[]): Promise<Verdict> {
  try {
    const module = PolicyModule.compile(await buildWasm(each.modules, [each.entrypoint], flags));
    return { note: each.note, problem: judge(module, each) };
  } catch (error) {
    return { note: each.note, problem: `does not compile: ${String(error)}` };
  }
}

/** What is wrong with our answer; undefined if nothing is. */
function judge(module: PolicyModule, each: Case): string | undefined {
  for (const input of inputsOf(each)) {
    const problem = judgeWith(module, each, input);
    if (problem !== undefined) return problem;
  }
  return undefined;
}

function judgeWith(module: PolicyModule, each: Case, input: string | PolicyInput): string | undefined {
  let result: unknown;
  try {
    const instance = module.instantiate(JSON.stringify(each.data ?? {}), { ...limits, memoryPages: 2_048 });
    result = instance.evaluate(each.entrypoint, input, context).result;
  } catch (error) {
    if (!(error instanceof ServiceError)) throw error;
    const isWanted = (each.want_error_code ?? each.want_error) !== undefined && !each.strict_error;
    return isWanted && error.code === 'policy_failed' ? undefined : `${error.code}: ${error.detail}`;
  }
  if (each.want_defined !== undefined && each.want_result === undefined)
    return (result !== undefined) === each.want_defined ? undefined : `defined: ${result !== undefined}`;
  const wanted = each.want_result?.[0]?.x;
  if (each.want_result === undefined && !each.strict_error) return 'no error';
  return agrees(result, wanted, each.sort_bindings === true) ? undefined : `got ${JSON.stringify(result)}`;
}
