import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { partsOf, wholeInput } from '../../src/audit/whole.ts';
import type { Connection } from '../../src/storage/database.ts';
import { partStore } from '../../src/storage/log/parts.ts';
import { recordStore } from '../../src/storage/log/records.ts';
import { openReader } from '../../src/storage/reader.ts';
import type { TenantNo } from '../../src/storage/rows.ts';
import { at } from '../cli/run.ts';
import { asks, serve } from '../containment/tenants.ts';
import { livingGrants } from '../fault/log.ts';
import { aliceReads, check, connect, postJson } from './requests.ts';
import { type Running, sha256, startServer } from './server.ts';

/** What a caller or a tenant may cost the store: what was sent once is stored once, and nobody fills it for all. */

const ITEMS = 400;
const large = { padding: 'x'.repeat(20_000), list: [1, 2.5, 'é', null, { deep: true }] };

interface Stored {
  /** Of the tenant's log, with what its records have in common. */
  readonly bytes: number;
  readonly inputs: readonly Record<string, unknown>[];
  readonly digests: readonly string[];
}

const acmeIn = (db: Connection): TenantNo =>
  db.prepare<[], TenantNo>("SELECT no FROM tenants WHERE id = 'acme'").pluck().get() as TenantNo;

function storedIn(folder: string, from: number): Stored {
  const db = openReader(path.join(folder, 'data'));
  try {
    const no = acmeIn(db);
    const parts = partStore(db);
    const bodies = recordStore(db)
      .range(no, from, 10_000)
      .map(({ body }) => body);
    return {
      bytes: db.prepare<[number], number>('SELECT bytes FROM logs WHERE tenant_no = ?').pluck().get(no) ?? 0,
      inputs: bodies.map((body) => {
        const text = wholeInput(body, (digest) => parts.find(no, digest));
        return JSON.parse(text ?? 'null') as Record<string, unknown>;
      }),
      digests: [...new Set(bodies.flatMap((body) => Object.values(partsOf(body))))],
    };
  } finally {
    db.close();
  }
}

const sizeOf = (folder: string): number => {
  const db = openReader(path.join(folder, 'data'));
  const size = recordStore(db).size(acmeIn(db));
  db.close();
  return size;
};

describe('a part that many items of a batch share', () => {
  const { tenant: _, ...one } = aliceReads;
  const resource = { ...one.resource, properties: { ...one.resource.properties, notes: 'n'.repeat(2_000) } };
  const defaults = {
    subject: { ...one.subject, properties: { note: 's'.repeat(2_000) } },
    action: { ...one.action, properties: { note: 'a'.repeat(2_000) } },
    resource,
    context: large,
  };

  const ways: Record<string, (server: Running) => Promise<{ status: number }>> = {
    'of CheckBatch': ({ data }) =>
      connect(data, 'DecisionService/CheckBatch', {
        tenant: 'acme',
        ...defaults,
        items: Array.from({ length: ITEMS }, () => ({})),
      }),
    'of evaluations': ({ data }) =>
      postJson(`${data}/t/acme/access/v1/evaluations`, {
        ...defaults,
        evaluations: Array.from({ length: ITEMS }, () => ({})),
      }),
    // Every second item brings its own.
    'of some of them': ({ data }) =>
      postJson(`${data}/t/acme/access/v1/evaluations`, {
        ...defaults,
        evaluations: Array.from({ length: ITEMS }, (_each, at) => (at % 2 ? { context: { at } } : {})),
      }),
  };

  test.each(Object.keys(ways))('%s is stored once, and each record replays', async (way) => {
    await using server = await startServer();
    const { folder } = server;
    const from = sizeOf(folder);
    const ask = ways[way];
    expect((await ask?.(server))?.status).toBe(200);
    const { bytes, inputs, digests } = storedIn(folder, from);
    expect(inputs).toHaveLength(ITEMS);
    for (const [at, input] of inputs.entries())
      expect(input).toMatchObject({
        subject: { class: 'user', id: 'alice', properties: defaults.subject.properties },
        action: defaults.action,
        resource,
        context: way === 'of some of them' && at % 2 ? { at } : large,
      });
    // Four parts of 26 kB together, and a record of a kilobyte or so each.
    expect(digests).toHaveLength(4);
    expect(bytes).toBeLessThan(30_000 + ITEMS * 1_600);
    const [sha] = digests;
    const { body } = await connect<{ body: string }>(server.admin, 'AuditService/GetPart', {
      tenant: 'acme',
      sha256: sha,
    });
    expect(sha256(Buffer.from(body.body, 'base64').toString())).toBe(sha);
    expect(
      await connect(server.admin, 'AuditService/GetPart', { tenant: 'globex', sha256: sha }),
    ).toMatchObject({ status: 404 });
  });

  test('is put into a record that the command line shows whole', async () => {
    await using server = await startServer();
    const items = [{}, {}, {}];
    expect(
      (await connect(server.data, 'DecisionService/CheckBatch', { tenant: 'acme', ...defaults, items }))
        .status,
    ).toBe(200);
    const { stdout } = await at(server)(
      '--json',
      'audit',
      'query',
      '-t',
      'acme',
      '--kind',
      'decision',
      '--whole',
    );
    const shown = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { record: Record<string, unknown> });
    expect(shown).toHaveLength(3);
    for (const { record } of shown) {
      expect(record['input']).toMatchObject({ context: large, resource, action: defaults.action });
      expect(record['input_parts']).toBeUndefined();
    }
  });

  test('is stored once where the bearer of a bad token asks', async () => {
    await using server = await startServer();
    const from = sizeOf(server.folder);
    const { subject: _subject, ...rest } = defaults;
    const items = Array.from({ length: ITEMS }, () => ({}));
    const asked = { tenant: 'acme', subjectToken: 'x.y.z', ...rest, items };
    expect((await connect(server.data, 'DecisionService/CheckBatch', asked)).status).toBe(200);
    const { bytes, inputs } = storedIn(server.folder, from);
    expect(inputs).toHaveLength(ITEMS);
    for (const input of inputs) expect(input).toMatchObject({ subject: null, context: large, resource });
    expect(bytes).toBeLessThan(30_000 + ITEMS * 1_600);
  });
});

