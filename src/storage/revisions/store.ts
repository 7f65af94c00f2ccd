import { createHash } from 'node:crypto';
import { inflateRawSync } from 'node:zlib';
import { ServiceError } from '../../errors.ts';
import type { Connection } from '../database.ts';
import { reportFault } from '../faults.ts';
import type { TenantNo } from '../rows.ts';
import type { KeptPolicy, RevisionRow } from './rows.ts';

/** The revisions that are kept of tenants. What was damaged throws `unavailable`, and makes the store say so. */
export interface RevisionStore {
  policy(tenantNo: TenantNo): KeptPolicy;
  /** The newest first, from the one before `before` on. */
  list(tenantNo: TenantNo, limit: number, before?: number): RevisionRow[];
  find(tenantNo: TenantNo, revision: string): RevisionRow | undefined;
  /** Two at most of those whose names begin so: `sha256:<hex>`. */
  beginning(tenantNo: TenantNo, name: string): RevisionRow[];
  /** What was active last, of all that no longer is. */
  superseded(tenantNo: TenantNo): RevisionRow | undefined;
  hasFile(tenantNo: TenantNo, digest: string): boolean;
  file(tenantNo: TenantNo, digest: string): Buffer;
}

const COLUMNS = `revision, number, iif(is_draft = 1, 'draft', state) AS state, parent, author, message, contents, digest, tests, made_at AS madeAt,
  activated_at AS activatedAt`;

const NO_POLICY: KeptPolicy = {
  active: '',
  folder: '',
  shadow: '',
  shadowPackage: '',
  staged: '',
  share: '',
};

/** No file of a tenant is larger. */
const MAX_FILE_BYTES = 64 * 1024 * 1024;

export function revisionStore(db: Connection): RevisionStore {
  const policy = db.prepare<[number], KeptPolicy>(
    'SELECT active, folder, shadow, shadow_package AS shadowPackage, staged, share FROM policies WHERE tenant_no = ?',
  );
  const list = db.prepare<[number, number, number], RevisionRow>(
    `SELECT ${COLUMNS} FROM revisions WHERE tenant_no = ? AND number < ? ORDER BY number DESC LIMIT ?`,
  );
  const find = db.prepare<[number, string], RevisionRow>(
    `SELECT ${COLUMNS} FROM revisions WHERE tenant_no = ? AND revision = ?`,
  );
  const beginning = db.prepare<[number, string, string], RevisionRow>(
    `SELECT ${COLUMNS} FROM revisions WHERE tenant_no = ? AND revision BETWEEN ? AND ? LIMIT 2`,
  );
  const superseded = db.prepare<[number], RevisionRow>(
    `SELECT ${COLUMNS} FROM revisions WHERE tenant_no = ? AND state = 'superseded'
      ORDER BY activated_at DESC, number DESC LIMIT 1`,
  );
  const file = db
    .prepare<[number, string], Buffer>('SELECT body FROM policy_files WHERE tenant_no = ? AND digest = ?')
    .pluck();
  const isKept = db
    .prepare<[number, string], number>('SELECT 1 FROM policy_files WHERE tenant_no = ? AND digest = ?')
    .pluck();
  const sound = (no: TenantNo, row: RevisionRow): RevisionRow =>
    sha256(row.contents) === row.digest ? row : damaged(no, `revision ${row.revision}`);
  return {
    policy: (no) => policy.get(no) ?? NO_POLICY,
    list: (no, limit, before = Number.MAX_SAFE_INTEGER) =>
      list.all(no, before, limit).map((row) => sound(no, row)),
    find: (no, revision) => {
      const row = find.get(no, revision);
      return row && sound(no, row);
    },
    beginning: (no, name) => beginning.all(no, name, `${name}~`).map((row) => sound(no, row)),
    superseded: (no) => {
      const row = superseded.get(no);
      return row && sound(no, row);
    },
    hasFile: (no, digest) => isKept.get(no, digest) !== undefined,
    file: (no, digest) => {
      const body = file.get(no, digest);
      const bytes = body && unpacked(body);
      return bytes && sha256(bytes) === digest ? bytes : damaged(no, `a policy's file ${digest}`);
    },
  };
}

const sha256 = (content: string | Uint8Array): string => createHash('sha256').update(content).digest('hex');

function unpacked(body: Buffer): Buffer | undefined {
  try {
    return inflateRawSync(body, { maxOutputLength: MAX_FILE_BYTES });
  } catch {
    return undefined;
  }
}

function damaged(tenantNo: TenantNo, what: string): never {
  const text = `${what} is damaged, or gone`;
  reportFault({ tenantNo, text, lasts: true });
  throw new ServiceError('unavailable', 'the store cannot be read', { detail: text });
}
