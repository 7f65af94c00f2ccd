import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { ServiceError } from '../../../src/errors.ts';
import type { PolicyInput } from '../../../src/input.ts';
import { capabilitiesFor, type OpaCapabilities } from '../../../src/policy/engine/capabilities.ts';
import { PolicyModule } from '../../../src/policy/engine/module.ts';
import { agrees, type Case, inputsOf, jsonOf, loadCases, locateCases, moveUnder } from './cases.ts';
import { buildWasm, context, opaBinary } from './opa.ts';

/** What a tenant has if neither its manifest nor the operator says otherwise. */
const defaults = { fuel: 20_000_000, memoryPages: 1_024 };

/** Where we differ from OPA on a case that we can compile, and why. A case that agrees again fails the test too. */
const integerKey = 'WASM: an integer key of data is no path (OPA issue 3711; on its own list of exceptions)';
const knownDifferences: Readonly<Record<string, string>> = {
  'data/toplevel integer': integerKey,
  'data/nested integer': integerKey,
  'v0 data/toplevel integer': integerKey,
  'v0 data/nested integer': integerKey,
};

const located = locateCases();
const folder = mkdtempSync(join(tmpdir(), 'mandate-conformance-'));
afterAll(() => rmSync(folder, { recursive: true }));

describe.skipIf('reason' in located)('OPA conformance', () => {
  test('evaluates the cases that use only available built-ins as OPA does', {
    timeout: 180_000,
  }, async () => {
    const cases = loadCases('folder' in located ? located.folder : '');
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
    const refusals = new Map<string, number>();
    const usable = cases.filter(({ modules, env, isWrapped }) => {
      // A rule that reads all of data would read itself.
      const readsAll = isWrapped && /[^.]\bdata\b *=/.test(modules.at(-1) ?? '');
      const refused = env
        ? 'the environment'
        : readsAll
          ? 'all of data at once'
          : missing.find((name) => modules.some((module) => uses(module, name)));
      if (refused !== undefined) refusals.set(refused, (refusals.get(refused) ?? 0) + 1);
      return refused === undefined;
    });
    const verdicts = await runAll(usable, ['--capabilities', capabilities]);

    const failed = verdicts.filter(({ problem }) => problem !== undefined);
    const unexpected = failed.filter(({ note }) => !(note in knownDifferences));
    const agreeing = Object.keys(knownDifferences).filter(
      (note) => !failed.some((verdict) => verdict.note === note),
    );
    const refused = Array.from(refusals, ([name, count]) => `${name} (${count})`).sort();
    console.log(
      `${verdicts.length - failed.length} of ${verdicts.length} cases agree; ${cases.length - usable.length} ask for ` +
        `what is not available: ${refused.join(', ')}`,
    );
    expect(unexpected).toEqual([]);
    expect(agreeing).toEqual([]);
    expect(verdicts.length).toBeGreaterThan(3_700);
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

const flagsFor = (batch: readonly Case[], flags: readonly string[]): readonly string[] =>
  batch[0]?.isOld ? [...flags, '--v0-compatible'] : flags;

/** In batches; a batch that does not compile, and a case that fails in one, is run alone and unchanged. */
async function runAll(cases: readonly Case[], flags: readonly string[]): Promise<Verdict[]> {
  const batches: Case[][] = [];
  for (const isOld of [true, false]) {
    const alike = cases.filter((each) => each.isOld === isOld);
    for (let at = 0; at < alike.length; at += batchSize) batches.push(alike.slice(at, at + batchSize));
  }
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
        flagsFor(batch, flags),
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
    const module = PolicyModule.compile(
      await buildWasm(each.modules, [each.entrypoint], flagsFor([each], flags)),
    );
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
  let result: string | undefined;
  try {
    const instance = module.instantiate(jsonOf(each.data ?? {}), defaults);
    ({ result } = instance.evaluateToJson(each.entrypoint, input, context));
    if (!instance.whole) return 'the memory is not as it was';
  } catch (error) {
    if (!(error instanceof ServiceError)) throw error;
    const isWanted = (each.want_error_code ?? each.want_error) !== undefined && !each.strict_error;
    return isWanted && error.code === 'policy_failed' ? undefined : `${error.code}: ${error.detail}`;
  }
  return judgeResult(each, result) ? undefined : `got ${result}`;
}

function judgeResult(each: Case, result: string | undefined): boolean {
  const { want_result: wanted, want_defined: isDefined, isWrapped, sort_bindings: anyOrder = false } = each;
  if (isDefined !== undefined && wanted === undefined)
    return (result !== undefined && (!isWrapped || result !== '[]')) === isDefined;
  if (wanted === undefined) return each.strict_error === true && (result === undefined || result === '[]');
  if (isWrapped) return agrees(result, wanted, true);
  return agrees(result, wanted[0]?.['x'], anyOrder);
}