describe('a tenant that records more than it may', () => {
  test('is refused when its share of the store is full, the others are not, and it can still disable', async () => {
    await using server = await startServer({
      globex: (manifest) => {
        manifest.limits = { store_bytes: 65_536 };
      },
    });
    const asked = { ...aliceReads, tenant: 'globex', context: { padding: 'x'.repeat(8_000) } };
    let last = await check(server.data, asked);
    for (let turn = 0; turn < 20 && last.status === 200; turn += 1) last = await check(server.data, asked);
    expect(last).toMatchObject({ status: 429, body: { code: 'resource_exhausted' } });
    expect((await check(server.data, aliceReads)).status).toBe(200);
    const disabled = await connect(server.admin, 'TenantService/SetPrincipalStatus', {
      tenant: 'globex',
      class: 'user',
      id: 'alice',
      status: 'PRINCIPAL_STATUS_DISABLED',
    });
    expect(disabled.status).toBe(200);
    expect(livingGrants(path.join(server.folder, 'data'))).toEqual([]);
    // It is no fault of the store.
    expect((await fetch(`${server.data}/readyz`)).status).toBe(200);
  });

  test('is refused while it is above its rate, with when to come back', async () => {
    await using server = await startServer({
      overrides: { tenant_limits: { record_bytes_per_second: 16_384 } },
    });
    const asked = { ...aliceReads, context: { padding: 'x'.repeat(12_000) } };
    const answers = await Promise.all(Array.from({ length: 12 }, () => check(server.data, asked)));
    expect(answers.some(({ status }) => status === 200)).toBe(true);
    const refused = answers.filter(({ status }) => status === 429);
    expect(refused.length).toBeGreaterThan(0);
    expect(refused[0]?.body).toMatchObject({ code: 'resource_exhausted' });
    expect((await fetch(`${server.data}/readyz`)).status).toBe(200);
  });
});

test('what a manifest asks for is not more than the operator lets any tenant have', async () => {
  const rego =
    'package authz\n\nallow if count([1 | some x in numbers.range(1, 3000); some y in numbers.range(1, 3000); x == y]) > 0\n';
  const manifest = { limits: { fuel: 2_000_000_000, memory_mib: 1_024, decisions_per_second: 100_000 } };
  await using served = await serve([{ id: 'greedy', rego, manifest }], {
    fuel: 1_000_000,
    memory_mib: 16,
    tenant_limits: { decisions_per_second: 3 },
  });
  const { limits } = served.mandate.tenants.get('greedy').manifest;
  expect(limits).toMatchObject({ fuel: 1_000_000, memory_mib: 16, decisions_per_second: 3 });
  const answer = await connect<{ reasons: { code: string }[] }>(
    served.data,
    'DecisionService/Check',
    asks('greedy'),
  );
  expect(answer.body.reasons[0]?.code).toBe('deadline_exceeded');
  await using more = await serve([{ id: 'greedy', rego, manifest }], {
    fuel: 1_000_000,
    tenant_limits: { fuel: 50_000_000 },
  });
  expect(more.mandate.tenants.get('greedy').manifest.limits.fuel).toBe(50_000_000);
});
