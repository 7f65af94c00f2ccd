import { createHash, createPublicKey, type KeyObject, verify } from 'node:crypto';

/**
 * RFC 6962, signed notes and tiles once more, by the shortest way and with `node:crypto` alone: what the server says of a
 * log is held against this.
 */

const sha256 = (...parts: Uint8Array[]): Buffer => {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest();
};

export const leafOf = (entry: Uint8Array): Buffer => sha256(Buffer.of(0), entry);
const nodeOf = (left: Uint8Array, right: Uint8Array): Buffer => sha256(Buffer.of(1), left, right);

/** MTH of RFC 6962 section 2.1, over the hashes of leaves. */
export function treeOf(leaves: readonly Uint8Array[]): Buffer {
  const [only] = leaves;
  if (!only) return sha256();
  if (leaves.length === 1) return Buffer.from(only);
  const split = splitOf(leaves.length);
  return nodeOf(treeOf(leaves.slice(0, split)), treeOf(leaves.slice(split)));
}

/** The root that a leaf and its path lead to: RFC 6962 section 2.1.1 from above. */
export function rootBy(leaf: Uint8Array, index: number, size: number, path: readonly Uint8Array[]): Buffer {
  const above = path.at(-1);
  if (size === 1) {
    if (above) throw new Error('the path is too long');
    return Buffer.from(leaf);
  }
  if (!above) throw new Error('the path is too short');
  const split = splitOf(size);
  const rest = path.slice(0, -1);
  return index < split
    ? nodeOf(rootBy(leaf, index, split, rest), above)
    : nodeOf(above, rootBy(leaf, index - split, size - split, rest));
}

const splitOf = (length: number): number => 2 ** Math.floor(Math.log2(length - 1));

export interface Stated {
  readonly origin: string;
  readonly size: number;
  readonly root: Buffer;
  /** What is signed. */
  readonly text: string;
  /** Of the first signature: the four bytes of the key's id, and the rest. */
  readonly signer: string;
  readonly keyId: Buffer;
  readonly signature: Buffer;
}

export function stated(note: string): Stated {
  const [text = '', signatures = ''] = note.split('\n\n');
  const [origin = '', size = '', root = ''] = text.split('\n');
  const [, signer = '', encoded = ''] = signatures.trimEnd().split(' ');
  const bytes = Buffer.from(encoded, 'base64');
  return {
    origin,
    size: Number(size),
    root: Buffer.from(root, 'base64'),
    text: `${text}\n`,
    signer,
    keyId: bytes.subarray(0, 4),
    signature: bytes.subarray(4),
  };
}

export interface Key {
  readonly name: string;
  readonly id: Buffer;
  readonly publicKey: KeyObject;
}

/** RFC 8410: what comes before the 32 bytes of a key. */
const SPKI = Buffer.from('302a300506032b6570032100', 'hex');

/** C2SP signed-note: name+id+key, and the id is of the name and the key. */
export function keyOf(vkey: string): Key {
  const [name = '', id = '', ...rest] = vkey.split('+');
  const material = Buffer.from(rest.join('+'), 'base64');
  if (material[0] !== 1) throw new Error('it is no key of Ed25519');
  if (sha256(Buffer.from(`${name}\n`), material).toString('hex', 0, 4) !== id)
    throw new Error('the id is of another key');
  const der = Buffer.concat([SPKI, material.subarray(1)]);
  return {
    name,
    id: Buffer.from(id, 'hex'),
    publicKey: createPublicKey({ key: der, format: 'der', type: 'spki' }),
  };
}

export const isSigned = ({ text, signer, keyId, signature }: Stated, { name, id, publicKey }: Key): boolean =>
  signer === name && keyId.equals(id) && verify(null, Buffer.from(text), publicKey, signature);

/** C2SP tlog-tiles: each entry after its length, a uint16. */
export function entriesIn(bundle: Buffer): Buffer[] {
  const entries: Buffer[] = [];
  for (let at = 0; at < bundle.length; ) {
    const end = at + 2 + bundle.readUInt16BE(at);
    if (end > bundle.length) throw new Error('the last entry is cut off');
    entries.push(bundle.subarray(at + 2, end));
    at = end;
  }
  return entries;
}

export const hashesIn = (tile: Buffer): Buffer[] =>
  Array.from({ length: tile.length / 32 }, (_, at) => tile.subarray(at * 32, at * 32 + 32));

export interface Receipt {
  readonly entry: Buffer;
  readonly index: number;
  readonly path: Buffer[];
  readonly checkpoint: Stated;
}

/** C2SP tlog-proof. */
export function receiptOf(text: string): Receipt {
  const [head = '', ...note] = text.split('\n\n');
  const [version, extra = '', index = '', ...path] = head.split('\n');
  if (version !== 'c2sp.org/tlog-proof@v1') throw new Error('it is no proof');
  return {
    entry: Buffer.from(extra.replace(/^extra /, ''), 'base64'),
    index: Number(index.replace(/^index /, '')),
    path: path.map((hash) => Buffer.from(hash, 'base64')),
    checkpoint: stated(note.join('\n\n')),
  };
}

/** Whether the entry of a receipt stands in the log of that key. */
export const isProved = ({ entry, index, path, checkpoint }: Receipt, key: Key): boolean =>
  isSigned(checkpoint, key) && rootBy(leafOf(entry), index, checkpoint.size, path).equals(checkpoint.root);
