import { Worker } from 'node:worker_threads';
import type { MadeVolume, VolumePlan, VolumeWish } from './making.ts';

/** What the thread is asked. */
export type Making =
  | { readonly wish: VolumeWish; readonly size: number }
  | { readonly plan: VolumePlan; readonly checkpoint: string };

export type FromMaking =
  | { readonly plan: VolumePlan | undefined }
  | { readonly made: MadeVolume }
  | { readonly problem: string };

/** The thread that makes volumes, one after the other: nobody who decides waits while a log is hashed and packed. */
export class MakingThread implements AsyncDisposable {
  readonly #worker: Worker;
  readonly #ended: Promise<FromMaking>;

  /** Where it is aborted, what is under way is given up. */
  constructor(folder: string, signal: AbortSignal) {
    const file = import.meta.url.endsWith('.ts') ? '../../volumes-thread.ts' : '../../volumes-thread.js';
    this.#worker = new Worker(new URL(file, import.meta.url), {
      workerData: { folder },
      name: 'mandate-volumes',
    });
    this.#worker.unref();
    signal.addEventListener('abort', () => void this.#worker.terminate(), { once: true });
    this.#ended = new Promise((resolve) => {
      this.#worker.once('error', (error: Error) => resolve({ problem: error.message }));
      this.#worker.once('exit', () => resolve({ problem: 'the thread that makes volumes ended' }));
    });
  }

  /** Undefined where there is nothing to be made. Throws where the log is damaged. */
  async plan(wish: VolumeWish, size: number): Promise<VolumePlan | undefined> {
    const answer = await this.#ask({ wish, size });
    return 'plan' in answer ? answer.plan : undefined;
  }

  /** The file is on the disk. Throws where the log is not that of the checkpoint, or the disk fails. */
  async make(plan: VolumePlan, checkpoint: string): Promise<MadeVolume> {
    const answer = await this.#ask({ plan, checkpoint });
    if ('made' in answer) return answer.made;
    throw new Error('the thread that makes volumes did not make one');
  }

  async #ask(asked: Making): Promise<FromMaking> {
    const answered = new Promise<FromMaking>((resolve) => this.#worker.once('message', resolve));
    this.#worker.postMessage(asked);
    const answer = await Promise.race([answered, this.#ended]);
    if ('problem' in answer) throw new Error(answer.problem);
    return answer;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#worker.postMessage('close');
    await this.#ended;
  }
}
