import { boundedBody } from '../../bounded-body.ts';
import { systemClock } from '../../effects.ts';
import { describe, ServiceError } from '../../errors.ts';
import type { SignedCheckpoint } from '../../merkle/checkpoint.ts';
import type { VerifierKey } from '../../merkle/keys.ts';
import { isNoteOf, parseNote } from '../../merkle/note.ts';
import { addCheckpointBody } from '../../merkle/witness.ts';
import type { TenantNo } from '../../storage/rows.ts';
import type { Writer } from '../../storage/writer.ts';
import type { LogProofs } from '../proof/proofs.ts';

/** Somebody else, who signs that a log was only appended to (C2SP tlog-witness). */
export interface WitnessPeer {
  readonly key: VerifierKey;
  /** Its submission prefix. */
  readonly url: string;
}

/** How often a log that grows is sent to its witnesses. */
const EACH_MS = 10_000;
const ANSWER_MS = 5_000;
/** How many logs at a time. */
const AT_ONCE = 8;
const MAX_ANSWER_BYTES = 64 * 1024;
/** For how many times as long as that one that gave no answer is left out: each log would wait for it. */
const LEFT_OUT = 3;
/** How long fewer signatures than there were do not take the place of those. */
const POORER_MS = 60_000;

/** What somebody else says of a log, in an operator's words. */
export interface Dispute {
  readonly tenantNo: TenantNo;
  readonly text: string;
}

interface Options {
  readonly witnesses: readonly WitnessPeer[];
  readonly proofs: LogProofs;
  readonly writer: Writer;
  /** Hears of what went wrong; it is tried again. */
  readonly failed: (error: unknown) => void;
  readonly eachMs?: number;
}

/**
 * Has checkpoints signed by witnesses, and stores them with whatever signatures were to be had: what the log then shows
 * to strangers is what others have seen, too.
 */
export class Witnessing implements AsyncDisposable {
  readonly #options: Options;
  readonly #pending = new Set<TenantNo>();
  /** What each witness signed last, by what is known here. */
  readonly #sizes = new Map<string, number>();
  /** What witnesses say against a log, by both. */
  readonly #disputes = new Map<string, Dispute>();
  /** With how many signatures each log was stored last, and when. */
  readonly #stored = new Map<TenantNo, { readonly count: number; readonly at: number }>();
  /** Until when a witness is left out. */
  readonly #leftOut = new Map<string, number>();
  readonly #ending = new AbortController();
  #timer: NodeJS.Timeout | undefined;
  #round: Promise<void> | undefined;

  constructor(options: Options) {
    this.#options = options;
  }

