import { checkpointText, parseCheckpoint } from '../../src/merkle/checkpoint.ts';
import type { Hash } from '../../src/merkle/hashes.ts';
import { SignatureType, type SignerKey } from '../../src/merkle/keys.ts';
import { signNote } from '../../src/merkle/note.ts';
import {
  addCheckpointBody,
  Witness,
  type WitnessAnswer,
  type Witnessed,
  type WitnessState,
} from '../../src/merkle/witness.ts';
import { type ReferenceTree, referenceTree } from './reference.ts';
import { newSigner } from './signers.ts';

/** A witness in memory, and what is sent to it, by a log that is written after RFC 6962. */

export const SECONDS = 1_767_225_600.5;

export const log = newSigner('log.example/a', SignatureType.ED25519);
export const other = newSigner('log.example/b', SignatureType.ED25519);
export const tree: ReferenceTree = referenceTree(300);

export class MemoryState implements WitnessState {
  readonly #latest = new Map<string, Witnessed>();
  fails = false;

  update(origin: string, decide: (latest: Witnessed | undefined) => Witnessed | undefined): void {
    const next = decide(this.of(origin));
    if (this.fails) throw new Error('the disk is full');
    if (next) this.#latest.set(origin, next);
  }

  of = (origin: string): Witnessed | undefined => this.#latest.get(origin);
}

export interface WitnessedLog {
  readonly key: SignerKey;
  readonly state: MemoryState;
  readonly add: (body: string, seconds?: number) => WitnessAnswer;
}

export function witness(logs: readonly SignerKey[] = [log, other]): WitnessedLog {
  const key = newSigner('witness.example/w1', SignatureType.COSIGNATURE);
  const state = new MemoryState();
  const made = new Witness(key, logs, state);
  return { key, state, add: (body, seconds = SECONDS) => made.addCheckpoint(body, seconds) };
}

interface Changes {
  readonly by?: SignerKey;
  readonly origin?: string;
  readonly root?: Hash;
  readonly proof?: readonly Hash[];
  readonly of?: ReferenceTree;
}

/** The request of the log at a size to a witness that has signed another. */
export function bodyOf(old: number, size: number, changes: Changes = {}): string {
  const { by = log, of = tree, origin = by.name, root = of.mth(0, size) } = changes;
  const proof = changes.proof ?? (old > 0 && old < size ? of.proof(old, size) : []);
  const checkpoint = parseCheckpoint(signNote(checkpointText({ origin, size, root }), by));
  return addCheckpointBody({ old, proof, checkpoint });
}
