import path from 'node:path';
import { killRow } from '../../src/audit/kill.ts';
import { systemRandom } from '../../src/effects.ts';
import { type GrantId, tenantId, uuidv7 } from '../../src/ids.ts';
import { type GrantStore, grantStore } from '../../src/storage/grants.ts';
import { openReader } from '../../src/storage/reader.ts';
import type { GrantRow, TenantNo } from '../../src/storage/rows.ts';
import { Writer } from '../../src/storage/writer.ts';
import { median } from '../harness/rounds.ts';
import { type Bench, type RowGroup, row } from '../row.ts';
import { dice } from '../scenario/questions.ts';

const COUNT = 100_000;
const AT_ONCE = 2_000;
const MAX_DEPTH = 8;
const LOOKED_UP = 5_000;
const WANTED_MS = 100;

const user = { class: 'user', id: 'alice' } as const;
const agent = { class: 'agent', id: 'research-agent' } as const;

/** How long it takes to end a grant that a hundred thousand came from, at all depths, and what a check costs after it. */
export const grantRows: RowGroup = {
  names: ['revoke_100k_ms'],
  measure: async (bench) => {
    const folder = path.join(bench.folder, 'grants');
    const count = bench.quick ? 2_000 : COUNT;
    await using writer = await Writer.open({ folder });
    const { value: tenant } = await writer.run('putTenant', { id: tenantId('bench') });
    const none = { groups: [], roles: [], scopes: [], properties: {} };
    const principals = [user, agent].map((each) => ({ ...each, ...none }));
    await writer.run('putPrincipals', { tenantNo: tenant.no, principals, at: Date.now() });
    const db = openReader(folder);
    try {
      const store = grantStore(db);
      const seen: { ms: number; before: number; after: number }[] = [];
      for (let round = 0; round < bench.rounds; round += 1) {
        const all = await grow(bench, writer, tenant.no, count);
        const [before, ms, after] = [
          lookUp(store, tenant.no, all),
          await revoke(writer, tenant.no, all),
          lookUp(store, tenant.no, all),
        ];
        bench.say(
          `grants: ended in ${ms.toFixed(1)} ms; a look-up ${before.toFixed(1)} µs before and ${after.toFixed(1)} after`,
        );
        seen.push({ ms, before, after });
      }
      const of = (name: 'ms' | 'before' | 'after'): number => median(seen.map((each) => each[name]));
      return [
        row('revoke_100k_ms', 'ms', of('ms'), WANTED_MS, {
          note: `to end a grant that ${count} came from, at depths to ${MAX_DEPTH}, durably and with its record; the look-up of one of them takes ${of('after').toFixed(1)} µs after it and ${of('before').toFixed(1)} before; wanted: ${WANTED_MS} or less`,
          raw: { rounds: seen },
        }),
      ];
    } finally {
      db.close();
    }
  },
};

const grantAt = (parent: GrantRow | undefined): GrantRow => {
  const issuedAt = Date.now();
  return {
    id: uuidv7(issuedAt, systemRandom(10)) as GrantId,
    parentId: parent?.id ?? null,
    depth: (parent?.depth ?? 0) + 1,
    subject: user,
    actors: [agent, ...(parent?.actors ?? [])],
    scopes: ['docs.read'],
    use: 'act',
    details: [],
    audience: 'docs-mcp',
    moreAudiences: [],
    mayAct: null,
    jkt: null,
    x5tS256: null,
    task: null,
    authentication: {},
    issuedAt,
    // All of a tree end with its root; none while it is measured.
    expiresAt: parent?.expiresAt ?? issuedAt + 3_600_000,
    issuer: 'https://login.acme.example',
    revokedAt: null,
  };
};

/** A tree whose first is the root. */
async function grow(bench: Bench, writer: Writer, no: TenantNo, count: number): Promise<GrantRow[]> {
  const roll = dice(7);
  const all = [grantAt(undefined)];
  const parents = [...all];
  while (all.length <= count) {
    const some = Array.from({ length: Math.min(AT_ONCE, count + 1 - all.length) }, () =>
      grantAt(parents[roll(parents.length)]),
    );
    const [root] = all.length === 1 ? all : [];
    if (root) await writer.run('insertGrant', { tenantNo: no, grant: root });
    await Promise.all(some.map((grant) => writer.run('insertGrant', { tenantNo: no, grant })));
    all.push(...some);
    parents.push(...some.filter(({ depth }) => depth < MAX_DEPTH));
  }
  bench.say(`grants: ${all.length} made`);
  return all;
}

/** In microseconds: what a check asks of the store for each token. */
function lookUp(store: GrantStore, no: TenantNo, all: readonly GrantRow[]): number {
  const roll = dice(13);
  const began = performance.now();
  for (let n = 0; n < LOOKED_UP; n += 1) store.find(no, all[roll(all.length)]?.id ?? ('' as GrantId));
  return ((performance.now() - began) * 1_000) / LOOKED_UP;
}

async function revoke(
  writer: Writer,
  tenantNo: TenantNo,
  [root, ...below]: readonly GrantRow[],
): Promise<number> {
  if (!root) throw new Error('there is a root');
  const time = Date.now();
  const record = killRow({
    tenantNo,
    time,
    decisionId: uuidv7(time, systemRandom(10)),
    caller: 'operator:bench',
    action: 'kill.grant',
    resource: { type: 'grant', id: root.id },
    grant: root,
    reason: '',
  });
  const began = performance.now();
  const { value } = await writer.run('revokeGrant', { tenantNo, id: root.id, at: time }, record);
  const ms = performance.now() - began;
  if (value !== below.length + 1) throw new Error(`${value} grants ended of ${below.length + 1}`);
  return ms;
}
