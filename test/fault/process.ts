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

interface End {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface ServeProcess extends AsyncDisposable {
  readonly data: string;
  readonly admin: string;
  readonly folder: string;
  readonly store: string;
  readonly child: ChildProcessByStdio<null, Readable, Readable>;
  /** Sends a signal; resolves with how the process ended. */
  end(signal: NodeJS.Signals): Promise<End>;
  /** Resolves when it ended by itself. */
  readonly ended: Promise<End>;
  /** What it wrote to its standard error so far. */
  stderr(): string;
}

/** `folder`: one that another left, which then stays; `preload`: a module that breaks something, see `faults.mjs`; `flags`: more of them; a sidecar has no tenants of its own. */
export async function serveProcess(
  options: { folder?: string; preload?: string; flags?: readonly string[]; isSidecar?: boolean } = {},
): Promise<ServeProcess> {
  const folder = options.folder ?? (await mkdtemp(path.join(tmpdir(), 'mandate-process-')));
  if (options.folder === undefined) await writeTenants(folder);
  const store = path.join(folder, 'data');
  const tenants = options.isSidecar ? [] : ['--tenants', path.join(folder, 'tenants')];
  const places = [...tenants, '--data-dir', store];
  const planesAt = ['--listen-data', '127.0.0.1:0', '--listen-admin', '127.0.0.1:0'];
  const preload = options.preload === undefined ? [] : ['--import', options.preload];
  const command = [
    ...preload,
    'src/cli/mandate.ts',
    'serve',
    '--dev',
    ...places,
    ...planesAt,
    ...(options.flags ?? []),
  ];
  const child = spawn(process.execPath, command, {
    cwd: repository,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, MANDATE_TEST_FAULTS: folder },
  });
  let errors = '';
  child.stderr.on('data', (chunk: Buffer) => {
    errors += chunk.toString();
  });
  const ended = (once(child, 'exit') as Promise<[number | null, NodeJS.Signals | null]>).then(
    ([code, signal]): End => ({ code, signal }),
  );
  const planes = new Map<string, string>();
  for await (const line of createInterface(child.stdout)) {
    const match = /(data|admin) plane\s+(http:\S+)/.exec(line);
    if (match?.[1] && match[2]) planes.set(match[1], match[2]);
    if (line.includes('ready in')) break;
  }
  child.stdout.resume();
  const [data, admin] = [planes.get('data'), planes.get('admin')];
  const end = (signal: NodeJS.Signals): Promise<End> => {
    child.kill(signal);
    return ended;
  };
  if (data === undefined || admin === undefined) throw new Error(`it did not start: ${errors}`);
  return {
    data,
    admin,
    folder,
    store,
    child,
    end,
    ended,
    stderr: () => errors,
    [Symbol.asyncDispose]: async () => {
      if (child.exitCode === null && child.signalCode === null) await end('SIGKILL');
      if (options.folder === undefined) await rm(folder, { recursive: true, force: true });
    },
  };
}
