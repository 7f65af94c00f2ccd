import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { expect } from 'vitest';
import { output, type Ran, run } from '../foreign/programs.ts';

/** The Go program of tools/verifiers: other people's code that verifies logs, notes and proofs. */

const program = path.resolve(import.meta.dirname, '../../.cache/clients/verifiers');

/** What to say where it cannot be made; empty where it can. */
export const withoutGo = spawnSync('go', ['version']).error
  ? ', skipped: go is missing, install Go 1.26 or newer'
  : '';

/** Makes it, unless it is as it is now. */
export const makeVerifiers = (): Promise<string> => output('make', ['verifiers'], { timeoutMs: 280_000 });

export function verifiers(
  args: readonly string[],
  input = '',
  environment: Readonly<Record<string, string>> = {},
): Promise<Ran> {
  const set = Object.entries(environment).map(([name, value]) => `${name}=${value}`);
  return run('env', [...set, program, ...args], { input, timeoutMs: 60_000 });
}

export const verified = { code: 0, stderr: '' } as const;
export const refused = {
  code: 1,
  stderr: '',
  stdout: expect.stringMatching(/^refused: /) as string,
} as const;

/** The parts of a proof, under the names that tools/verifiers has for them. */
type Parts = Readonly<Record<string, number | Uint8Array | readonly Uint8Array[]>>;

/** Whether it takes each of the proofs. */
export async function takes(kind: 'inclusion' | 'consistency', proofs: readonly Parts[]): Promise<boolean[]> {
  const { stdout, stderr } = await verifiers([kind], proofs.map(jsonOf).join('\n'));
  const lines = stdout.trimEnd().split('\n');
  if (stderr !== '' || lines.length !== proofs.length)
    throw new Error(`verifiers ${kind}: ${stderr}${lines.at(-1)}`);
  return lines.map((line) => line === 'verified');
}

const jsonOf = (parts: Parts): string =>
  JSON.stringify(
    Object.fromEntries(
      Object.entries(parts).map(([name, part]) => [
        name,
        typeof part === 'number' ? part : part instanceof Uint8Array ? toBase64(part) : part.map(toBase64),
      ]),
    ),
  );

const toBase64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64');
