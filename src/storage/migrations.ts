/**
 * The schema, one step an entry. `PRAGMA user_version` counts the steps a store has taken; steps are appended, never
 * edited. Every table of a tenant's things begins with its number: a query that forgets it does not type-check in
 * the adapters, which all take it first.
 */
export const migrations: readonly string[] = [
  `
  CREATE TABLE tenants (
    no INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    manifest_hash TEXT NOT NULL DEFAULT ''
  ) STRICT;

  -- facts: the JSON members of input.subject that the directory owns. disabled_at is set only by an
  -- administrator, so that re-reading a manifest never brings a disabled principal back.
  CREATE TABLE principals (
    tenant_no INTEGER NOT NULL REFERENCES tenants(no),
    class TEXT NOT NULL,
    id TEXT NOT NULL,
    groups TEXT NOT NULL,
    roles TEXT NOT NULL,
    scopes TEXT NOT NULL,
    properties TEXT NOT NULL,
    disabled_at INTEGER,
    source TEXT NOT NULL,
    PRIMARY KEY (tenant_no, class, id)
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE keys (
    tenant_no INTEGER NOT NULL REFERENCES tenants(no),
    kid TEXT NOT NULL,
    alg TEXT NOT NULL,
    public_jwk TEXT NOT NULL,
    sealed BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_no, kid)
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE grants (
    tenant_no INTEGER NOT NULL REFERENCES tenants(no),
    id TEXT NOT NULL,
    parent_id TEXT,
    depth INTEGER NOT NULL,
    subject_class TEXT NOT NULL,
    subject_id TEXT NOT NULL,
    actors TEXT NOT NULL,
    actor_class TEXT NOT NULL,
    actor_id TEXT NOT NULL,
    scopes TEXT NOT NULL,
    audience TEXT NOT NULL,
    issued_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    revoked_at INTEGER,
    PRIMARY KEY (tenant_no, id)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX grants_by_parent ON grants (tenant_no, parent_id) WHERE parent_id IS NOT NULL;
  CREATE INDEX grants_by_subject ON grants (tenant_no, subject_class, subject_id);
  CREATE INDEX grants_by_actor ON grants (tenant_no, actor_class, actor_id);

  -- A run of a tenant's records, as one commit appended them: id = tenant_no * 2^36 + index of the first, so the row id
  -- itself keeps a log together and in order, and both factors stay in a double (2^17 tenants of 2^36 records). The
  -- bodies in a row are the records, the heads (log/heads.ts) find them.
  CREATE TABLE runs (id INTEGER PRIMARY KEY, heads BLOB NOT NULL, bodies BLOB NOT NULL) STRICT;
  -- id = that of the segment's first record; see log/segments.ts.
  CREATE TABLE segments (id INTEGER PRIMARY KEY, principals BLOB NOT NULL) STRICT;
  CREATE TRIGGER runs_no_update BEFORE UPDATE ON runs BEGIN SELECT RAISE(ABORT, 'records are append-only'); END;
  CREATE TRIGGER runs_no_delete BEFORE DELETE ON runs BEGIN SELECT RAISE(ABORT, 'records are append-only'); END;
  `,
  `
  -- How many changes of state were made, and which store this is: see watch/marks.ts.
  CREATE TABLE store (one INTEGER PRIMARY KEY CHECK (one = 1), id TEXT NOT NULL, changes INTEGER NOT NULL) STRICT;
  INSERT INTO store VALUES (1, lower(hex(randomblob(16))), 0);

  -- How many records each log has at least, and the bytes of their bodies: the same as the end of the tenant's runs, or a
  -- little behind, in another tree. A fault in one of them does not hide records.
  CREATE TABLE logs (tenant_no INTEGER PRIMARY KEY, size INTEGER NOT NULL, bytes INTEGER NOT NULL) STRICT;
  INSERT INTO logs
    SELECT no,
      (SELECT id + length(heads) / 32 FROM runs WHERE id >= no << 36 AND id < (no + 1) << 36 ORDER BY id DESC LIMIT 1)
        - (no << 36),
      (SELECT sum(length(bodies)) FROM runs WHERE id >= no << 36 AND id < (no + 1) << 36)
    FROM tenants WHERE EXISTS (SELECT 1 FROM runs WHERE id >= no << 36 AND id < (no + 1) << 36);
  CREATE TRIGGER logs_only_grow BEFORE UPDATE ON logs WHEN new.size < old.size
    BEGIN SELECT RAISE(ABORT, 'records are append-only'); END;
  CREATE TRIGGER logs_no_delete BEFORE DELETE ON logs BEGIN SELECT RAISE(ABORT, 'records are append-only'); END;

  -- Of each full segment, with its id: between which times its records lie, both inclusive, and the CRC-32 of its blobs.
  CREATE TABLE spans (
    id INTEGER PRIMARY KEY,
    first_time INTEGER NOT NULL,
    last_time INTEGER NOT NULL,
    principals_sum INTEGER NOT NULL,
    decisions_sum INTEGER NOT NULL
  ) STRICT;
  -- The keys of its records: see log/segments.ts.
  CREATE TABLE decisions (id INTEGER PRIMARY KEY, keys BLOB NOT NULL) STRICT;

  -- What several records of a tenant have in common, stored once: they name it by its SHA-256.
  CREATE TABLE parts (
    id INTEGER PRIMARY KEY,
    tenant_no INTEGER NOT NULL REFERENCES tenants(no),
    digest TEXT NOT NULL,
    body TEXT NOT NULL,
    UNIQUE (tenant_no, digest)
  ) STRICT;
  CREATE TRIGGER parts_no_update BEFORE UPDATE ON parts BEGIN SELECT RAISE(ABORT, 'records are append-only'); END;
  CREATE TRIGGER parts_no_delete BEFORE DELETE ON parts BEGIN SELECT RAISE(ABORT, 'records are append-only'); END;
  `,
  `
  -- The tree over each log (RFC 6962), above its leaves, which stand with the heads of the runs: the hash of each full tile
  -- (C2SP tlog-tiles), where it stands in the level above.
  CREATE TABLE tiles (
    tenant_no INTEGER NOT NULL,
    level INTEGER NOT NULL,
    at INTEGER NOT NULL,
    hash BLOB NOT NULL,
    PRIMARY KEY (tenant_no, level, at)
  ) STRICT, WITHOUT ROWID;
  -- Whether a segment's blob of principals has resources and grants too.
  ALTER TABLE spans ADD COLUMN has_names INTEGER NOT NULL DEFAULT 0;
  CREATE TRIGGER tiles_no_update BEFORE UPDATE ON tiles BEGIN SELECT RAISE(ABORT, 'records are append-only'); END;
  CREATE TRIGGER tiles_no_delete BEFORE DELETE ON tiles BEGIN SELECT RAISE(ABORT, 'records are append-only'); END;

  -- The key that signs a log's checkpoints, sealed as the others are, and what the log is called, for good.
  CREATE TABLE log_keys (
    tenant_no INTEGER PRIMARY KEY REFERENCES tenants(no),
    origin TEXT NOT NULL UNIQUE,
    public BLOB NOT NULL,
    sealed BLOB NOT NULL,
    created_at INTEGER NOT NULL
  ) STRICT;

  -- The newest of each log: what it states of itself, signed.
  CREATE TABLE checkpoints (
    tenant_no INTEGER PRIMARY KEY REFERENCES tenants(no),
    size INTEGER NOT NULL,
    note TEXT NOT NULL
  ) STRICT;
  -- The newest of each log that witnesses have signed, with their signatures.
  CREATE TABLE cosigned (
    tenant_no INTEGER PRIMARY KEY REFERENCES tenants(no),
    size INTEGER NOT NULL,
    note TEXT NOT NULL,
    at INTEGER NOT NULL
  ) STRICT;
  CREATE TRIGGER checkpoints_only_grow BEFORE UPDATE ON checkpoints WHEN new.size < old.size
    BEGIN SELECT RAISE(ABORT, 'a log only grows'); END;
  CREATE TRIGGER checkpoints_no_delete BEFORE DELETE ON checkpoints BEGIN SELECT RAISE(ABORT, 'a log only grows'); END;
  `,
  `
  -- How far a sink is with each log: the index of the next record. Of tenant 0: that the sink has begun.
  CREATE TABLE sink_cursors (
    sink TEXT NOT NULL,
    tenant_no INTEGER NOT NULL,
    next INTEGER NOT NULL,
    PRIMARY KEY (sink, tenant_no)
  ) STRICT, WITHOUT ROWID;
  `,
  `
  -- Parts of logs that do not change any more, as files: see volume/file.ts. id and end_id: row ids of its first record and
  -- of the one after its last. cleared_id: up to where its records' bodies were taken out of their runs, and, once it was
  -- removed, what else finds them.
  CREATE TABLE volumes (
    id INTEGER PRIMARY KEY,
    end_id INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    body_bytes INTEGER NOT NULL,
    sha256 TEXT NOT NULL,
    first_time INTEGER NOT NULL,
    last_time INTEGER NOT NULL,
    made_at INTEGER NOT NULL,
    state TEXT NOT NULL DEFAULT 'here' CHECK (state IN ('here', 'archived', 'removed')),
    place TEXT NOT NULL DEFAULT '',
    state_at INTEGER NOT NULL DEFAULT 0,
    cleared_id INTEGER NOT NULL
  ) STRICT;
  CREATE INDEX volumes_to_clear ON volumes (id) WHERE cleared_id < end_id;
  CREATE TRIGGER volumes_no_delete BEFORE DELETE ON volumes BEGIN SELECT RAISE(ABORT, 'records are append-only'); END;
  CREATE TRIGGER volumes_no_update BEFORE UPDATE ON volumes
    WHEN new.id IS NOT old.id OR new.end_id IS NOT old.end_id OR new.sha256 IS NOT old.sha256 OR old.state = 'removed' AND new.state IS NOT 'removed'
    BEGIN SELECT RAISE(ABORT, 'records are append-only'); END;

  -- Logs of which nothing is removed.
  CREATE TABLE holds (
    tenant_no INTEGER PRIMARY KEY REFERENCES tenants(no),
    reason TEXT NOT NULL,
    caller TEXT NOT NULL,
    at INTEGER NOT NULL
  ) STRICT;

  -- Only what stands in a volume gives up its bodies, and only what was removed the rest, but for its hashes.
  DROP TRIGGER runs_no_update;
  CREATE TRIGGER runs_no_update BEFORE UPDATE ON runs
    WHEN new.id IS NOT old.id OR length(new.bodies) > 0
      OR coalesce((SELECT end_id FROM volumes WHERE id <= old.id ORDER BY id DESC LIMIT 1), 0) <= old.id
      OR new.heads IS NOT old.heads
        AND (SELECT state FROM volumes WHERE id <= old.id ORDER BY id DESC LIMIT 1) IS NOT 'removed'
    BEGIN SELECT RAISE(ABORT, 'records are append-only'); END;

  -- The last record that may name it: with that one it is removed.
  DROP TRIGGER parts_no_update;
  DROP TRIGGER parts_no_delete;
  ALTER TABLE parts ADD COLUMN last_id INTEGER NOT NULL DEFAULT 0;
  UPDATE parts SET last_id = (tenant_no << 36) + coalesce((SELECT size FROM logs WHERE logs.tenant_no = parts.tenant_no), 0);
  CREATE TRIGGER parts_no_update BEFORE UPDATE ON parts
    WHEN new.id IS NOT old.id OR new.tenant_no IS NOT old.tenant_no OR new.digest IS NOT old.digest
      OR new.body IS NOT old.body OR new.last_id < old.last_id
    BEGIN SELECT RAISE(ABORT, 'records are append-only'); END;
  CREATE TRIGGER parts_no_delete BEFORE DELETE ON parts
    WHEN old.last_id >= coalesce((SELECT max(end_id) FROM volumes
      WHERE id >= old.tenant_no << 36 AND id < (old.tenant_no + 1) << 36 AND state = 'removed'), 0)
    BEGIN SELECT RAISE(ABORT, 'records are append-only'); END;
  `,
  `
  -- The keys of sealed members, one at a time of each principal, sealed as the others are. One that is destroyed is written
  -- over where it stands, with as many zeros, so that no page of the file keeps a copy: rows are appended, none is taken
  -- out or changes its length.
  CREATE TABLE member_keys (
    id INTEGER PRIMARY KEY,
    tenant_no INTEGER NOT NULL REFERENCES tenants(no),
    class TEXT NOT NULL,
    name TEXT NOT NULL,
    kid TEXT NOT NULL,
    sealed BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    destroyed INTEGER NOT NULL DEFAULT 0 CHECK (destroyed IN (0, 1)),
    UNIQUE (tenant_no, kid)
  ) STRICT;
  CREATE UNIQUE INDEX member_keys_in_use ON member_keys (tenant_no, class, name) WHERE destroyed = 0;
  CREATE INDEX member_keys_of ON member_keys (tenant_no, class, name);
  CREATE TRIGGER member_keys_no_delete BEFORE DELETE ON member_keys
    BEGIN SELECT RAISE(ABORT, 'a key is written over, never taken out'); END;
  CREATE TRIGGER member_keys_no_update BEFORE UPDATE ON member_keys
    WHEN old.destroyed = 1 OR new.sealed <> zeroblob(length(old.sealed))
    BEGIN SELECT RAISE(ABORT, 'a key is written over, and nothing else'); END;
  `,
  `
  -- By which revisions a segment's records were decided: see log/segments.ts.
  ALTER TABLE spans ADD COLUMN revisions BLOB;
  -- The second key of a log, of ML-DSA-44, where the configuration asked for one.
  CREATE TABLE ml_dsa_keys (
    tenant_no INTEGER PRIMARY KEY REFERENCES tenants(no),
    public BLOB NOT NULL,
    sealed BLOB NOT NULL,
    created_at INTEGER NOT NULL
  ) STRICT;
  -- When a server last began to serve from the store, and when it stopped: null while it serves, and where it was killed.
  CREATE TABLE sitting (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    node TEXT NOT NULL,
    version TEXT NOT NULL,
    begun_at INTEGER NOT NULL,
    ended_at INTEGER
  ) STRICT;
  `,
  `
  -- What a principal was registered with beside its facts, as JSON: see tenancy/registration.ts. suspended_at: nobody who
  -- answers for it is active. retired_at: for good, its name is not given again.
  ALTER TABLE principals ADD COLUMN registration TEXT;
  ALTER TABLE principals ADD COLUMN suspended_at INTEGER;
  ALTER TABLE principals ADD COLUMN retired_at INTEGER;
  CREATE INDEX principals_registered ON principals (tenant_no) WHERE registration IS NOT NULL AND source = 'api';

  -- Who answers for a principal: a user, or a group of users.
  CREATE TABLE owners (
    tenant_no INTEGER NOT NULL,
    owner TEXT NOT NULL,
    class TEXT NOT NULL,
    id TEXT NOT NULL,
    PRIMARY KEY (tenant_no, owner, class, id)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX owners_of ON owners (tenant_no, class, id);
  -- Manifests are applied once more, so that what they declare is in both.
  UPDATE tenants SET manifest_hash = '';

  -- When credentials were last used, a little behind.
  CREATE TABLE credential_uses (
    tenant_no INTEGER NOT NULL,
    class TEXT NOT NULL,
    id TEXT NOT NULL,
    credential TEXT NOT NULL,
    used_at INTEGER NOT NULL,
    PRIMARY KEY (tenant_no, class, id, credential)
  ) STRICT, WITHOUT ROWID;

  -- Trusted issuers that the API has put, as JSON.
  CREATE TABLE issuers (
    tenant_no INTEGER NOT NULL,
    issuer TEXT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (tenant_no, issuer)
  ) STRICT, WITHOUT ROWID;

  -- Names that are good once, such as the ids of client assertions, until they could not be used any more.
  CREATE TABLE once (
    tenant_no INTEGER NOT NULL,
    name BLOB NOT NULL,
    until INTEGER NOT NULL,
    PRIMARY KEY (tenant_no, name)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX once_over ON once (tenant_no, until);
  `,
  `
  -- What else a grant is bounded by: its class of use, authorization details (RFC 9396), and who alone may take it on (RFC
  -- 8693 section 4.4). Its audiences beside the first one. How its subject signed in.
  ALTER TABLE grants ADD COLUMN use TEXT NOT NULL DEFAULT 'act';
  ALTER TABLE grants ADD COLUMN details TEXT NOT NULL DEFAULT '[]';
  ALTER TABLE grants ADD COLUMN more_audiences TEXT NOT NULL DEFAULT '[]';
  ALTER TABLE grants ADD COLUMN may_act TEXT;
  ALTER TABLE grants ADD COLUMN authentication TEXT NOT NULL DEFAULT '{}';
  `,
  `
  -- What ended with a grant is all that its path leads through: see granting/living.ts. seq counts a tenant's grants as they
  -- are made. path: the ids from the root down to itself, a space between them. issuer: of the token that the root came
  -- from.
  ALTER TABLE tenants ADD COLUMN grants INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE grants ADD COLUMN seq INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE grants ADD COLUMN path TEXT NOT NULL DEFAULT '';
  ALTER TABLE grants ADD COLUMN issuer TEXT NOT NULL DEFAULT '';
  WITH RECURSIVE placed(tenant_no, id, path) AS (
    SELECT tenant_no, id, id FROM grants WHERE parent_id IS NULL
    UNION ALL SELECT g.tenant_no, g.id, placed.path || ' ' || g.id
      FROM placed JOIN grants g ON g.tenant_no = placed.tenant_no AND g.parent_id = placed.id
  )
  UPDATE grants SET path = placed.path FROM placed
    WHERE grants.tenant_no = placed.tenant_no AND grants.id = placed.id;
  DROP INDEX grants_by_parent;
  DROP INDEX grants_by_subject;
  DROP INDEX grants_by_actor;
  CREATE INDEX grants_by_path ON grants (tenant_no, path, expires_at);
  CREATE INDEX grants_by_end ON grants (tenant_no, expires_at, path DESC);
  CREATE INDEX grants_by_subject ON grants (tenant_no, subject_class, subject_id, expires_at);
  CREATE INDEX grants_by_actor ON grants (tenant_no, actor_class, actor_id, expires_at);
  CREATE INDEX grants_by_issuer ON grants (tenant_no, issuer, expires_at);
  CREATE INDEX grants_revoked ON grants (tenant_no, path) WHERE revoked_at IS NOT NULL;

  -- What ended grants beside themselves: 'principal class:id', 'issuer <address>' or 'tenant'. All of it up to the grant
  -- that has the number upto is over; while is_killed is 1, nothing more is granted.
  CREATE TABLE ends (
    tenant_no INTEGER NOT NULL REFERENCES tenants(no),
    name TEXT NOT NULL,
    upto INTEGER NOT NULL,
    at INTEGER NOT NULL,
    is_killed INTEGER NOT NULL CHECK (is_killed IN (0, 1)),
    PRIMARY KEY (tenant_no, name)
  ) STRICT, WITHOUT ROWID;

  -- What becomes of a key: next, active, retiring, gone, and since when it is what it is. One at a time is active, and one
  -- is next.
  ALTER TABLE keys ADD COLUMN state TEXT NOT NULL DEFAULT 'retiring' CHECK (state IN ('next', 'active', 'retiring', 'gone'));
  ALTER TABLE keys ADD COLUMN state_at INTEGER NOT NULL DEFAULT 0;
  UPDATE keys SET state_at = created_at;
  UPDATE keys SET state = 'active' WHERE kid =
    (SELECT kid FROM keys newest WHERE newest.tenant_no = keys.tenant_no ORDER BY created_at DESC, kid LIMIT 1);
  CREATE UNIQUE INDEX keys_in_use ON keys (tenant_no, state) WHERE state IN ('next', 'active');

  -- The key that seals a tenant's others, by the tenant's name, which stays when its log begins anew; sealed by the master
  -- key. Master keys of before, each sealed by the one in use: what they sealed themselves is left as it is.
  CREATE TABLE tenant_keys (tenant TEXT PRIMARY KEY, sealed BLOB NOT NULL) STRICT, WITHOUT ROWID;
  CREATE TABLE older_masters (at INTEGER PRIMARY KEY, sealed BLOB NOT NULL) STRICT;
  `,
  `
  -- The thumbprint of the key that whoever presents a token of the grant has to hold (RFC 9449).
  ALTER TABLE grants ADD COLUMN jkt TEXT;
  `,
  `
  -- Of a grant that is part of a task: which, what for and until when, as JSON. A task itself is a grant without a token.
  ALTER TABLE grants ADD COLUMN task TEXT;
  ALTER TABLE grants ADD COLUMN is_task INTEGER NOT NULL DEFAULT 0;
  CREATE INDEX grants_tasks ON grants (tenant_no, expires_at) WHERE is_task = 1;
  `,
  `
  -- What meters have counted, in millionths: for whom (storage/usage.ts), in the span that begins at since, or at all where
  -- that is 0. From until on nobody asks for it.
  CREATE TABLE usage (
    tenant_no INTEGER NOT NULL REFERENCES tenants(no),
    meter TEXT NOT NULL,
    of TEXT NOT NULL,
    since INTEGER NOT NULL,
    amount INTEGER NOT NULL,
    until INTEGER,
    PRIMARY KEY (tenant_no, meter, of, since)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX usage_over ON usage (tenant_no, until) WHERE until IS NOT NULL;
  `,
  `
  -- Requests for approval, and what became of them: see approvals/rows.ts. seq and approved_seq count on with the tenant's
  -- grants, by which it is known what ended since. question: JSON.
  CREATE TABLE approvals (
    tenant_no INTEGER NOT NULL REFERENCES tenants(no),
    id TEXT NOT NULL,
    seq INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('pending', 'approved', 'rejected', 'cancelled', 'expired', 'used')),
    digest BLOB NOT NULL,
    caller TEXT NOT NULL,
    requester TEXT NOT NULL,
    parties TEXT NOT NULL,
    grant_id TEXT,
    issuer TEXT NOT NULL,
    question TEXT NOT NULL,
    uses INTEGER NOT NULL CHECK (uses > 0),
    valid_ms INTEGER NOT NULL,
    reason TEXT NOT NULL,
    template TEXT NOT NULL,
    decision_id TEXT NOT NULL,
    callback TEXT,
    opened_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    settled_at INTEGER,
    approver_class TEXT,
    approver_id TEXT,
    approver_is_principal INTEGER NOT NULL DEFAULT 0,
    approved_seq INTEGER,
    note TEXT NOT NULL,
    approved_until INTEGER,
    uses_left INTEGER NOT NULL CHECK (uses_left >= 0),
    PRIMARY KEY (tenant_no, id)
  ) STRICT;
  CREATE INDEX approvals_by_time ON approvals (tenant_no, opened_at, id);
  CREATE INDEX approvals_by_question ON approvals (tenant_no, digest);
  CREATE INDEX approvals_pending ON approvals (tenant_no, expires_at) WHERE state = 'pending';
  CREATE INDEX approvals_by_end ON approvals (tenant_no, coalesce(approved_until, expires_at));
  `,
  `
  -- The thumbprint of the certificate that whoever presents a token of the grant has to hold (RFC 8705).
  ALTER TABLE grants ADD COLUMN x5t_s256 TEXT;
  `,
  `
  -- Of a task: what it was narrowed to since it was opened, as JSON (TaskCap). It holds for all that came of it.
  ALTER TABLE grants ADD COLUMN cap TEXT;
  `,
  `
  -- The revisions of tenants' policies: revisions/rows.ts. contents (JSON) names the files, each by its SHA-256 as hex; a
  -- file is kept once for each tenant, deflated.
  CREATE TABLE revisions (
    tenant_no INTEGER NOT NULL REFERENCES tenants(no),
    revision TEXT NOT NULL,
    number INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('validated', 'shadow', 'staged', 'active', 'superseded')),
    parent TEXT NOT NULL,
    author TEXT NOT NULL,
    message TEXT NOT NULL,
    contents TEXT NOT NULL,
    digest TEXT NOT NULL,
    tests TEXT NOT NULL,
    made_at INTEGER NOT NULL,
    activated_at INTEGER,
    PRIMARY KEY (tenant_no, revision)
  ) STRICT, WITHOUT ROWID;
  CREATE UNIQUE INDEX revisions_by_number ON revisions (tenant_no, number);
  CREATE TABLE revision_files (
    tenant_no INTEGER NOT NULL,
    revision TEXT NOT NULL,
    digest TEXT NOT NULL,
    PRIMARY KEY (tenant_no, revision, digest)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX revision_files_by_digest ON revision_files (tenant_no, digest);
  CREATE TABLE policy_files (
    id INTEGER PRIMARY KEY,
    tenant_no INTEGER NOT NULL REFERENCES tenants(no),
    digest TEXT NOT NULL,
    body BLOB NOT NULL,
    UNIQUE (tenant_no, digest)
  ) STRICT;
  -- What each tenant runs, and the digest of what its folder held when it was taken last; beside it what is tried on the
  -- same questions, and what decides for some of its principals (share: JSON).
  CREATE TABLE policies (
    tenant_no INTEGER PRIMARY KEY REFERENCES tenants(no),
    active TEXT NOT NULL,
    folder TEXT NOT NULL,
    shadow TEXT NOT NULL DEFAULT '',
    staged TEXT NOT NULL DEFAULT '',
    share TEXT NOT NULL DEFAULT ''
  ) STRICT;
  `,
  `
  -- How far the control state of each tenant is: see changes/commands.ts. chain: the hash of all its changes so far.
  -- oldest: from which version on they are kept, for who follows; bytes: of those. version -1: on its way in.
  CREATE TABLE versions (
    tenant_no INTEGER PRIMARY KEY REFERENCES tenants(no),
    version INTEGER NOT NULL,
    chain BLOB NOT NULL,
    oldest INTEGER NOT NULL,
    bytes INTEGER NOT NULL
  ) STRICT;
  -- id = tenant_no * 2^36 + version. name and body: the command and what it was given, as JSON. chain: with it.
  CREATE TABLE changes (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    body TEXT NOT NULL,
    chain BLOB NOT NULL
  ) STRICT;
  -- tenant.yaml as it was applied last. Manifests are applied once more, so that it is there.
  CREATE TABLE manifests (tenant_no INTEGER PRIMARY KEY REFERENCES tenants(no), body TEXT NOT NULL) STRICT;
  UPDATE tenants SET manifest_hash = '';
  `,
  `
  -- Tenants that the API put and that stand in no folder: what was put last, as files (policy/intake/kept-files.ts); by
  -- the tenant's name, which stays when its log begins anew.
  CREATE TABLE put_tenants (
    tenant TEXT PRIMARY KEY,
    files BLOB NOT NULL,
    at INTEGER NOT NULL
  ) STRICT;
  `,
  `
  -- Whose sealed members were erased last, and when: whoever begins with a copy has not heard of it otherwise.
  CREATE TABLE erasures (
    tenant_no INTEGER NOT NULL REFERENCES tenants(no),
    class TEXT NOT NULL,
    name TEXT NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (tenant_no, class, name)
  ) STRICT, WITHOUT ROWID;
  `,
  `
  -- What was asked for beside the question, as JSON: approvals/rows.ts.
  ALTER TABLE approvals ADD COLUMN requested TEXT;
  -- By which keys of callers requests for approval were opened, and the SHA-256 of what was sent with each. They go with it.
  CREATE TABLE approval_keys (
    tenant_no INTEGER NOT NULL REFERENCES tenants(no),
    name BLOB NOT NULL,
    body BLOB NOT NULL,
    approval TEXT NOT NULL,
    PRIMARY KEY (tenant_no, name)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX approval_keys_by_approval ON approval_keys (tenant_no, approval);
  `,
  `
  -- Of which package alone the shadow differs from what is active; empty: it is asked as it is.
  ALTER TABLE policies ADD COLUMN shadow_package TEXT NOT NULL DEFAULT '';
  `,
  `
  -- Whether its tests were not run yet: until then it is no more than kept, whatever its state says.
  ALTER TABLE revisions ADD COLUMN is_draft INTEGER NOT NULL DEFAULT 0;
  `,
  `
  -- Parts of meters that servers which follow may count themselves: storage/leases.ts. amount: of it, in millionths, as it
  -- was counted when it was leased, in the span that begins at since. ends: when nobody counts by it any more.
  CREATE TABLE leases (
    tenant_no INTEGER NOT NULL REFERENCES tenants(no),
    lease TEXT NOT NULL,
    meter TEXT NOT NULL,
    of TEXT NOT NULL,
    since INTEGER NOT NULL,
    amount INTEGER NOT NULL,
    ends INTEGER NOT NULL,
    PRIMARY KEY (tenant_no, lease)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX leases_of ON leases (tenant_no, meter, of);
  CREATE INDEX leases_over ON leases (tenant_no, ends);
  `,
  `
  -- Runs of many logs side by side, as they arrived, until they are filed: see journal/row.ts. filed: rows before it are,
  -- but for those that cannot be; no number comes again.
  CREATE TABLE journal (
    seq INTEGER PRIMARY KEY,
    places BLOB NOT NULL,
    heads BLOB NOT NULL,
    bodies BLOB NOT NULL
  ) STRICT;
  ALTER TABLE store ADD COLUMN filed INTEGER NOT NULL DEFAULT 0;
  CREATE TRIGGER journal_no_update BEFORE UPDATE ON journal BEGIN SELECT RAISE(ABORT, 'records are append-only'); END;
  CREATE TRIGGER journal_no_delete BEFORE DELETE ON journal WHEN old.seq >= (SELECT filed FROM store)
    BEGIN SELECT RAISE(ABORT, 'records are append-only'); END;
  `,
  `
  -- Logs of other servers that are kept here: see received/store.ts. no: of the log in this store, whose name in tenants
  -- is tenant@node. key: the verifier key that its first checkpoint was signed by. operator: who it came from. stated, note:
  -- the checkpoint that its entries are to come to next. refusal: what did not fit last.
  CREATE TABLE received (
    no INTEGER PRIMARY KEY REFERENCES tenants(no),
    tenant_no INTEGER NOT NULL,
    node TEXT NOT NULL,
    origin TEXT NOT NULL,
    key TEXT NOT NULL,
    operator TEXT NOT NULL,
    begun_at INTEGER NOT NULL,
    stated INTEGER NOT NULL,
    note TEXT NOT NULL,
    heard_at INTEGER NOT NULL,
    refusal TEXT NOT NULL DEFAULT '',
    refused_at INTEGER NOT NULL DEFAULT 0,
    UNIQUE (tenant_no, node)
  ) STRICT;
  -- Checkpoints that their entries have come to, one in three hours at most: what a volume of such a log ends with.
  CREATE TABLE reached (
    no INTEGER NOT NULL,
    size INTEGER NOT NULL,
    note TEXT NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (no, size)
  ) STRICT, WITHOUT ROWID;
  CREATE TRIGGER received_no_delete BEFORE DELETE ON received
    BEGIN SELECT RAISE(ABORT, 'records are append-only'); END;
  CREATE TRIGGER received_no_update BEFORE UPDATE ON received
    WHEN new.no IS NOT old.no OR new.key IS NOT old.key OR new.origin IS NOT old.origin OR new.stated < old.stated
    BEGIN SELECT RAISE(ABORT, 'a log only grows'); END;
  `,
  `
  -- Who has a part of a meter, for the record of one that nobody gives back.
  ALTER TABLE leases ADD COLUMN holder TEXT NOT NULL DEFAULT '';
  ALTER TABLE leases ADD COLUMN node TEXT NOT NULL DEFAULT '';
  CREATE INDEX leases_ended ON leases (ends);
  `,
];
