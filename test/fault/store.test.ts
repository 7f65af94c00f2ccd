import path from 'node:path';
import type { Worker } from 'node:worker_threads';
import { describe, expect, test } from 'vitest';
import { mcp, Stage } from '../delegation/stage.ts';
import { failure, Grpc } from '../e2e/grpc.ts';
import { aliceReads, check, claimsOf, connect, postJson, request } from '../e2e/requests.ts';
import { bearer, secrets, startIn } from '../e2e/server.ts';
import { livingGrants, logIn } from './log.ts';

/** What cannot be recorded is not answered: an error, never an allow. Persisted or not, the two never differ. */

interface Broken extends AsyncDisposable {
  readonly stage: Stage;
  readonly data: string;
  /** A token that was granted while writes still worked. */
  readonly token: string;
  /** Whether what revokes and disables goes on: there is room for it when there is none for anything else. */
  readonly isRoomKept: boolean;
  /** Decisions that were answered, by their place in the log. */
  readonly answered: ReadonlyMap<number, string>;
}

/** The faults, each with what breaks the writes of a server that has worked so far. */
const faults: Record<string, () => Promise<Broken>> = {
  'the store is full': async () => {
    const stage = await Stage.open({
      overrides: { max_store_bytes: 1_048_576, tenant_limits: { store_bytes: 1_048_576 } },
    });
    const token = await stage.granted();
    const answered = new Map<number, string>();
    // First large ones, then small ones into what is left.
    for (const padding of ['x'.repeat(8_000), ''])
      for (let round = 0; round < 1_000; round += 1) {
        const { status, body } = await check(stage.server.data, { ...aliceReads, context: { padding } });
        if (status !== 200) break;
        answered.set(Number(body.recordIndex ?? 0), body.decisionId);
      }
    // The smallest records there are, into the last page.
    for (let round = 0; round < 1_000; round += 1) {
      const { status, body } = await connect<{ active?: boolean }>(
        stage.server.data,
        'DelegationService/Introspect',
        {
          tenant: 'acme',
          token: 'x',
        },
      );
      if (status !== 200) break;
      expect(body.active).toBeUndefined();
    }
    return broken(stage, token, answered, true);
  },
  'the writer thread died': async () => {
    const workers: Worker[] = [];
    const watch = (worker: Worker): void => void workers.push(worker);
    process.on('worker', watch);
    const stage = await Stage.open();
    process.off('worker', watch);
    const token = await stage.granted();
    const answered = new Map<number, string>();
    const asked = Array.from({ length: 50 }, () => check(stage.server.data, aliceReads));
    const [first] = await Promise.all([asked[0], workers.at(-1)?.terminate()]);
    for (const { status, body } of await Promise.all(asked))
      if (status === 200) answered.set(Number(body.recordIndex ?? 0), body.decisionId);
      else expect(body).toMatchObject({ code: 'unavailable' });
    expect(first).toBeDefined();
    return broken(stage, token, answered);
  },
};

const broken = (stage: Stage, token: string, answered: Map<number, string>, isRoomKept = false): Broken => ({
  stage,
  data: stage.server.data,
  token,
  answered,
  isRoomKept,
  [Symbol.asyncDispose]: () => stage[Symbol.asyncDispose](),
});

function expectUnchanged(data: string, log: readonly unknown[], grants: readonly string[]): void {
  expect(logIn(data).length).toBe(log.length);
  expect(livingGrants(data)).toEqual(grants);
}

