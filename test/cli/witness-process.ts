import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { vkeyOf } from '../../src/merkle/keys.ts';
import { log } from '../merkle/witnessed.ts';

/** A real process of `mandate audit witness` on a free port, for the log of `test/merkle/witnessed.ts`. */

const repository = path.resolve(import.meta.dirname, '../..');

export interface WitnessProcess extends AsyncDisposable {
  readonly vkey: string;
  readonly url: string;
  /** The lines that it printed before it was ready. */
  readonly said: readonly string[];
  readonly child: ChildProcess;
  /** Sends a signal; resolves with how the process ended. */
  end(signal: NodeJS.Signals): Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
  stderr(): string;
}

export const NAME = 'witness.example/w1';

export const witnessArguments = (state: string): string[] => {
  const given = { name: NAME, key: vkeyOf(log), state, listen: '127.0.0.1:0' };
  return ['audit', 'witness', ...Object.entries(given).flatMap(([name, value]) => [`--${name}`, value])];
};

export async function witnessProcess(state: string): Promise<WitnessProcess> {
  const child = spawn(process.execPath, ['src/cli/mandate.ts', ...witnessArguments(state)], {
    cwd: repository,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let errors = '';
  child.stderr.on('data', (chunk: Buffer) => {
    errors += chunk.toString();
  });
  const ended = (once(child, 'exit') as Promise<[number | null, NodeJS.Signals | null]>).then(
    ([code, signal]) => ({ code, signal }),
  );
  const said: string[] = [];
  for await (const line of createInterface(child.stdout)) {
    said.push(line);
    if (line.startsWith('mandate: knows')) break;
  }
  const [vkey = '', url = ''] = ['witness', 'serves '].map((what) => saidOf(said, what));
  if (url === '') throw new Error(`it did not start: ${errors}`);
  const end: WitnessProcess['end'] = (signal) => {
    child.kill(signal);
    return ended;
  };
  return {
    vkey,
    url,
    said,
    child,
    end,
    stderr: () => errors,
    [Symbol.asyncDispose]: async () => {
      if (child.exitCode === null && child.signalCode === null) await end('SIGKILL');
    },
  };
}

const saidOf = (said: readonly string[], what: string): string | undefined =>
  said.find((line) => line.startsWith(`mandate: ${what} `))?.slice(`mandate: ${what} `.length);

export interface Answered {
  readonly status: number;
  readonly type: string | null;
  readonly text: string;
}

export async function send(
  { url }: { url: string },
  body: string,
  init: RequestInit = {},
): Promise<Answered> {
  const response = await fetch(`${url}/add-checkpoint`, { method: 'POST', body, ...init });
  return { status: response.status, type: response.headers.get('content-type'), text: await response.text() };
}
