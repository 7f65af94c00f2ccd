import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { ServiceError } from '../../errors.ts';
import type { Selection } from './run.ts';
import { type Counts, type Example, type Group, Tally } from './tally.ts';

/** A revision as a thread makes an instance of it. */
export interface Replayable {
  readonly revision: string;
  readonly wasm: Uint8Array;
  /** JSON text. */
  readonly data: string;
}

/** What a thread is started with. */
export interface ReplayTask {
  readonly folder: string;
  readonly candidate: Replayable;
  readonly base: Replayable | undefined;
  readonly limits: { readonly fuel: number; readonly memoryPages: number };
  readonly selection: Selection;
}

export type FromReplay =
  | { readonly passed: number }
  | { readonly counts: Counts; readonly groups: readonly Group[]; readonly examples: readonly Example[] }
  | { readonly problem: string };

/** How far a replay is, and in the end what it came to. */
export interface Replayed {
  readonly passed: number;
  readonly total: number;
  readonly tally: Tally | undefined;
}

/** How many replays run at once, and how many threads each has. */
const MAX_RUNNING = 2;
const THREADS = Math.min(2, availableParallelism());
/** Below so many records another thread takes longer to start than it saves. */
const WORTH_A_THREAD = 5_000;

/** Replays recorded decisions against a candidate, in threads of their own, each over a part of the log. */
export class Replays {
  readonly #folder: string;
  #running = 0;

  /** `folder`: the store's. */
  constructor(folder: string) {
    this.#folder = folder;
  }

  /** Throws `resource_exhausted` where enough of them run, `unavailable` where the log cannot be read. */
  async *run(task: Omit<ReplayTask, 'folder'>, signal: AbortSignal): AsyncGenerator<Replayed> {
    if (this.#running >= MAX_RUNNING)
      throw new ServiceError('resource_exhausted', `${MAX_RUNNING} replays run already`, {
        retryAfterMs: 5_000,
      });
    this.#running += 1;
    const workers: Worker[] = [];
    const news = new News();
    const stop = (): void => news.tell({ problem: 'the replay was broken off' });
    signal.addEventListener('abort', stop, { once: true });
    try {
      const { selection } = task;
      const total = selection.to - selection.from;
      const ranges = rangesOf(selection);
      for (const [from, to] of ranges)
        workers.push(this.#start({ ...task, selection: { ...selection, from, to } }, news));
      const tally = new Tally();
      let [passed, done] = [0, 0];
      while (done < ranges.length) {
        const said = await news.next();
        if ('problem' in said)
          throw new ServiceError('unavailable', 'the log cannot be replayed', { detail: said.problem });
        if ('passed' in said) passed += said.passed;
        else {
          tally.add(said.counts, said.groups, said.examples);
          done += 1;
        }
        yield { passed, total, tally: undefined };
      }
      yield { passed: total, total, tally };
    } finally {
      this.#running -= 1;
      signal.removeEventListener('abort', stop);
      for (const worker of workers) void worker.terminate();
    }
  }

  #start(task: Omit<ReplayTask, 'folder'>, news: News): Worker {
    const file = import.meta.url.endsWith('.ts') ? '../../replay-thread.ts' : '../../replay-thread.js';
    const worker = new Worker(new URL(file, import.meta.url), {
      name: 'mandate-replay',
      env: {},
      workerData: { ...task, folder: this.#folder } satisfies ReplayTask,
    });
    let isDone = false;
    return worker
      .on('message', (said: FromReplay) => {
        isDone ||= 'counts' in said;
        news.tell(said);
      })
      .on('error', ({ message }: Error) => news.tell({ problem: message }))
      .on('exit', () => {
        if (!isDone) news.tell({ problem: 'a thread that replays ended' });
      });
  }
}

/** What the threads have said, in the order in which it came. */
class News {
  readonly #said: FromReplay[] = [];
  #heard: (() => void) | undefined;

  tell(said: FromReplay): void {
    this.#said.push(said);
    this.#heard?.();
  }

  async next(): Promise<FromReplay> {
    for (;;) {
      const said = this.#said.shift();
      if (said) return said;
      await new Promise<void>((resolve) => (this.#heard = resolve));
    }
  }
}

function rangesOf({ from, to }: Selection): [number, number][] {
  const size = to - from;
  const count = Math.max(1, Math.min(THREADS, Math.floor(size / WORTH_A_THREAD)));
  return Array.from({ length: count }, (_, at) => [
    from + Math.floor((size * at) / count),
    from + Math.floor((size * (at + 1)) / count),
  ]);
}
