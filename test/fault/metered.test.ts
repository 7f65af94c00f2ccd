import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect, test } from 'vitest';
import { openReader } from '../../src/storage/reader.ts';
import type { TenantNo } from '../../src/storage/rows.ts';
import { usageStore } from '../../src/storage/usage.ts';
import { aliceReads, check } from '../e2e/requests.ts';
import { bearer, secrets, writeTenants } from '../e2e/server.ts';
import { logIn } from './log.ts';
import { serveProcess } from './process.ts';

/** A count is as durable as the decision that it counts: what was answered was counted, once, whenever the server is killed. */

const MOST = 400;

const REGO = `package authz

deny contains "too_many" if input.usage.reads >= ${MOST}
`;

test('killed under load again and again, no more is allowed than the meter lets through', async () => {
  const folder = await mkdtemp(path.join(tmpdir(), 'mandate-metered-'));
  await writeTenants(folder, {
    acme: (manifest) => {
      manifest.meters = { reads: { actions: ['document.read'], per: 'subject' } };
    },
    acmeFiles: { 'authz/usage.rego': REGO },
  });
  const seen = { allowed: 0, denied: 0 };
  try {
    for (let life = 0; seen.denied === 0 && life < 12; life += 1) {
      const server = await serveProcess({ folder });
      const ask = async (): Promise<void> => {
        for (;;) {
          const { status, body } = await check(server.data, aliceReads, bearer(secrets.api));
          if (status !== 200) return;
          if (body.decision === 'DECISION_ALLOW') seen.allowed += 1;
          else seen.denied += 1;
          if (seen.denied > 20) return;
        }
      };
      const enough = seen.allowed + 40 + Math.random() * 40;
      const load = Promise.allSettled(Array.from({ length: 16 }, ask));
      // However slow the machine is: killed in the middle of answering.
      for (let turn = 0; turn < 10_000 && seen.allowed < enough && seen.denied === 0; turn += 1)
        await new Promise((resolve) => setTimeout(resolve, 1));
      await server.end('SIGKILL');
      await load;
      const counted = logIn(server.store).filter(
        ({ kind, outcome }) => kind === 'decision' && outcome === 'allow',
      );
      expect(countIn(server.store)).toBe(counted.length);
      expect(counted.length).toBeGreaterThanOrEqual(seen.allowed);
      expect(counted.length).toBeLessThanOrEqual(MOST);
    }
    expect(seen.denied).toBeGreaterThan(0);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});

function countIn(store: string): number {
  const db = openReader(store);
  try {
    const no = db.prepare<[], TenantNo>("SELECT no FROM tenants WHERE id = 'acme'").pluck().get() as TenantNo;
    return usageStore(db)
      .of(no, 'reads', 'subject user:alice', 0)
      .reduce((sum, { amount }) => sum + amount / 1_000_000, 0);
  } finally {
    db.close();
  }
}
