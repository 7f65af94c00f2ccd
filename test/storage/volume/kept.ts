import { createPublicKey } from 'node:crypto';
import { existsSync, readdirSync } from 'node:fs';
import path from 'node:path';
import type { Archive } from '../../../src/audit/keeping/archive.ts';
import { Keeper } from '../../../src/audit/keeping/keeper.ts';
import type { Retention } from '../../../src/audit/keeping/options.ts';
import { LogProofs } from '../../../src/audit/proof/proofs.ts';
import { buildRecord } from '../../../src/audit/record.ts';
import type { Unsent } from '../../../src/audit/sinks/unsent.ts';
import { tenantId, uuidv7 } from '../../../src/ids.ts';
import { checkpointText } from '../../../src/merkle/checkpoint.ts';
import { EMPTY_ROOT } from '../../../src/merkle/hashes.ts';
import { SignatureType, type SignerKey } from '../../../src/merkle/keys.ts';
import { signNote } from '../../../src/merkle/note.ts';
import type { Connection } from '../../../src/storage/database.ts';
import { type RecordStore, recordStore } from '../../../src/storage/log/records.ts';
import { openReader } from '../../../src/storage/reader.ts';
import { type ReceivedStore, receivedStore } from '../../../src/storage/received/store.ts';
import type { RecordRow, TenantNo } from '../../../src/storage/rows.ts';
import { type VolumeStore, volumeStore } from '../../../src/storage/volume/store.ts';
import type { Writer } from '../../../src/storage/writer.ts';
import { eventually } from '../../e2e/server.ts';
import { newSigner } from '../../merkle/signers.ts';
import { appendRows, openStore, T0, temporaryFolder, tenantNo } from '../store.ts';

/** A store whose logs are kept, by a clock that a test sets. */

export const DAY = 86_400_000;

export interface Kept extends AsyncDisposable {
  readonly folder: string;
  readonly writer: Writer;
  readonly reader: Connection;
  readonly records: RecordStore;
  readonly volumes: VolumeStore;
  readonly received: ReceivedStore;
  readonly proofs: LogProofs;
  readonly keeper: Keeper;
  readonly no: TenantNo;
  readonly key: SignerKey;
  readonly failures: unknown[];
  now: number;
  retention: Retention;
  /** How often the log is looked at in one turn. */
  times: number;
  /** Called before each look. */
  looked: () => void;
  unsent: Unsent | undefined;
  /** Appends rows, and states a checkpoint that covers them; resolves when they are counted too. */
  grow(rows: readonly RecordRow[]): Promise<void>;
  files(): string[];
}

export interface KeptOptions {
  readonly folder?: string;
  readonly maxMib?: number;
  readonly maxDays?: number;
  readonly archive?: Archive;
  readonly archiveAfterDays?: number;
}

export async function kept(options: KeptOptions = {}): Promise<Kept> {
  await using stack = new AsyncDisposableStack();
  const folder = options.folder ?? stack.use(await temporaryFolder()).folder;
  const writer = stack.use(await openStore(folder));
  const reader = stack.adopt(openReader(folder), (db) => void db.close());
  const no = await tenantNo(writer, 'acme');
  const key = newSigner('log.example/t/acme/log/main', SignatureType.ED25519);
  await writer.run('putLogKey', {
    tenantNo: no,
    key: {
      origin: key.name,
      publicKey: createPublicKey(key.privateKey).export({ format: 'der', type: 'spki' }).subarray(-32),
      sealed: Buffer.from('sealed'),
      createdAt: T0,
    },
    note: signNote(checkpointText({ origin: key.name, size: 0, root: EMPTY_ROOT }), key),
  });
  const [volumes, proofs] = [volumeStore(reader), new LogProofs(reader, () => self.now)];
  const received = receivedStore(reader);
  const failures: unknown[] = [];
  const keeper = stack.use(
    new Keeper({
      folder,
      writer,
      store: volumes,
      proofs,
      keyOf: (of) => (of === no ? Promise.resolve(key) : Promise.reject(new Error('its key is elsewhere'))),
      tenants: function* () {
        for (let n = 0; n < self.times; n += 1) {
          self.looked();
          const [id, { retention }] = [tenantId('acme'), self];
          yield { id, no, retention };
          for (const other of received.list(no)) yield { id, no: other.no, retention, other };
        }
      },
      reached: (...asked) => received.reached(...asked),
      settings: { maxMib: options.maxMib ?? 256, maxDays: options.maxDays ?? 30 },
      archive: options.archive,
      archiveAfterDays: options.archiveAfterDays,
      record: (tenant, caller, action, detail) =>
        buildRecord({
          tenantNo: tenant.other?.tenantNo ?? tenant.no,
          time: self.now,
          kind: 'administration',
          outcome: 'done',
          decisionId: uuidv7(self.now, Buffer.alloc(10)),
          caller,
          subject: undefined,
          actor: undefined,
          members: `,"detail":${JSON.stringify(detail)}`,
          input: JSON.stringify({ action: { name: action } }),
        }),
      unsent: () => self.unsent,
      clock: () => self.now,
      failed: (error) => void failures.push(error),
    }),
  );
  const counted = reader.prepare<[number], number>('SELECT size FROM logs WHERE tenant_no = ?').pluck();
  const running = stack.move();
  const self: Kept = {
    folder,
    writer,
    reader,
    records: recordStore(reader),
    volumes,
    received,
    proofs,
    keeper,
    no,
    key,
    failures,
    now: T0,
    retention: {},
    times: 1,
    looked: () => undefined,
    unsent: undefined,
    async grow(rows) {
      await appendRows(writer, rows);
      await state(self);
      const size = self.records.size(no);
      await eventually(
        () => Promise.resolve(counted.get(no) ?? 0),
        (found) => found === size,
      );
    },
    files: () => filesOf(folder),
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
  return self;
}

/** The newest checkpoint covers all that is there. */
export async function state({ writer, no, key }: Kept): Promise<void> {
  const { value } = await writer.run('grownLogs', { limit: 10 });
  const grown = value.find((each) => each.no === no);
  if (!grown) return;
  const note = signNote(checkpointText({ origin: key.name, ...grown }), key);
  await writer.run('putCheckpoint', { tenantNo: no, size: grown.size, note });
}

/** In the order of the log. */
export const filesOf = (folder: string): string[] =>
  existsSync(path.join(folder, 'volumes'))
    ? readdirSync(path.join(folder, 'volumes'), { recursive: true, withFileTypes: true })
        .filter((each) => each.isFile())
        .map((each) => path.join(each.parentPath, each.name))
        .sort((a, b) => firstOf(a) - firstOf(b))
    : [];

const firstOf = (file: string): number => Number(path.basename(file).split('-')[0]);

/** All records that can be read, by their index. */
export const allOf = ({ records, no }: Kept): Map<number, string> =>
  new Map(
    records.range(no, 0, 1_000_000).map(({ index, body }) => [index, Buffer.from(body).toString('utf8')]),
  );
