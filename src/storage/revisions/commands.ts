import type { Connection } from '../database.ts';
import type { TenantNo } from '../rows.ts';
import type { KeptFile, KeptPolicy, NewRevision, RevisionState } from './rows.ts';

/** Beyond so many, or so much of their files, the oldest that no longer decide go. */
const MAX_KEPT = 200;
const MAX_BYTES = 256 * 1024 * 1024;

/** What is to decide from now on. */
export interface Activation {
  readonly revision: string;
  /** What decided when this was asked for; left out: whatever it is. */
  readonly expected?: string | undefined;
  /** Milliseconds since the epoch. */
  readonly at: number;
}

export interface RevisionCommands {
  /**
   * Keeps a revision, makes one active, or both; of a draft that is kept so the tests have passed. `undefined` where another
   * is active than was expected, or what is to be active is a draft.
   */
  readonly keepRevision: (args: {
    tenantNo: TenantNo;
    kept?: { readonly row: NewRevision; readonly files: readonly KeptFile[] } | undefined;
    active?: Activation | undefined;
    /** The digest of what the folder held that this was taken from; left out: it was taken from none. */
    folder?: string | undefined;
  }) => boolean | undefined;
  /** Keeps a revision whose tests were not run: it is neither made active nor tried. One that is kept stays what it is. */
  readonly keepDraft: (args: {
    tenantNo: TenantNo;
    kept: { readonly row: NewRevision; readonly files: readonly KeptFile[] };
  }) => boolean;
  /** Its tests passed. `undefined` where it is no draft, or kept no more. */
  readonly validateRevision: (args: {
    tenantNo: TenantNo;
    revision: string;
    /** JSON: what they came to. */
    tests: string;
  }) => true | undefined;
  /**
   * Tries a kept revision as a shadow, or stages it; an empty name ends what is tried so. `undefined` where it is not kept,
   * active already, or a draft.
   */
  readonly tryRevision: (args: {
    tenantNo: TenantNo;
    as: 'shadow' | 'staged';
    revision: string;
    /** JSON of a Share, for what is staged. */
    share: string;
    /** Of a shadow: see `KeptPolicy.shadowPackage`. */
    only?: string;
  }) => boolean | undefined;
}

type Kept = Parameters<RevisionCommands['keepDraft']>[0]['kept'];