describe.each(Object.keys(faults))('%s', (name) => {
  const open = (): Promise<Broken> => {
    const fault = faults[name];
    if (!fault) throw new Error('no such fault');
    return fault();
  };

  test('every answer is audit_unavailable, in the form of its protocol, and none is an allow', async () => {
    await using it = await open();
    const { tenant: _, ...evaluation } = aliceReads;
    expect(await check(it.data, aliceReads)).toMatchObject({ status: 503, body: { code: 'unavailable' } });
    expect(await postJson(`${it.data}/t/acme/access/v1/evaluation`, evaluation)).toMatchObject({
      status: 503,
      body: { error: 'audit_unavailable' },
    });
    using pep = new Grpc(it.data, secrets.api);
    const asked = { ...evaluation, tenant: 'acme', resource: { type: 'document', id: 'roadmap' } };
    expect((await failure(pep.call('DecisionService', 'Check', asked))).code).toBe('audit_unavailable');
    expect(await it.stage.exchange(await it.stage.issuer.sign())).toMatchObject({
      status: 503,
      body: { error: 'temporarily_unavailable', code: 'audit_unavailable' },
    });
    expect(await it.stage.introspect(it.token)).toMatchObject({ code: 'audit_unavailable' });
    expect(await it.stage.revoke(it.token)).toMatchObject({ status: it.isRoomKept ? 200 : 503 });
  });

  test('/readyz says so while nothing can be recorded', async () => {
    await using it = await open();
    await check(it.data, aliceReads);
    expect(await request(`${it.data}/readyz?verbose`)).toMatchObject({
      status: 503,
      body: { text: expect.stringMatching(/^not ready\nstore: /) },
    });
    expect((await request(`${it.data}/livez`)).status).toBe(200);
  });

  test('not persisted: what got an error left no record, no grant and no revocation', async () => {
    await using it = await open();
    const data = path.join(it.stage.server.folder, 'data');
    const before = logIn(data);
    const grants = livingGrants(data);
    await check(it.data, aliceReads);
    await it.stage.exchange(await it.stage.issuer.sign());
    if (it.isRoomKept) return expectUnchanged(data, before, grants);
    await it.stage.revoke(it.token);
    await connect(it.stage.server.admin, 'TenantService/SetPrincipalStatus', {
      tenant: 'acme',
      class: 'user',
      id: 'alice',
      status: 'PRINCIPAL_STATUS_DISABLED',
    });
    expectUnchanged(data, before, grants);
    expect(grants).toContain(claimsOf(it.token)['jti']);
  });

  test('persisted: every answer is in the log at its place, and the next server goes on from there', async () => {
    await using it = await open();
    const { folder } = it.stage.server;
    await it.stage.server.stop();
    const log = logIn(path.join(folder, 'data'));
    for (const [index, decisionId] of it.answered)
      expect(log[index]).toMatchObject({ index, decisionId, kind: 'decision', outcome: 'allow' });
    expect(log.map(({ index }) => index)).toEqual(log.map((_, at) => at));
    // Room again, or a thread again.
    const next = await startIn(folder);
    const asked = { ...aliceReads, subject: { type: 'user', id: 'bob' } };
    const { body } = await check(next.data, asked, bearer(secrets.api));
    expect(Number(body.recordIndex)).toBeGreaterThanOrEqual(log.length);
    // The base URL is another one now, so the old token is a stranger's; its grant is alive nevertheless.
    expect(
      await connect(
        next.data,
        'DelegationService/Revoke',
        {
          tenant: 'acme',
          grantId: claimsOf(it.token)['jti'],
        },
        bearer(mcp.secret),
      ),
    ).toMatchObject({ status: 200 });
    await next.stop();
  });
});

test('in a store that is full, administration stops before what ends grants and disables does', async () => {
  const fault = faults['the store is full'];
  await using it = await (fault as () => Promise<Broken>)();
  const padding = 'x'.repeat(4_000);
  let last = 200;
  for (let round = 0; round < 200 && last === 200; round += 1) {
    const principals = [{ class: 'user', id: `new-${round}`, properties: { padding } }];
    const { status } = await connect(it.stage.server.admin, 'TenantService/PutPrincipals', {
      tenant: 'acme',
      principals,
    });
    last = status;
  }
  expect(last).toBe(503);
  await it.stage.setStatus('user', 'alice', 'DISABLED');
  expect(await it.stage.revoke(it.token)).toMatchObject({ status: 200 });
  expect(livingGrants(path.join(it.stage.server.folder, 'data'))).toEqual([]);
});

test('in a store that is full, grants are revoked and principals disabled, and that is recorded', async () => {
  const fault = faults['the store is full'];
  await using it = await (fault as () => Promise<Broken>)();
  const data = path.join(it.stage.server.folder, 'data');
  for (let round = 0; round < 20; round += 1) {
    await it.stage.setStatus('user', 'bob', 'DISABLED');
    await it.stage.setStatus('user', 'bob', 'ACTIVE');
  }
  await it.stage.setStatus('user', 'alice', 'DISABLED');
  expect(await it.stage.revoke(it.token)).toMatchObject({ status: 200 });
  expect(livingGrants(data)).toEqual([]);
  expect(logIn(data).at(-2)).toMatchObject({
    action: 'principal.disable',
    target: { class: 'user', id: 'alice' },
  });
  // And still nobody is answered what is not recorded.
  expect(await check(it.data, aliceReads)).toMatchObject({ status: 503 });
});
