import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { chmodSync, existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import Database from 'better-sqlite3';
import { describe, ServiceError } from '../../errors.ts';
import { SignatureType, type SignerKey, verifierKey } from '../../merkle/keys.ts';
import type { Witnessed, WitnessState } from '../../merkle/witness.ts';
import { makeDurably, makeFolder } from '../../storage/files.ts';

/** What a witness has to keep: its key, and what it signed last of each log. */
export interface WitnessStore extends Disposable {
  readonly key: SignerKey;
  readonly state: WitnessState;
}

/**
 * Opens the folder of a witness, or makes it with a new key. Throws `config_invalid`: also where another witness runs on
 * it, as two could sign what one would not.
 */
export function openWitness(folder: string, name: string): WitnessStore {
  makeFolder(folder);
  const privateKey = keyIn(path.join(folder, 'witness.key'));
  const db = open(path.join(folder, 'witness.db'));
  const latest = db.prepare<[string], Witnessed>('SELECT size, root FROM witnessed WHERE origin = ?');
  const put = db.prepare(
    `INSERT INTO witnessed (origin, size, root) VALUES (?, ?, ?)
     ON CONFLICT DO UPDATE SET size = excluded.size, root = excluded.root`,
  );
  const update = db.transaction(
    (origin: string, decide: (known: Witnessed | undefined) => Witnessed | undefined) => {
      const next = decide(latest.get(origin));
      if (next) put.run(origin, next.size, next.root);
    },
  );
  return {
    key: { ...verifierKey(name, SignatureType.COSIGNATURE, createPublicKey(privateKey)), privateKey },
    state: { update: (origin, decide) => update.immediate(origin, decide) },
    [Symbol.dispose]: () => void db.close(),
  };
}

function open(file: string): Database.Database {
  const db = new Database(file, { timeout: 0 });
  try {
    chmodSync(file, 0o600);
    // Held for as long as it is open, by the first lock that is taken.
    db.pragma('locking_mode = EXCLUSIVE');
    db.pragma('journal_mode = DELETE');
    db.pragma('synchronous = FULL');
    db.exec(
      'CREATE TABLE IF NOT EXISTS witnessed (origin TEXT PRIMARY KEY, size INTEGER NOT NULL, root BLOB NOT NULL) STRICT, WITHOUT ROWID',
    );
    db.exec('BEGIN IMMEDIATE; COMMIT');
    return db;
  } catch (cause) {
    db.close();
    const isHeld = (cause as { code?: string }).code === 'SQLITE_BUSY';
    const why = isHeld ? 'another witness runs on it' : describe(cause);
    throw new ServiceError('config_invalid', `${file} cannot be opened: ${why}`, { cause });
  }
}

function keyIn(file: string): KeyObject {
  if (!existsSync(file)) {
    const { privateKey } = generateKeyPairSync('ed25519');
    makeDurably(file, Buffer.from(privateKey.export({ format: 'pem', type: 'pkcs8' })));
  }
  try {
    return createPrivateKey(readFileSync(file));
  } catch (cause) {
    throw new ServiceError('config_invalid', `${file} is no private key: ${describe(cause)}`, { cause });
  }
}
