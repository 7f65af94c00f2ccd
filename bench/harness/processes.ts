import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync } from 'node:fs';
import net from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { watched } from './machine.ts';

/** A server that the bench started and that answers. Disposing stops it, by its id. */
export interface Running extends AsyncDisposable {
  readonly pid: number;
  /** Milliseconds from the spawn to the first good answer. */
  readonly readyMs: number;
  /** Resident memory now, in MiB. */
  residentMib(): number;
}

export interface Launch {
  readonly command: string;
  readonly args: readonly string[];
  /** Takes what the process prints; its end is shown when the process dies early. */
  readonly log: string;
  /** Answers true once the server serves; asked again and again. */
  readonly ready: () => Promise<boolean>;
  readonly pollMs?: number;
  readonly env?: Readonly<Record<string, string>>;
}

const READY_TIMEOUT_MS = 120_000;
const STOP_TIMEOUT_MS = 15_000;

const alive = new Set<ChildProcess>();
/** Those that were told to end. */
const stopping = new WeakSet<ChildProcess>();
// Whatever way the bench ends, nothing it started outlives it.
process.on('exit', () => {
  for (const child of alive) child.kill('SIGKILL');
});

export async function launch({ command, args, log, ready, pollMs = 20, env = {} }: Launch): Promise<Running> {
  const out = openSync(log, 'a');
  const began = performance.now();
  const child = spawn(command, args, { stdio: ['ignore', out, out], env: { ...process.env, ...env } });
  closeSync(out);
  alive.add(child);
  let failure: string | undefined;
  child.on('error', (error) => {
    failure = error.message;
  });
  child.on('exit', (code, signal) => {
    alive.delete(child);
    failure ??= `ended with ${signal ?? code}`;
    if (!stopping.has(child)) console.error(`${command} ${failure}:\n${tail(log)}`);
  });
  while (!(await ready().catch(() => false))) {
    const late = performance.now() - began > READY_TIMEOUT_MS;
    if (failure === undefined && !late) {
      await delay(pollMs);
      continue;
    }
    await stop(child);
    throw new Error(
      `${command} ${failure ?? 'never got ready'}:\n${readFileSync(log, 'utf8').slice(-2_000)}`,
    );
  }
  const readyMs = performance.now() - began;
  const pid = child.pid ?? 0;
  watched.add(pid);
  return { pid, readyMs, residentMib: () => residentMib(pid), [Symbol.asyncDispose]: () => stop(child) };
}

const tail = (log: string): string => readFileSync(log, 'utf8').slice(-2_000);

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
  stopping.add(child);
  const gone = once(child, 'exit');
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS);
  await gone;
  clearTimeout(timer);
}

function residentMib(pid: number): number {
  const line = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
  return Number(line?.[1] ?? Number.NaN) / 1024;
}

/** A loopback port that nobody listens on now. */
export async function freePort(): Promise<number> {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new Error('no free port');
  return address.port;
}

/** Whether a GET of the URL answers 200. */
export const answers = async (url: string): Promise<boolean> => (await fetch(url)).status === 200;
