import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { gunzipSync } from 'node:zlib';
import type { Limits } from '../../../src/policy/engine/instance.ts';
import { PolicyModule } from '../../../src/policy/engine/module.ts';

/** Compiles Rego with the pinned compiler. */

const run = promisify(execFile);

export const opaBinary = process.env['MANDATE_OPA'] ?? 'bin/opa';

export const limits: Limits = { fuel: 100_000_000, memoryPages: 512 };

export const context = { nowMs: 1_767_225_600_000, seed: 'decision-1' };

/** The WebAssembly of some modules; entry points are paths such as `test/p`. */
export async function buildWasm(
  modules: string | readonly string[],
  entrypoints: readonly string[],
  flags: readonly string[] = [],
): Promise<Uint8Array> {
  const folder = await mkdtemp(join(tmpdir(), 'mandate-rego-'));
  try {
    const sources = typeof modules === 'string' ? [modules] : modules;
    const files = sources.map((_, index) => join(folder, `module-${index}.rego`));
    await Promise.all(files.map((file, index) => writeFile(file, sources[index] ?? '')));
    const bundle = join(folder, 'bundle.tar.gz');
    const entries = entrypoints.flatMap((path) => ['-e', path]);
    await run(opaBinary, ['build', '-t', 'wasm', ...flags, ...entries, '-o', bundle, ...files]).catch(
      (error) => {
        // The compiler's message is on its standard output.
        throw new Error((error as { stdout: string }).stdout, { cause: error });
      },
    );
    return readFromTar(gunzipSync(await readFile(bundle)), 'policy.wasm');
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** Headers of 512 bytes, the name in front and the size in octal at 124. */
function readFromTar(tar: Buffer, name: string): Uint8Array {
  for (let at = 0; at < tar.length; ) {
    const path = tar.toString('utf8', at, tar.indexOf(0, at)).replace(/^\//, '');
    const size = Number.parseInt(tar.toString('latin1', at + 124, at + 136), 8) || 0;
    if (path === name) return Uint8Array.from(tar.subarray(at + 512, at + 512 + size));
    at += 512 + Math.ceil(size / 512) * 512;
  }
  throw new Error(`${name} is not in the bundle`);
}

/** The same by the compiler's own evaluator. */
export async function evaluateWithOpa(
  expressions: readonly string[],
  input: unknown,
): Promise<Record<string, unknown>> {
  const folder = await mkdtemp(join(tmpdir(), 'mandate-rego-'));
  try {
    const [policy, inputFile] = [join(folder, 'policy.rego'), join(folder, 'input.json')];
    await writeFile(policy, moduleOf(expressions));
    await writeFile(inputFile, JSON.stringify(input));
    const { stdout } = await run(opaBinary, ['eval', '--data', policy, '--input', inputFile, 'data.test']);
    const answer = JSON.parse(stdout) as { result: [{ expressions: [{ value: Record<string, unknown> }] }] };
    const { value } = answer.result[0].expressions[0];
    return Object.fromEntries(expressions.map((name, index) => [name, value[`r${index}`]]));
  } finally {
    await rm(folder, { recursive: true });
  }
}

function moduleOf(expressions: readonly string[]): string {
  const rules = expressions.map((expression, index) => `r${index} := ${expression}`);
  return `package test\n\n${rules.join('\n')}\n`;
}

/**
 * The values of expressions, each undefined if it is. One compilation for all of them.
 * @param seed the decision's id
 */
export async function evaluateAll(
  expressions: Readonly<Record<string, string>>,
  input: unknown = {},
  seed = context.seed,
): Promise<Record<string, unknown>> {
  const wasm = await buildWasm(moduleOf(Object.values(expressions)), ['test']);
  const instance = PolicyModule.compile(wasm).instantiate('{}', limits);
  const values = instance.evaluate('test', JSON.stringify(input), { ...context, seed }).result as Record<
    string,
    unknown
  >;
  return Object.fromEntries(Object.keys(expressions).map((name, index) => [name, values[`r${index}`]]));
}
