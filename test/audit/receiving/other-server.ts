import { generateKeyPairSync } from 'node:crypto';
import type { Shipment } from '../../../src/audit/receiving/shipment.ts';
import { checkpointText } from '../../../src/merkle/checkpoint.ts';
import { hashesIn, leafHash } from '../../../src/merkle/hashes.ts';
import { SignatureType, type SignerKey, verifierKey, vkeyOf } from '../../../src/merkle/keys.ts';
import { signNote } from '../../../src/merkle/note.ts';
import { consistencyProof, rootOf, rootOfTile, type TileHashes } from '../../../src/merkle/tree.ts';

/** A log that another server made, honest or not: it signs whatever it is told to. */
export class OtherLog {
  readonly entries: Buffer[] = [];
  readonly key: SignerKey;

  constructor(origin = 'pdp.acme.test/t/acme/log/other', key?: SignerKey) {
    const { privateKey, publicKey } = generateKeyPairSync('ed25519');
    this.key = key ?? { ...verifierKey(origin, SignatureType.ED25519, publicKey), privateKey };
  }

  /** The same up to an index, by the same key. */
  forked(at: number): OtherLog {
    const fork = new OtherLog(this.key.name, this.key);
    fork.entries.push(...this.entries.slice(0, at));
    return fork;
  }

  get vkey(): string {
    return vkeyOf(this.key);
  }

  get #tiles(): TileHashes {
    const read = (level: number, from: number, end: number): Uint8Array => {
      if (level === 0) return Buffer.concat(this.entries.slice(from, end).map((each) => leafHash(each)));
      const below = Array.from({ length: end - from }, (_, n) =>
        rootOfTile(read(level - 1, (from + n) * 256, (from + n + 1) * 256)),
      );
      return Buffer.concat(below);
    };
    return { read };
  }

  checkpoint(size = this.entries.length): string {
    const root = rootOf(this.#tiles, size);
    return signNote(checkpointText({ origin: this.key.name, size, root }), this.key);
  }

  /** From one index to before another, under a checkpoint of a size. */
  shipment(from: number, to: number, size = this.entries.length): Shipment {
    return {
      key: this.vkey,
      checkpoint: this.checkpoint(size),
      from,
      entries: this.entries.slice(from, to),
      proof: [...hashesIn(Buffer.concat(consistencyProof(this.#tiles, to, size)))],
      parts: [],
    };
  }
}
