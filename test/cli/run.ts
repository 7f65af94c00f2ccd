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
  return new Promise((resolve) => {
    const child = execFile(
      process.execPath,
      ['src/cli/mandate.ts', ...args],
      { cwd: repository, env: { NODE_COMPILE_CACHE: compileCache, ...environment } },
      (_error, stdout, stderr) => resolve({ code: child.exitCode ?? -1, stdout, stderr }),
    );
  });
}

/** The same against a running server. */
export const at =
  (server: Running, secret?: string) =>
  (...args: string[]): Promise<Ran> =>
    mandate(args, {
      MANDATE_DATA_URL: server.data,
      MANDATE_ADMIN_URL: server.admin,
      ...(secret === undefined ? {} : { MANDATE_CREDENTIAL: secret }),
    });
