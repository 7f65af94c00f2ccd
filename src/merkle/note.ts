import { fromBase64, toBase64 } from './base64.ts';
import { isKeyName, isSignedBy, SignatureType, type SignerKey, signWith, type VerifierKey } from './keys.ts';

/** A signed note (C2SP signed-note), as it was read. */
export interface Note {
  /** With its last newline: what is signed. */
  readonly text: string;
  readonly signatures: readonly NoteSignature[];
}

export interface NoteSignature {
  readonly name: string;
  /** The first four bytes of the line. */
  readonly id: Uint8Array;
  readonly bytes: Uint8Array;
}

/** Sixteen signatures of 5 kB must fit; golang.org/x/mod has the same bound. */
const MAX_NOTE_LENGTH = 1_000_000;
const MAX_SIGNATURES = 64;
const ID_BYTES = 4;

/** Throws, in its reader's words, for what is no signed note. */
export function parseNote(source: string): Note {
  if (source.length > MAX_NOTE_LENGTH) throw new Error('the note is too long');
  // Control characters are those below U+0020. What is no UTF-8 was made U+FFFD by whoever decoded it.
  if (/[[\p{Cc}--[\n\x7f-\x9f]]\ufffd]/v.test(source) || !source.isWellFormed())
    throw new Error('the note has characters that none has');
  const end = source.lastIndexOf('\n\n');
  if (end < 0 || !source.endsWith('\n')) throw new Error('the note has no signatures');
  const lines = source.slice(end + 2, -1).split('\n');
  if (lines.length > MAX_SIGNATURES) throw new Error('the note has too many signatures');
  return { text: source.slice(0, end + 1), signatures: lines.map(parseSignature) };
}

function parseSignature(line: string): NoteSignature {
  const [dash, name = '', encoded = '', ...more] = line.split(' ');
  const bytes = fromBase64(encoded);
  if (dash !== '—' || !isKeyName(name) || !bytes || bytes.length <= ID_BYTES || more.length > 0)
    throw new Error('a line of the note is no signature');
  return { name, id: bytes.subarray(0, ID_BYTES), bytes: bytes.subarray(ID_BYTES) };
}

/** The note with a signature of a log's own over its text. Throws for a text that no note has. */
export const signNote = (text: string, signer: SignerKey): string =>
  signedNote(text, signer, signWith(signer, Buffer.from(text)));

/** The same with a signature that was made elsewhere. */
export function signedNote(text: string, key: VerifierKey, signature: Uint8Array): string {
  if (key.type !== SignatureType.ED25519) throw new Error('a note is signed by a key of its own type');
  const source = `${text}\n${signatureLine(key, signature)}`;
  if (parseNote(source).text !== text) throw new Error('the text is none of a note');
  return source;
}

/** With its newline. */
export const signatureLine = ({ name, id }: VerifierKey, signature: Uint8Array): string =>
  `— ${name} ${toBase64(Buffer.concat([id, signature]))}\n`;

/**
 * Whether a key signed the note: false where there is no line of it. Throws where there is one that does not verify, as
 * the note is to be refused then, whoever else signed it.
 */
export function isNoteOf(note: Note, key: VerifierKey): boolean {
  const own = note.signatures.filter(({ name, id }) => name === key.name && Buffer.compare(id, key.id) === 0);
  for (const { bytes } of own)
    if (!isSignature(note, key, bytes)) throw new Error(`the signature of ${key.name} is not over this text`);
  return own.length > 0;
}

/** C2SP tlog-cosignature: a witness signs the time, too. */
function isSignature({ text }: Note, key: VerifierKey, bytes: Uint8Array): boolean {
  if (key.type === SignatureType.ED25519) return isSignedBy(key, Buffer.from(text), bytes);
  if (bytes.length < TIME_BYTES) return false;
  const seconds = Buffer.from(bytes).readBigUInt64BE();
  return seconds <= LAST_SECOND && isSignedBy(key, cosigned(text, seconds), bytes.subarray(TIME_BYTES));
}

const TIME_BYTES = 8;
const LAST_SECOND = 2n ** 63n - 1n;

const cosigned = (text: string, seconds: bigint): Uint8Array =>
  Buffer.from(`cosignature/v1\ntime ${seconds}\n${text}`);

/** The line of a witness for a checkpoint's text, at a time in seconds since the epoch. */
export function cosignatureLine(text: string, signer: SignerKey, seconds: bigint): string {
  if (signer.type !== SignatureType.COSIGNATURE) throw new Error('a witness signs by a key of its own type');
  if (seconds > LAST_SECOND) throw new RangeError('there is no such time');
  const time = Buffer.alloc(TIME_BYTES);
  time.writeBigUInt64BE(seconds);
  return signatureLine(signer, Buffer.concat([time, signWith(signer, cosigned(text, seconds))]));
}
