import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { watched } from './machine.ts';

/** What servers/decider.ts is told on its command line. */
export interface DeciderOptions {
  readonly folder: string;
  readonly tenants: number;
  /** How many people the first tenant has, and how many ask. */
  readonly principals: number;
}

export interface DeciderReady {
  /** How long the start took, and then the loading of principals. */
  readonly startMs: number;
  readonly loadMs: number;
  readonly residentMib: number;
}

export interface DeciderRound {
  readonly micros: number;
  /** Processor time of all threads. */
  readonly cpuMicros: number;
  readonly decided: number;
  readonly residentMib: number;
}

/** A Mandate in a process of its own that decides as fast as it can for as long as it is told. */
export interface Decider extends AsyncDisposable {
  readonly ready: DeciderReady;
  round(seconds: number): Promise<DeciderRound>;
}

const script = path.resolve(import.meta.dirname, '../servers/decider.ts');

export async function startDecider(options: DeciderOptions): Promise<Decider> {
  mkdirSync(options.folder, { recursive: true });
  const child = fork(script, [JSON.stringify(options)], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
  // It also ends by itself when this process is gone: the channel closes.
  if (child.pid !== undefined) watched.add(child.pid);
  const gone = once(child, 'exit').then(() => {
    throw new Error('the decider ended');
  });
  gone.catch(() => {});
  const answer = async <T>(): Promise<T> => {
    const [message] = (await Promise.race([once(child, 'message'), gone])) as [T];
    return message;
  };
  return {
    ready: await answer<DeciderReady>(),
    round: async (seconds) => {
      const answered = answer<DeciderRound>();
      child.send(seconds);
      return answered;
    },
    [Symbol.asyncDispose]: async () => {
      if (child.connected) child.disconnect();
      await gone.catch(() => {});
    },
  };
}
