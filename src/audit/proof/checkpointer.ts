import { sign } from 'node:crypto';
import { promisify } from 'node:util';
import { checkpointText } from '../../merkle/checkpoint.ts';
import { signedNote } from '../../merkle/note.ts';
import type { GrownLog } from '../../storage/log/appender.ts';
import type { TenantNo } from '../../storage/rows.ts';
import { commitChannel, type Writer } from '../../storage/writer.ts';
import type { LogKeys } from './keys.ts';
import type { MlDsaKeys } from './ml-dsa.ts';

/** How often logs that grow state what they are, and how much of that time it may take: more of them take turns. */
const EACH_MS = 1_000;
const MOST_MS = 100;
/** How long it is left after something failed. */
const AGAIN_MS = 5_000;
/** How long the end of the server waits for the last ones. */
const LAST_MS = 2_000;
/** How many at a time. */
const GROUP = 32;

const signed = promisify(sign);

/**
 * Signs and stores a checkpoint of every log that has grown. What it signs was committed before: the writer answers what
 * it is asked only then, and a log whose tree is not that of its last checkpoint is not among the answers.
 */
export class Checkpointer implements AsyncDisposable {
  readonly #writer: Writer;
  readonly #keys: LogKeys;
  readonly #seconds: MlDsaKeys | undefined;
  readonly #stated: (no: TenantNo) => void;
  readonly #failed: (error: unknown) => void;
  #committed = 0;
  #timer: NodeJS.Timeout | undefined;
  #round: Promise<void> | undefined;
  #isEnded = false;
  /** Since when something has grown that no checkpoint states. */
  #grownAt: number | undefined;

  /**
   * `stated` hears of each log that has a new one, `failed` of what went wrong; it is tried again. Where there are second
   * keys, no log states anything without a signature of its own.
   */
  constructor(
    writer: Writer,
    keys: LogKeys,
    seconds: MlDsaKeys | undefined,
    stated: (no: TenantNo) => void,
    failed: (error: unknown) => void,
  ) {
    this.#stated = stated;
    this.#writer = writer;
    this.#keys = keys;
    this.#seconds = seconds;
    this.#failed = failed;
  }

  /** For how long logs have grown without a checkpoint that says so; 0 where all that is there is stated. */
  get unstatedMs(): number {
    return this.#grownAt === undefined ? 0 : performance.now() - this.#grownAt;
  }

  begin(): void {
    commitChannel.subscribe(this.#hear);
    // Logs may have grown before the server was killed.
    this.#schedule(EACH_MS);
  }

  readonly #hear = (message: unknown): void => {
    this.#committed += (message as { entries: number }).entries;
    this.#grownAt ??= performance.now();
    if (!this.#round) this.#schedule(EACH_MS);
  };

  #schedule(ms: number): void {
    if (this.#isEnded) return;
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#round = this.#turn().finally(() => {
        this.#round = undefined;
      });
    }, ms).unref();
  }

  async #turn(): Promise<void> {
    const before = this.#committed;
    const begunAt = performance.now();
    try {
      const { own, isDone } = await this.#state(MOST_MS);
      // Its own entries are no reason to go on.
      const isMore = this.#committed - before > own;
      if (isDone) this.#grownAt = isMore ? begunAt : undefined;
      if (!isDone || isMore) this.#schedule(EACH_MS);
    } catch (error) {
      this.#failed(error);
      this.#schedule(AGAIN_MS);
    }
  }

  /** As many as there is time for. Answers how many entries that made, and whether all are done. */
  async #state(mostMs: number): Promise<{ own: number; isDone: boolean }> {
    const end = performance.now() + mostMs;
    let own = 0;
    while (performance.now() < end) {
      const { value: logs } = await this.#writer.run('grownLogs', { limit: GROUP });
      own += 1 + logs.length;
      if (logs.length === 0) return { own, isDone: true };
      const stated = await Promise.all(logs.map((log) => this.#one(log)));
      if (!stated.includes(true)) break;
    }
    return { own, isDone: false };
  }

  /** A log that has no key it can be signed with does not keep the others from theirs. */
  async #one({ no, size, root }: GrownLog): Promise<boolean> {
    try {
      const key = await this.#keys.of(no);
      const text = checkpointText({ origin: key.name, size, root });
      const first = signedNote(text, key, await signed(null, Buffer.from(text), key.privateKey));
      const note = first + ((await this.#seconds?.line(no, key.name, text)) ?? '');
      await this.#writer.run('putCheckpoint', { tenantNo: no, size, note });
      this.#stated(no);
      return true;
    } catch (error) {
      this.#failed(error);
      return false;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isEnded = true;
    commitChannel.unsubscribe(this.#hear);
    clearTimeout(this.#timer);
    await this.#round;
    await this.#state(LAST_MS).catch(this.#failed);
  }
}
