import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { capabilitiesFor, type OpaCapabilities } from '../../../../src/policy/engine/capabilities.ts';
import { buildWasm, opaBinary } from '../opa.ts';
import { type Case, moveUnder } from './cases.ts';

export interface Verdict {
  readonly note: string;
  readonly outcome: 'passed' | 'failed' | 'refused';
  /** What is wrong, or what was asked for that is not there. */
  readonly problem?: string;
}

export interface Figures {
  readonly total: number;
  readonly passed: number;
  readonly failed: number;
  readonly refused: number;
}

export function figuresOf(verdicts: readonly Verdict[]): Figures {
  const count = (outcome: Verdict['outcome']) => verdicts.filter((each) => each.outcome === outcome).length;
  return {
    total: verdicts.length,
    passed: count('passed'),
    failed: count('failed'),
    refused: count('refused'),
  };
}

/** A host of compiled policies: the verdict on each of some cases that are in one module, in their order. */
export type Host = (wasm: Uint8Array, cases: readonly Case[]) => Promise<readonly Verdict[]>;

/** Of OPA's test suite alone, so that no compiler knows it. */
const ofTheSuite = 'test.sleep';
const batchSize = 40;

export const readCapabilities = (): OpaCapabilities =>
  JSON.parse(execFileSync(opaBinary, ['capabilities', '--current'], { encoding: 'utf8' })) as OpaCapabilities;

/** The built-in that a case asks for and no decision has; undefined for most. */
export function refusalsBy(current: OpaCapabilities): (each: Case) => string | undefined {
  const available = new Set(capabilitiesFor(current).builtins.map(({ name }) => name));
  const missing = [
    ...current.builtins.map(({ name }) => name).filter((name) => !available.has(name)),
    ofTheSuite,
  ];
  const uses = (module: string, name: string) =>
    new RegExp(`(?<![\\w.])${name.replaceAll('.', '\\.')}(?![\\w.])`).test(module);
  return ({ modules }) => missing.find((name) => modules.some((module) => uses(module, name)));
}

/**
 * Runs cases on a host in batches of one module; a batch that does not compile, and a case that fails in one, is run
 * alone and unchanged.
 * @param capabilities what the compiler may use; all that it has if left out
 */
export async function runCases(
  cases: readonly Case[],
  host: Host,
  capabilities?: OpaCapabilities,
): Promise<Verdict[]> {
  const folder = mkdtempSync(join(tmpdir(), 'mandate-conformance-'));
  const file = join(folder, 'capabilities.json');
  if (capabilities) writeFileSync(file, JSON.stringify(capabilities));
  const flags = capabilities ? ['--capabilities', file] : [];
  const batches: Case[][] = [];
  for (const isOld of [true, false]) {
    const alike = cases.filter((each) => each.isOld === isOld);
    for (let at = 0; at < alike.length; at += batchSize) batches.push(alike.slice(at, at + batchSize));
  }
  const verdicts: Verdict[] = [];
  const work = async (): Promise<void> => {
    for (let batch = batches.pop(); batch; batch = batches.pop()) {
      const alone = await runBatch(batch, host, flags, verdicts);
      for (const each of alone) verdicts.push(await runAlone(each, host, flags));
    }
  };
  try {
    await Promise.all([work(), work(), work()]);
  } finally {
    rmSync(folder, { recursive: true });
  }
  return verdicts;
}

const compile = (cases: readonly Case[], flags: readonly string[]): Promise<Uint8Array> =>
  buildWasm(
    cases.flatMap(({ modules }) => modules),
    cases.map(({ entrypoint }) => entrypoint),
    cases[0]?.isOld ? [...flags, '--v0-compatible'] : flags,
  );

/** @returns those that have to be run alone */
async function runBatch(
  batch: readonly Case[],
  host: Host,
  flags: readonly string[],
  verdicts: Verdict[],
): Promise<Case[]> {
  const moved = batch.map((each, index) => moveUnder(`case${index}`, each));
  let wasm: Uint8Array;
  try {
    wasm = await compile(moved, flags);
  } catch {
    return [...batch];
  }
  const found = await host(wasm, moved);
  return batch.filter((_, index) => {
    const verdict = found[index];
    if (verdict?.outcome === 'passed') verdicts.push(verdict);
    return verdict?.outcome !== 'passed';
  });
}

async function runAlone(each: Case, host: Host, flags: readonly string[]): Promise<Verdict> {
  let wasm: Uint8Array;
  try {
    wasm = await compile([each], flags);
  } catch (error) {
    const problem = `does not compile: ${String(error)}`;
    return {
      note: each.note,
      outcome: problem.includes(`undefined function ${ofTheSuite}`) ? 'refused' : 'failed',
      problem,
    };
  }
  const [verdict] = await host(wasm, [each]);
  return verdict ?? { note: each.note, outcome: 'failed', problem: 'no answer' };
}
