import { execFile } from 'node:child_process';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { vi } from 'vitest';
import { run as program } from '../../src/cli/program.ts';
import type { Running } from '../e2e/server.ts';

/** The command: in this process, or as a shell runs it. */

const repository = path.resolve(import.meta.dirname, '../..');

/** A test starts many processes of the same code. */
const compileCache = path.join(tmpdir(), 'mandate-test-compile-cache');

export interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** As a shell runs it. */
export function mandateProcess(
  args: readonly string[],
  environment: Record<string, string> = {},
): Promise<Ran> {
  return run(process.execPath, started(args), environment);
}

/** Those that stay until they are told to end. */
const STAYS = new Set(['serve', 'tail', 'witness', '--watch']);

let last: Promise<unknown> = Promise.resolve();

/** In this process, which costs a tenth of one of its own; one after the other, as they print to the same place. */
export function mandate(args: readonly string[], environment: Record<string, string> = {}): Promise<Ran> {
  const stays = args.some((each) => STAYS.has(each)) && !args.includes('--help');
  // Node reads its own when it starts.
  const isOfNode = Object.keys(environment).some((name) => name.startsWith('NODE_'));
  if (stays || isOfNode) return mandateProcess(args, environment);
  const ran = last.then(() => within(args, environment));
  last = ran;
  return ran;
}

async function within(args: readonly string[], environment: Record<string, string>): Promise<Ran> {
  const before = { environment: process.env, code: process.exitCode };
  const kept = Object.entries(before.environment).filter(([name]) => !name.startsWith('MANDATE_'));
  const [stdout, stderr] = [spied('stdout'), spied('stderr')];
  process.env = { ...Object.fromEntries(kept), ...environment };
  process.exitCode = 0;
  try {
    await program(args);
    return { code: process.exitCode, stdout: stdout.text(), stderr: stderr.text() };
  } finally {
    process.env = before.environment;
    process.exitCode = before.code;
    stdout.restore();
    stderr.restore();
  }
}

/** What is written there until it is restored. */
export function spied(name: 'stdout' | 'stderr'): { text: () => string; restore: () => void } {
  const written: string[] = [];
  const spy = vi.spyOn(process[name], 'write').mockImplementation((chunk) => {
    written.push(typeof chunk === 'string' ? chunk : Buffer.from(chunk).toString());
    return true;
  });
  return { text: () => written.join(''), restore: () => spy.mockRestore() };
}

const started = (args: readonly string[]): string[] => ['src/cli/mandate.ts', ...args];

function run(program: string, args: string[], environment: Record<string, string>): Promise<Ran> {
  return new Promise((resolve) => {
    const child = execFile(
      program,
      args,
      { cwd: repository, env: { NODE_COMPILE_CACHE: compileCache, ...environment } },
      (_error, stdout, stderr) => resolve({ code: child.exitCode ?? -1, stdout, stderr }),
    );
  });
}

/** The command in a pipe whose reader is gone before it prints. `code` is the command's, not the reader's. */
export function unread(args: readonly string[], environment: Record<string, string> = {}): Promise<Ran> {
  const pipe = '"$@" | true; exit "${PIPESTATUS[0]}"';
  return run('bash', ['--norc', '-c', pipe, 'bash', process.execPath, ...started(args)], environment);
}

/** The same against a running server. */
export const at =
  (server: Running, secret?: string) =>
  (...args: string[]): Promise<Ran> =>
    mandate(args, environmentOf(server, secret));

export const environmentOf = (server: Running, secret?: string): Record<string, string> => ({
  MANDATE_DATA_URL: server.data,
  MANDATE_ADMIN_URL: server.admin,
  ...(secret === undefined ? {} : { MANDATE_CREDENTIAL: secret }),
});
