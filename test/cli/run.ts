import { execFile } from 'node:child_process';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Running } from '../e2e/server.ts';

/** The command as a shell runs it. */

const repository = path.resolve(import.meta.dirname, '../..');

/** A test starts many processes of the same code. */
const compileCache = path.join(tmpdir(), 'mandate-test-compile-cache');

export interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export function mandate(args: readonly string[], environment: Record<string, string> = {}): Promise<Ran> {
  return run(process.execPath, started(args), environment);
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