  /** A log has a new checkpoint. */
  stated(no: TenantNo): void {
    if (this.#options.witnesses.length === 0 || this.#ending.signal.aborted) return;
    this.#pending.add(no);
    if (!this.#round) this.#schedule();
  }

  #schedule(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#round = this.#turn().finally(() => {
        this.#round = undefined;
        if (this.#pending.size > 0 && !this.#ending.signal.aborted) this.#schedule();
      });
    }, this.#eachMs).unref();
  }

  get #eachMs(): number {
    return this.#options.eachMs ?? EACH_MS;
  }

  async #turn(): Promise<void> {
    const logs = [...this.#pending];
    this.#pending.clear();
    const next = async (): Promise<void> => {
      for (let no = logs.pop(); no !== undefined && !this.#ending.signal.aborted; no = logs.pop())
        await this.#one(no).catch(this.#options.failed);
    };
    await Promise.all(Array.from({ length: AT_ONCE }, next));
  }

  async #one(no: TenantNo): Promise<void> {
    const { witnesses, proofs, writer } = this.#options;
    const checkpoint = proofs.newest(no);
    if (!checkpoint) return;
    const lines = await Promise.all(
      witnesses.map(async (witness) => {
        try {
          if (performance.now() >= (this.#leftOut.get(witness.key.name) ?? 0))
            return await this.#ask(no, witness, checkpoint);
        } catch (error) {
          this.#options.failed(error);
        }
        this.#pending.add(no);
        return '';
      }),
    );
    const count = lines.filter((line) => line !== '').length;
    const before = this.#stored.get(no);
    // One that does not answer for a moment does not take a quorum from what is shown.
    const isPoorer =
      before !== undefined && count < before.count && performance.now() - before.at < POORER_MS;
    if (count === 0 || isPoorer) return;
    const note = `${checkpoint.source}${lines.join('')}`;
    await writer.run('putCosigned', { tenantNo: no, size: checkpoint.size, note, at: systemClock() });
    this.#stored.set(no, { count, at: performance.now() });
  }

  /** Logs of which a witness says that it has seen another one. */
  get disputes(): readonly Dispute[] {
    return [...this.#disputes.values()];
  }

  /**
   * It may have been asked by another copy of this store, or by this one before it was put back. It brings no proof, so
   * the operator is told, and nobody is refused for it.
   */
  #disputed(no: TenantNo, size: number, name: string, what: string): ServiceError {
    const text = `its log is not the one of its checkpoint of ${size} records: ${name} has seen ${what}`;
    this.#disputes.set(`${no} ${name}`, { tenantNo: no, text });
    return refused(name, `it has seen ${size} entries of this log`);
  }

  /** Answers the witness's own line. Rejects with `unavailable`. */
  async #ask(no: TenantNo, witness: WitnessPeer, checkpoint: SignedCheckpoint): Promise<string> {
    const { name } = witness.key;
    const known = `${name} ${checkpoint.origin}`;
    let old = this.#sizes.get(known) ?? 0;
    // A second time where it has signed another one than was known here.
    for (let tries = 0; tries < 2; tries += 1) {
      const { status, text } = await this.#post(witness, no, old, checkpoint);
      if (status === 200) {
        const line = ownLine(witness, checkpoint, text);
        this.#sizes.set(known, checkpoint.size);
        this.#disputes.delete(`${no} ${name}`);
        return line;
      }
      if (status === 422 && tries > 0) throw this.#disputed(no, old, name, 'another one');
      if (status !== 409 || !/^[0-9]{1,16}\n$/.test(text))
        throw refused(name, `it answers ${status}: ${text.trim()}`);
      old = Number(text);
      if (old > checkpoint.size)
        throw this.#disputed(no, old, name, `that one, and the store ends with ${checkpoint.size}`);
    }
    throw refused(name, 'it signs another checkpoint each time');
  }

  async #post(
    { url, key }: WitnessPeer,
    no: TenantNo,
    old: number,
    checkpoint: SignedCheckpoint,
  ): Promise<{ status: number; text: string }> {
    const proof = this.#options.proofs.consistency(no, old, checkpoint.size);
    try {
      const response = await fetch(`${url.replace(/\/$/, '')}/add-checkpoint`, {
        method: 'POST',
        body: addCheckpointBody({ old, proof, checkpoint }),
        redirect: 'error',
        signal: AbortSignal.any([AbortSignal.timeout(ANSWER_MS), this.#ending.signal]),
      });
      return {
        status: response.status,
        text: (await boundedBody(response, MAX_ANSWER_BYTES)).toString('utf8'),
      };
    } catch (cause) {
      this.#leftOut.set(key.name, performance.now() + LEFT_OUT * this.#eachMs);
      // What fetch throws says that it failed, and its cause says why.
      throw refused(key.name, describe((cause as Error).cause ?? cause), cause);
    }
  }

  /** What is under way is given up: it is asked for again after the next start. */
  async [Symbol.asyncDispose](): Promise<void> {
    clearTimeout(this.#timer);
    this.#ending.abort();
    await this.#round;
  }
}

const refused = (name: string, why: string, cause?: unknown): ServiceError =>
  new ServiceError('unavailable', 'a witness has not signed', { cause, detail: `${name}: ${why}` });

/** Its signature over this checkpoint, once, as a note holds only so many; whatever else it sends is left out. */
function ownLine({ key }: WitnessPeer, { source }: SignedCheckpoint, text: string): string {
  const lines = text.split('\n').filter((line) => line.startsWith(`— ${key.name} `));
  try {
    const own = lines.find((line) => isNoteOf(parseNote(`${source}${line}\n`), key));
    if (own !== undefined) return `${own}\n`;
  } catch (cause) {
    throw refused(key.name, describe(cause), cause);
  }
  throw refused(key.name, 'what it answers is not its signature');
}
