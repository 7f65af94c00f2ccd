import { fromBase64, toBase64 } from './base64.ts';
import { parseCheckpoint, type SignedCheckpoint } from './checkpoint.ts';
import { EMPTY_ROOT, HASH_BYTES, type Hash } from './hashes.ts';
import type { SignerKey, VerifierKey } from './keys.ts';
import { cosignatureLine, isNoteOf } from './note.ts';
import { verifyConsistency } from './proofs.ts';

/** C2SP tlog-witness: what is sent to `add-checkpoint`. */
export interface AddCheckpoint {
  /** The size of the checkpoint that the witness signed last. */
  readonly old: number;
  readonly proof: readonly Hash[];
  readonly checkpoint: SignedCheckpoint;
}

const MAX_PROOF = 63;

/** The most bytes of a request: a note and a proof. */
export const MAX_REQUEST_BYTES = 128 * 1024;

export const addCheckpointBody = ({ old, proof, checkpoint }: AddCheckpoint): string =>
  `${[`old ${old}`, ...proof.map(toBase64)].join('\n')}\n\n${checkpoint.source}`;

/** Throws, in its sender's words. */
export function parseAddCheckpoint(body: string): AddCheckpoint {
  const end = body.indexOf('\n\n');
  if (end < 0) throw new Error('the request has no empty line');
  const [first = '', ...lines] = body.slice(0, end).split('\n');
  const old = /^old (0|[1-9][0-9]{0,15})$/.exec(first)?.[1];
  if (old === undefined || !Number.isSafeInteger(Number(old)))
    throw new Error('the request does not begin with the old size');
  if (lines.length > MAX_PROOF) throw new Error(`the proof has more than ${MAX_PROOF} lines`);
  const proof = lines.map(fromBase64);
  if (!proof.every((hash) => hash?.length === HASH_BYTES)) throw new Error('a line of the proof is no hash');
  return { old: Number(old), proof: proof as Hash[], checkpoint: parseCheckpoint(body.slice(end + 2)) };
}

/** What a witness has signed of a log last. */
export interface Witnessed {
  readonly size: number;
  readonly root: Hash;
}

export interface WitnessState {
  /**
   * Reads what was signed last of a log and, where `decide` answers something, keeps that in its place: nothing comes
   * between, and it is durable when this returns.
   */
  update(origin: string, decide: (latest: Witnessed | undefined) => Witnessed | undefined): void;
}

/** As it is sent back. */
export interface WitnessAnswer {
  readonly status: 200 | 400 | 403 | 404 | 409 | 422;
  readonly type: 'text/plain; charset=utf-8' | 'text/x.tlog.size';
  readonly body: string;
}

/**
 * A witness (C2SP tlog-witness): it signs that a log is what it was with leaves appended, by what it saw of it before. A
 * log that shows one history to some and another to others cannot have both signed.
 */
export class Witness {
  readonly #key: SignerKey;
  readonly #logs: readonly VerifierKey[];
  readonly #state: WitnessState;

  constructor(key: SignerKey, logs: readonly VerifierKey[], state: WitnessState) {
    this.#key = key;
    this.#logs = logs;
    this.#state = state;
  }

  /** `seconds`: the time since the epoch. */
  addCheckpoint(body: string, seconds: number): WitnessAnswer {
    let asked: AddCheckpoint;
    try {
      asked = parseAddCheckpoint(body);
    } catch (error) {
      return refused(400, (error as Error).message);
    }
    const { old, checkpoint } = asked;
    const keys = this.#logs.filter(({ name }) => name === checkpoint.origin);
    if (keys.length === 0) return refused(404, `the log ${checkpoint.origin} is not known here`);
    if (!isSigned(checkpoint, keys)) return refused(403, `the log ${checkpoint.origin} has not signed it`);
    if (old > checkpoint.size) return refused(400, 'the old size is larger than the checkpoint');
    let answer: WitnessAnswer | undefined;
    this.#state.update(checkpoint.origin, (latest) => {
      answer = refusalOf(asked, latest);
      return answer ? undefined : { size: checkpoint.size, root: checkpoint.root };
    });
    return (
      answer ?? plain(200, cosignatureLine(checkpoint.note.text, this.#key, BigInt(Math.floor(seconds))))
    );
  }
}

function isSigned({ note }: SignedCheckpoint, keys: readonly VerifierKey[]): boolean {
  try {
    // All are looked at: one that does not verify refuses the note.
    return keys.filter((key) => isNoteOf(note, key)).length > 0;
  } catch {
    return false;
  }
}

function refusalOf(
  { old, proof, checkpoint }: AddCheckpoint,
  latest: Witnessed | undefined,
): WitnessAnswer | undefined {
  const { size = 0, root = EMPTY_ROOT } = latest ?? {};
  if (old !== size) return { status: 409, type: 'text/x.tlog.size', body: `${size}\n` };
  return verifyConsistency(old, checkpoint.size, root, checkpoint.root, proof)
    ? undefined
    : refused(422, 'it is not proved that the log was only appended to');
}

const plain = (status: WitnessAnswer['status'], body: string): WitnessAnswer => ({
  status,
  type: 'text/plain; charset=utf-8',
  body,
});

const refused = (status: WitnessAnswer['status'], why: string): WitnessAnswer => plain(status, `${why}\n`);
