import { fromBase64, toBase64 } from './base64.ts';
import { HASH_BYTES } from './hashes.ts';
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

/** C2SP tlog-cosignature: a cosigner signs the time, too. */
function isSignature({ text }: Note, key: VerifierKey, bytes: Uint8Array): boolean {
  if (key.type === SignatureType.ED25519) return isSignedBy(key, Buffer.from(text), bytes);
  if (bytes.length < TIME_BYTES) return false;
  const seconds = Buffer.from(bytes).readBigUInt64BE();
  if (seconds > LAST_SECOND) return false;
  const message = cosignedMessage(text, key, seconds);
  return message !== undefined && isSignedBy(key, message, bytes.subarray(TIME_BYTES));
}

const TIME_BYTES = 8;
const LAST_SECOND = 2n ** 63n - 1n;

/**
 * What a cosigner signs of a checkpoint's text, at a time in seconds since the epoch. Undefined for a text of which a key
 * of its type signs nothing.
 */
export function cosignedMessage(text: string, key: VerifierKey, seconds: bigint): Uint8Array | undefined {
  if (key.type === SignatureType.COSIGNATURE) return Buffer.from(`cosignature/v1\ntime ${seconds}\n${text}`);
  return key.type === SignatureType.ML_DSA_44 ? subtreeMessage(text, key.name, seconds) : undefined;
}

/** The structure `cosigned_message`, of the whole tree: its first leaf is 0. */
function subtreeMessage(text: string, name: string, seconds: bigint): Uint8Array | undefined {
  const [origin = '', size = '', root = ''] = text.split('\n');
  const hash = fromBase64(root);
  const [cosigner, log] = [opaque(name), opaque(origin)];
  if (!cosigner || !log || hash?.length !== HASH_BYTES || !/^(?:0|[1-9][0-9]{0,15})$/.test(size))
    return undefined;
  return Buffer.concat([
    Buffer.from('subtree/v1\n\0'),
    cosigner,
    uint64(seconds),
    log,
    uint64(0n),
    uint64(BigInt(size)),
    hash,
  ]);
}

/** RFC 8446 section 3.4: `opaque<1..2^8-1>`. */
function opaque(text: string): Uint8Array | undefined {
  const bytes = Buffer.from(text);
  return bytes.length >= 1 && bytes.length <= 0xff
    ? Buffer.concat([Buffer.of(bytes.length), bytes])
    : undefined;
}

function uint64(value: bigint): Uint8Array {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(value);
  return bytes;
}

/** The line of a cosigner for a checkpoint's text, at a time in seconds since the epoch. */
export function cosignatureLine(text: string, signer: SignerKey, seconds: bigint): string {
  const message = cosignedMessage(text, signer, seconds);
  if (!message) throw new Error('a witness signs by a key of its own type');
  return cosignatureLineOf(signer, seconds, signWith(signer, message));
}

/** The same of a signature that was made elsewhere, over `cosignedMessage`. */
export function cosignatureLineOf(key: VerifierKey, seconds: bigint, signature: Uint8Array): string {
  if (seconds > LAST_SECOND) throw new RangeError('there is no such time');
  return signatureLine(key, Buffer.concat([uint64(seconds), signature]));
}
