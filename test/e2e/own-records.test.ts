import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { connect } from './requests.ts';
import { checkpointOf, decideOne, fileOf } from './served-log.ts';
import { bearer, eventually, type Running, secrets, startIn, startServer } from './server.ts';

/** What a log says of the server that keeps it, and of who reads it. */

interface Found {
  index: string;
  kind: string;
  caller: string;
  action: string;
  resourceId: string;
  policyRevision?: string;
  body: string;
}

async function found(server: Running, filter: object): Promise<Found[]> {
  const asked = { tenant: 'acme', pageSize: 100, oldestFirst: true, ...filter };
  const { body } = await connect<{ records?: Found[] }>(server.admin, 'AuditService/Query', asked);
  return body.records ?? [];
}

const detailOf = ({ body }: Pick<Found, 'body'>): Record<string, unknown> =>
  (JSON.parse(Buffer.from(body, 'base64').toString()) as { detail: Record<string, unknown> }).detail;

describe('a server', () => {
  test('says in each log that it began and ended, and how the one before it did', async () => {
    await using first = await startServer();
    const [begun] = await found(first, { kind: 'server' });
    expect(begun).toMatchObject({ caller: 'server', action: 'server.start', resourceId: 'main' });
    expect(begun?.policyRevision).toMatch(/^sha256:/);
    const version = expect.stringMatching(/^\d+\.\d+\.\d+$/) as string;
    expect(detailOf(begun as Found)).toEqual({ version, node: 'main', before: null });
    expect(await found(first, { tenant: 'globex', kind: 'server' })).toHaveLength(1);
    await first.stop();
    await using second = await startIn(first.folder);
    const all = await found(second, { kind: 'server' });
    expect(all.map(({ action }) => action)).toEqual(['server.start', 'server.stop', 'server.start']);
    const time = expect.stringMatching(/^\d{4}-\d{2}-\d{2}T/) as string;
    expect(detailOf(all[2] as Found)).toEqual({
      version,
      node: 'main',
      before: { version, node: 'main', began: time, ended: time },
    });
  });

  test('says of each key that it made, in the log of the tenant', async () => {
    await using server = await startServer();
    const { body } = await connect<{ key: string }>(server.admin, 'AuditService/DescribeLog', {
      tenant: 'acme',
    });
    const made = async (): Promise<unknown[]> =>
      (await found(server, { kind: 'key' })).map((each) => [each.resourceId, detailOf(each)]);
    const log = [body.key, { use: 'log', algorithm: 'Ed25519' }];
    expect(await made()).toEqual([log]);
    const jwks = (await (await fetch(`${server.data}/t/acme/oauth2/jwks`)).json()) as {
      keys: { kid: string }[];
    };
    expect(await made()).toEqual([log, [jwks.keys[0]?.kid, { use: 'tokens', algorithm: 'ES256' }]]);
    // It is made once.
    await fetch(`${server.data}/t/acme/oauth2/jwks`);
    expect(await made()).toHaveLength(2);
  });
});

describe('who reads a log', () => {
  let server: Running;
  beforeAll(async () => {
    server = await startServer();
  });
  afterAll(() => server[Symbol.asyncDispose]());

  const readsOf = (caller: string, count: number): Promise<[string, Record<string, unknown>][]> =>
    eventually(
      async () =>
        (await found(server, { kind: 'read', caller })).map((each): [string, Record<string, unknown>] => [
          each.action,
          detailOf(each),
        ]),
      (all) => all.length >= count,
    );
  const ask = async (method: string, message: object): Promise<number> =>
    (await connect(server.admin, `AuditService/${method}`, message, bearer(secrets.operator))).status;

  test('stands in it, with the means and what was asked for, whatever the means', async () => {
    const { index } = await decideOne(server);
    await checkpointOf(server, index + 1);
    const filter = { tenant: 'acme', principal: { class: 'user', id: 'alice' }, kind: 'decision' };
    expect(await ask('Query', filter)).toBe(200);
    expect(await ask('Count', { query: filter, by: 'outcome' })).toBe(200);
    expect(await ask('Receipt', { tenant: 'acme', index })).toBe(200);
    const headers = { authorization: bearer(secrets.operator) };
    expect((await fileOf(server, 'tile/entries/000.p/2', { headers })).status).toBe(200);
    const named = { principal: 'user:alice', kind: 'decision' };
    expect(await readsOf('operator:root', 4)).toEqual([
      ['audit.query', { filters: [named], count: 1, records: 1 }],
      ['audit.count', { filters: [{ ...named, by: 'outcome' }], count: 1, records: 1 }],
      ['audit.receipt', { filters: [{ index }], count: 1, records: 1 }],
      ['audit.export', { filters: [{}], count: 1, records: 2 }],
    ]);
  });

  test('who was refused, or asked for nothing sound, has read nothing', async () => {
    const before = (await readsOf('operator:root', 0)).length;
    expect(await ask('Query', { tenant: 'acme', pageSize: 5_000 })).toBe(400);
    const { status } = await connect(
      server.admin,
      'AuditService/Query',
      { tenant: 'acme' },
      bearer(secrets.mcp),
    );
    expect(status).toBe(403);
    expect(await readsOf('operator:root', 0)).toHaveLength(before);
    expect(await found(server, { kind: 'read', caller: 'mcp_server:docs-mcp' })).toEqual([]);
  });

  test('is shown to who asks for reads, and to nobody else', async () => {
    await ask('Query', { tenant: 'acme', caller: 'operator:root' });
    await readsOf('operator:root', 1);
    const kinds = async (filter: object): Promise<Set<string>> =>
      new Set((await found(server, filter)).map(({ kind }) => kind));
    expect(await kinds({})).not.toContain('read');
    expect(await kinds({ caller: 'operator:root' })).not.toContain('read');
    const [one] = await found(server, { kind: 'read' });
    const { decision_id } = JSON.parse(Buffer.from(one?.body ?? '', 'base64').toString()) as {
      decision_id: string;
    };
    expect(await kinds({ decisionId: decision_id })).toEqual(new Set(['read']));
  });
});