export function prepareRevisions(db: Connection): RevisionCommands {
  const insert = db.prepare<[object]>(`
    INSERT INTO revisions (tenant_no, revision, number, state, parent, author, message, contents, digest, tests, made_at, is_draft)
    SELECT @no, @revision, coalesce(max(number), 0) + 1, 'validated', @parent, @author, @message, @contents, @digest,
      @tests, @madeAt, @isDraft FROM revisions WHERE tenant_no = @no
    ON CONFLICT (tenant_no, revision) DO NOTHING`);
  const name = db.prepare(
    'INSERT INTO revision_files (tenant_no, revision, digest) VALUES (?, ?, ?) ON CONFLICT DO NOTHING',
  );
  const insertFile = db.prepare(
    'INSERT INTO policy_files (tenant_no, digest, body) VALUES (?, ?, ?) ON CONFLICT DO NOTHING',
  );
  const policy = db.prepare<[number], Pick<KeptPolicy, 'active' | 'folder'>>(
    'SELECT active, folder FROM policies WHERE tenant_no = ?',
  );
  const setPolicy = db.prepare<[object]>(`
    INSERT INTO policies (tenant_no, active, folder) VALUES (@no, @revision, @folder)
    ON CONFLICT DO UPDATE SET active = excluded.active, folder = excluded.folder`);
  const supersede = db.prepare(
    "UPDATE revisions SET state = 'superseded' WHERE tenant_no = ? AND state = 'active'",
  );
  const promote = db.prepare(
    "UPDATE revisions SET state = 'active', activated_at = ? WHERE tenant_no = ? AND revision = ?",
  );
  const stateOf = db
    .prepare<[number, string], RevisionState>(
      "SELECT iif(is_draft = 1, 'draft', state) FROM revisions WHERE tenant_no = ? AND revision = ?",
    )
    .pluck();
  const untried = db.prepare<[object]>(`
    UPDATE policies SET shadow_package = iif(shadow = @revision, '', shadow_package), shadow = iif(shadow = @revision, '', shadow), staged = iif(staged = @revision, '', staged),
      share = iif(staged = @revision, '', share) WHERE tenant_no = @no`);
  const endTrial = db.prepare<[object]>(`
    UPDATE revisions SET state = iif(activated_at IS NULL, 'validated', 'superseded') WHERE tenant_no = @no AND state = @as`);
  const tried = db.prepare<[object]>(`
    UPDATE revisions SET state = @as WHERE tenant_no = @no AND revision = @revision`);
  const setTrial = {
    shadow: db.prepare<[object]>(
      'UPDATE policies SET shadow = @revision, shadow_package = @only WHERE tenant_no = @no',
    ),
    staged: db.prepare<[object]>(
      'UPDATE policies SET staged = @revision, share = @share WHERE tenant_no = @no',
    ),
  };
  const validate = db.prepare<[object]>(
    'UPDATE revisions SET is_draft = 0, tests = @tests WHERE tenant_no = @no AND revision = @revision AND is_draft = 1',
  );
  const many = db.prepare<[object], { revisions: number; bytes: number }>(`
    SELECT (SELECT count(*) FROM revisions WHERE tenant_no = @no) AS revisions,
      (SELECT coalesce(sum(length(body)), 0) FROM policy_files WHERE tenant_no = @no) AS bytes`);
  const oldest = db
    .prepare<[number], string>(
      "SELECT revision FROM revisions WHERE tenant_no = ? AND state IN ('validated', 'superseded') ORDER BY number LIMIT 1",
    )
    .pluck();
  const remove = db.prepare('DELETE FROM revisions WHERE tenant_no = ? AND revision = ?');
  const unname = db.prepare('DELETE FROM revision_files WHERE tenant_no = ? AND revision = ?');
  const removeFiles = db.prepare(`
    DELETE FROM policy_files WHERE tenant_no = @no
      AND NOT EXISTS (SELECT 1 FROM revision_files r WHERE r.tenant_no = @no AND r.digest = policy_files.digest)`);

  /** The one just kept stays. */
  const prune = (no: TenantNo, newest: string): void => {
    for (;;) {
      const { revisions = 0, bytes = 0 } = many.get({ no }) ?? {};
      const least = revisions > MAX_KEPT || bytes > MAX_BYTES ? oldest.get(no) : undefined;
      if (least === undefined || least === newest) return;
      remove.run(no, least);
      unname.run(no, least);
      removeFiles.run({ no });
    }
  };

  /** Answers whether it was not kept before. */
  const keep = (no: TenantNo, { row, files }: Kept, isDraft: 0 | 1): boolean => {
    if (insert.run({ no, ...row, isDraft }).changes !== 1) return false;
    const { files: named } = JSON.parse(row.contents) as { files: [string, string][] };
    for (const [, digest] of named) name.run(no, row.revision, digest);
    for (const { digest, body } of files) insertFile.run(no, digest, body);
    prune(no, row.revision);
    return true;
  };
  const mayServe = (no: TenantNo, revision: string): boolean => {
    const state = stateOf.get(no, revision);
    return state !== undefined && state !== 'draft';
  };

  return {
    keepRevision: ({ tenantNo: no, kept, active, folder }) => {
      const before = policy.get(no) ?? { active: '', folder: '' };
      if (active?.expected !== undefined && active.expected !== before.active) return undefined;
      // Nothing is undone of what was done: what does not hold is found out before.
      if (active && active.revision !== kept?.row.revision && !mayServe(no, active.revision))
        return undefined;
      if (kept && !keep(no, kept, 0))
        validate.run({ no, revision: kept.row.revision, tests: kept.row.tests });
      if (active) {
        supersede.run(no);
        promote.run(active.at, no, active.revision);
        untried.run({ no, revision: active.revision });
      }
      const revision = active?.revision ?? before.active;
      if (active || folder !== undefined) setPolicy.run({ no, revision, folder: folder ?? before.folder });
      return true;
    },
    keepDraft: ({ tenantNo: no, kept }) => {
      keep(no, kept, 1);
      return true;
    },
    validateRevision: ({ tenantNo: no, revision, tests }) =>
      validate.run({ no, revision, tests }).changes === 1 || undefined,
    tryRevision: ({ tenantNo: no, as, revision, share, only = '' }) => {
      const state = revision === '' ? undefined : stateOf.get(no, revision);
      if (revision !== '' && (!mayServe(no, revision) || state === 'active')) return undefined;
      endTrial.run({ no, as });
      // What was tried in the other way goes on in this one.
      untried.run({ no, revision });
      if (revision !== '') tried.run({ no, as, revision });
      return setTrial[as].run({ no, revision, share, only }).changes === 1 || undefined;
    },
  };
}
