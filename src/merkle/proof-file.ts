import { fromBase64, toBase64 } from './base64.ts';
import { parseCheckpoint, type SignedCheckpoint } from './checkpoint.ts';
import { type Hash, isHash, leafHash } from './hashes.ts';
import { verifyInclusion } from './proofs.ts';

/** C2SP tlog-proof: that an entry stands in a log, for who has the entry and the log's key. */
export interface ProofFile {
  /** What the entry cannot be had without, if anything: nothing proves it. */
  readonly extra?: Uint8Array | undefined;
  readonly index: number;
  readonly path: readonly Hash[];
  readonly checkpoint: SignedCheckpoint;
}

const HEAD = 'c2sp.org/tlog-proof@v1';
/** A tree of 2^53 leaves is no higher. */
const MAX_PATH = 53;

export function proofText({ extra, index, path, checkpoint }: ProofFile): string {
  const lines = [
    HEAD,
    ...(extra === undefined ? [] : [`extra ${toBase64(extra)}`]),
    `index ${index}`,
    ...path.map(toBase64),
  ];
  return `${lines.join('\n')}\n\n${checkpoint.source}`;
}

/** Throws, in its reader's words. */
export function parseProof(text: string): ProofFile {
  const end = text.indexOf('\n\n');
  const [head, ...lines] = text.slice(0, end < 0 ? 0 : end).split('\n');
  if (head !== HEAD) throw new Error(`the proof does not begin with ${HEAD}`);
  const extra = lines[0]?.startsWith('extra ') ? lines.shift()?.slice(6) : undefined;
  const index = Number(/^index (0|[1-9][0-9]{0,15})$/.exec(lines.shift() ?? '')?.[1]);
  const path = lines.map(fromBase64);
  const isPath = path.length <= MAX_PATH && path.every((hash) => hash && isHash(hash));
  const opaque = extra === undefined ? undefined : fromBase64(extra);
  if (!Number.isSafeInteger(index) || !isPath || (extra !== undefined && !opaque))
    throw new Error('the proof is not in the form of c2sp.org/tlog-proof');
  return {
    ...(opaque && { extra: opaque }),
    index,
    path: path as Hash[],
    checkpoint: parseCheckpoint(text.slice(end + 2)),
  };
}

/** Whether it proves that the entry stands there in the tree of its checkpoint. Who signed that is another question. */
export const isProofOf = ({ index, path, checkpoint }: ProofFile, entry: Uint8Array): boolean =>
  verifyInclusion(leafHash(entry), index, checkpoint.size, path, checkpoint.root);
