import { Worker } from 'node:worker_threads';
import type { Task } from './bare-thread.ts';
import type { Case } from './cases.ts';
import { type Host, runCases, type Verdict } from './running.ts';

/** What a case may take before its thread is ended. */
const deadlineMs = 5_000;

/** OPA's cases by the npm host that others use, with all that the compiler has. A case that hangs is one that fails. */
export async function runBare(cases: readonly Case[]): Promise<Verdict[]> {
  const idle: Thread[] = [];
  const host: Host = async (wasm, batch) => {
    const verdicts: Verdict[] = [];
    for (const each of batch) {
      const thread = idle.pop() ?? new Thread();
      const verdict = await thread.ask({ wasm, each });
      if (verdict) idle.push(thread);
      else await thread.end();
      verdicts.push(verdict ?? { note: each.note, outcome: 'failed', problem: 'no answer in time' });
    }
    return verdicts;
  };
  try {
    return await runCases(cases, host);
  } finally {
    await Promise.all(idle.map((thread) => thread.end()));
  }
}

class Thread {
  readonly #worker = new Worker(new URL('./bare-thread.ts', import.meta.url));
  #settle: ((verdict: Verdict | undefined) => void) | undefined;

  constructor() {
    this.#worker.on('message', (verdict: Verdict) => this.#settle?.(verdict));
    this.#worker.on('error', () => this.#settle?.(undefined));
  }

  /** Undefined if there is no answer in time, or the thread ends. */
  async ask(task: Task): Promise<Verdict | undefined> {
    const { promise, resolve } = Promise.withResolvers<Verdict | undefined>();
    this.#settle = resolve;
    const timer = setTimeout(() => resolve(undefined), deadlineMs);
    this.#worker.postMessage(task);
    const verdict = await promise;
    clearTimeout(timer);
    return verdict;
  }

  async end(): Promise<void> {
    await this.#worker.terminate();
  }
}
