import { parseCheckpoint, type SignedCheckpoint } from '../../merkle/checkpoint.ts';
import type { Frontier } from '../../merkle/frontier.ts';
import { type Hash, isSame, leafHash } from '../../merkle/hashes.ts';
import { parseVkey, SignatureType, vkeyOf } from '../../merkle/keys.ts';
import { isNoteOf } from '../../merkle/note.ts';
import { verifyConsistency } from '../../merkle/proofs.ts';

/** Why a part of a log is not kept: each has a record, at most once an hour. */
export type RefusalKind = 'name' | 'key' | 'sender' | 'signature' | 'rollback' | 'history' | 'entry';

/** Thrown where what was sent is not the continuation of the log that is kept. */
export class Unfit extends Error {
  readonly kind: RefusalKind;

  constructor(kind: RefusalKind, message: string, cause?: unknown) {
    super(message, { cause });
    this.kind = kind;
  }
}

/** A checkpoint with the key that signed it. */
export interface Stated extends SignedCheckpoint {
  /** The verifier key, in the one form that it has. */
  readonly vkey: string;
}

/** A checkpoint that the key signed, of a log that the key is named by. Throws `Unfit`. */
export function statedBy(vkey: string, source: string): Stated {
  try {
    const [key, checkpoint] = [parseVkey(vkey), parseCheckpoint(source)];
    if (key.type !== SignatureType.ED25519 || key.name !== checkpoint.origin)
      throw new Error('the key is not that of the log');
    if (!isNoteOf(checkpoint.note, key)) throw new Error('the key has not signed it');
    return { ...checkpoint, vkey: vkeyOf(key) };
  } catch (cause) {
    throw new Unfit('signature', `its checkpoint proves nothing: ${(cause as Error).message}`, cause);
  }
}

/** How a log goes on: entries from an index on, the checkpoint that they lie under, and that they do. */
export interface Continuation {
  readonly from: number;
  readonly entries: readonly Uint8Array[];
  readonly checkpoint: SignedCheckpoint;
  /** That the tree of the checkpoint is the one of the entries up to the last of these, with others appended. */
  readonly proof: readonly Hash[];
}

/** What is kept of the log. */
export interface Kept {
  /** Of its tree; left as it is. */
  readonly frontier: Frontier;
  /** The hash of an entry that is kept. */
  readonly leaf: (index: number) => Hash;
  /** What it stated before, which its entries may not have come to yet. */
  readonly stated: { readonly size: number; readonly root: Hash } | undefined;
}

/** The tree with the entries that are new, and those. */
export interface Continued {
  readonly frontier: Frontier;
  readonly fresh: readonly Uint8Array[];
  /** Their hashes. */
  readonly leaves: readonly Hash[];
}

/**
 * The tree with the entries that are new appended, if it is the one that the checkpoint states (RFC 6962 section 2.1.2).
 * What was sent before is to be what is kept. Throws `Unfit`.
 */
export function continued(kept: Kept, { from, entries, checkpoint, proof }: Continuation): Continued {
  const { stated } = kept;
  const { size } = kept.frontier;
  refuseBackwards(checkpoint, size, stated);
  const end = from + entries.length;
  if (end > checkpoint.size)
    throw new Unfit('history', `entries up to ${end - 1} lie under a checkpoint of ${checkpoint.size}`);
  const frontier = kept.frontier.copy();
  const leaves: Hash[] = [];
  for (const [at, entry] of entries.entries()) {
    const hash = leafHash(entry);
    if (from + at >= size) {
      frontier.append(hash);
      leaves.push(hash);
    } else if (!isSame(hash, kept.leaf(from + at)))
      throw new Unfit('history', `entry ${from + at} is another than the one that is kept`);
    if (frontier.size === stated?.size && !isSame(frontier.root(), stated.root))
      throw new Unfit('history', `its first ${stated.size} entries are not those that it stated before`);
  }
  // Of less than is kept nothing is to be proved.
  if (end < size) return { frontier, fresh: [], leaves };
  if (!verifyConsistency(frontier.size, checkpoint.size, frontier.root(), checkpoint.root, proof))
    throw new Unfit(
      'history',
      `its checkpoint of ${checkpoint.size} entries is not of the first ${frontier.size} that are kept or were sent`,
    );
  return { frontier, fresh: entries.slice(Math.max(0, size - from)), leaves };
}

/** A log only grows: whoever states less than before has lost some of it. */
export function refuseBackwards(
  { size, root }: Pick<SignedCheckpoint, 'size' | 'root'>,
  kept: number,
  stated: Kept['stated'],
): void {
  const most = Math.max(kept, stated?.size ?? 0);
  if (size < most)
    throw new Unfit('rollback', `it states ${size} entries, and had ${most} before: it was put back`);
  if (stated?.size === size && !isSame(root, stated.root))
    throw new Unfit('history', `it states two histories of ${size} entries`);
}
