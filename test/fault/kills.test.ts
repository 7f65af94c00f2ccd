import { rm } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { verifyStore } from '../../src/audit/proof/verify-store.ts';
import { parseVkey } from '../../src/merkle/keys.ts';
import { openReader } from '../../src/storage/reader.ts';
import { volumeStore } from '../../src/storage/volume/store.ts';
import { aliceReads, check, connect } from '../e2e/requests.ts';
import { bearer, eventually, secrets } from '../e2e/server.ts';
import { logIn } from './log.ts';
import { type ServeProcess, serveProcess } from './process.ts';

/**
 * One store, killed at any moment again and again under load (`FAULT_KILLS` times; `make fault` has a hundred): all that
 * was answered is there, and the log is the one that each checkpoint kept elsewhere states.
 */
const KILLS = Number(process.env['FAULT_KILLS'] ?? 4);

interface Seen {
  readonly answered: Map<number, string>;
  readonly disabled: Set<string>;
  readonly checkpoints: Set<string>;
  key: string;
}

/** Asks, administers, makes volumes and keeps checkpoints until the server is gone. */
function load(server: ServeProcess, seen: Seen, life: number): Promise<unknown> {
  const until = async (work: (turn: number) => Promise<boolean>): Promise<void> => {
    for (let turn = 0; ; turn += 1) if (!(await work(turn).catch(() => false))) return;
  };
  const asks = () =>
    until(async () => {
      const { status, body } = await check(server.data, aliceReads, bearer(secrets.api));
      const { recordIndex, decisionId } = body;
      if (status === 200) seen.answered.set(Number(recordIndex ?? 0), decisionId);
      return status === 200;
    });
  const disables = until(async (turn) => {
    const id = `gone-${life}-${turn}`;
    const principals = [{ class: 'user', id }];
    await connect(server.admin, 'TenantService/PutPrincipals', { tenant: 'acme', principals });
    const ref = { tenant: 'acme', class: 'user', id, status: 'PRINCIPAL_STATUS_DISABLED' };
    const { status } = await connect(server.admin, 'TenantService/SetPrincipalStatus', ref);
    if (status === 200) seen.disabled.add(id);
    return status === 200;
  });
  const keeps = until(async () => {
    const { status, body } = await connect<{ key: string; checkpoint?: string }>(
      server.admin,
      'AuditService/DescribeLog',
      { tenant: 'acme' },
    );
    if (body.checkpoint) seen.checkpoints.add(body.checkpoint);
    seen.key = body.key;
    await new Promise((resolve) => setTimeout(resolve, 100));
    return status === 200;
  });
  // Full tiles leave the database for files meanwhile.
  const makes = until(async () => {
    const { status } = await connect(server.admin, 'AuditService/MakeVolumes', { tenant: 'acme' });
    return status === 200;
  });
  return Promise.all([asks(), asks(), asks(), disables, keeps, makes]);
}

function disabledIn(store: string): Set<string> {
  const db = openReader(store);
  try {
    return new Set(
      db.prepare<[], string>('SELECT id FROM principals WHERE disabled_at IS NOT NULL').pluck().all(),
    );
  } finally {
    db.close();
  }
}

test(
  'killed at any moment, again and again: what was answered stands, and the log is the one it stated',
  async () => {
    const seen: Seen = { answered: new Map(), disabled: new Set(), checkpoints: new Set(), key: '' };
    let folder: string | undefined;
    for (let life = 0; life < KILLS; life += 1) {
      const server: ServeProcess = await serveProcess(folder === undefined ? {} : { folder });
      folder = server.folder;
      const loading = load(server, seen, life);
      // Later than a checkpoint, sooner than one, or in the middle of one.
      await new Promise((resolve) => setTimeout(resolve, 700 + Math.random() * 900));
      // A machine that is slow gets as far as others: to a checkpoint, and to full tiles.
      await eventually(
        async () => seen.answered.size,
        (size) => size > 100 * (life + 1) && seen.checkpoints.size > 0,
      );
      await server.end('SIGKILL');
      await loading;
      const log = logIn(server.store);
      expect(log.map(({ index }) => index)).toEqual(log.map((_, at) => at));
      for (const [index, decisionId] of seen.answered) expect(log[index]).toMatchObject({ decisionId });
      const disabled = disabledIn(server.store);
      for (const id of seen.disabled) expect(disabled).toContain(id);
    }
    const { store } = await last(folder);
    const db = openReader(store);
    try {
      const kept = [...seen.checkpoints].map((source, at) => ({ what: `checkpoint ${at}`, source }));
      expect(kept.length).toBeGreaterThan(0);
      const policy = { logs: [parseVkey(seen.key)], quorum: undefined };
      const verdicts = [...verifyStore(db, { policy, tenant: 'acme', kept, progress: () => undefined })];
      expect(verdicts).toMatchObject([{ faults: [], tenant: 'acme' }]);
      // A last life that ended in good order leaves nothing unproved.
      expect(verdicts[0]?.proved).toBe(verdicts[0]?.entries);
      expect(volumeStore(db).all().length).toBeGreaterThan(KILLS > 10 ? 1 : 0);
    } finally {
      db.close();
    }
    await rm(folder ?? '', { recursive: true, force: true });
  },
  180_000 + KILLS * 30_000,
);

/** Whatever the lives before got to, it makes the volumes that are due. */
async function last(folder: string | undefined): Promise<{ store: string }> {
  const server = await serveProcess(folder === undefined ? {} : { folder });
  const made = await connect(server.admin, 'AuditService/MakeVolumes', { tenant: 'acme' });
  expect(made.status).toBe(200);
  expect(await server.end('SIGTERM')).toEqual({ code: 0, signal: null });
  return { store: server.store };
}
