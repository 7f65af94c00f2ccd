import { fromBase64, toBase64 } from './base64.ts';
import { type Hash, isHash } from './hashes.ts';
import { type Note, parseNote } from './note.ts';

/** What a log states of itself at a size (C2SP tlog-checkpoint). */
export interface Checkpoint {
  /** Which log it is. */
  readonly origin: string;
  /** How many leaves its tree has. */
  readonly size: number;
  readonly root: Hash;
}

/** The text that is signed. Extension lines, which nobody can audit, it has none. Throws for what would be read otherwise. */
export function checkpointText({ origin, size, root }: Checkpoint): string {
  if (origin === '' || origin.includes('\n') || !isSize(`${size}`) || !isHash(root))
    throw new Error('there is no such checkpoint');
  return `${origin}\n${size}\n${toBase64(root)}\n`;
}

export interface SignedCheckpoint extends Checkpoint {
  readonly note: Note;
  /** As it was read. */
  readonly source: string;
}

/** Throws, in its reader's words. Says nothing of who signed it. */
export function parseCheckpoint(source: string): SignedCheckpoint {
  const note = parseNote(source);
  const [origin = '', size = '', encoded = '', ...more] = note.text.slice(0, -1).split('\n');
  const root = fromBase64(encoded);
  if (origin === '' || !isSize(size) || !root || !isHash(root) || more.includes(''))
    throw new Error('the note is no checkpoint');
  return { origin, size: Number(size), root, note, source };
}

const isSize = (text: string): boolean =>
  /^(?:0|[1-9][0-9]*)$/.test(text) && Number.isSafeInteger(Number(text));
