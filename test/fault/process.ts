import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { writeTenants } from '../e2e/server.ts';

/** A real process of `mandate serve` on free ports, in a temporary folder. */

const repository = path.resolve(import.meta.dirname, '../..');

export interface ServeProcess extends AsyncDisposable {
  readonly data: string;
  readonly admin: string;
  readonly folder: string;
  readonly store: string;
  readonly child: ChildProcessByStdio<null, Readable, Readable>;
  /** Sends a signal; resolves with how the process ended. */
  end(signal: NodeJS.Signals): Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
  /** What it wrote to its standard error so far. */
  stderr(): string;
}

export async function serveProcess(): Promise<ServeProcess> {
  const folder = await mkdtemp(path.join(tmpdir(), 'mandate-process-'));
  await writeTenants(folder);
  const store = path.join(folder, 'data');
  const places = ['--tenants', path.join(folder, 'tenants'), '--data-dir', store];
  const planesAt = ['--listen-data', '127.0.0.1:0', '--listen-admin', '127.0.0.1:0'];
  const child = spawn(process.execPath, ['src/cli/mandate.ts', 'serve', '--dev', ...places, ...planesAt], {
    cwd: repository,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let errors = '';
  child.stderr.on('data', (chunk: Buffer) => {
    errors += chunk.toString();
  });
  const exited = once(child, 'exit') as Promise<[number | null, NodeJS.Signals | null]>;
  const planes = new Map<string, string>();
  for await (const line of createInterface(child.stdout)) {
    const match = /(data|admin) plane\s+(http:\S+)/.exec(line);
    if (match?.[1] && match[2]) planes.set(match[1], match[2]);
    if (line.includes('ready in')) break;
  }
  child.stdout.resume();
  const [data, admin] = [planes.get('data'), planes.get('admin')];
  const end = async (signal: NodeJS.Signals) => {
    child.kill(signal);
    const [code, by] = await exited;
    return { code, signal: by };
  };
  if (data === undefined || admin === undefined) throw new Error(`it did not start: ${errors}`);
  return {
    data,
    admin,
    folder,
    store,
    child,
    end,
    stderr: () => errors,
    [Symbol.asyncDispose]: async () => {
      if (child.exitCode === null && child.signalCode === null) await end('SIGKILL');
      await rm(folder, { recursive: true, force: true });
    },
  };
}
