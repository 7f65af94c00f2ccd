import { cp, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { agent, mcp, Stage } from '../delegation/stage.ts';
import { aliceReads, check, connect, exchangeFields, form, request, tokenReads } from '../e2e/requests.ts';
import { bearer, editTenant, eventually, type Running, secrets } from '../e2e/server.ts';
import { authorityOverrides, isReady, startSidecar } from './fleet.ts';
import { Line } from './line.ts';

/** What a sidecar does while it hears nothing, too late, or something else than before. */

const BASE = 'http://pdp.acme.test';

let stage: Stage;
let data: Line;
let admin: Line;
let sidecar: Running;

beforeAll(async () => {
  stage = await Stage.open({ overrides: { ...authorityOverrides, base_url: BASE } });
  await editTenant(stage.server.tenantFolder('globex'), (manifest) => {
    Object.assign(manifest, { when_stale: 'refuse_all' });
  });
  await connect(stage.server.admin, 'PolicyService/ReloadPolicy', { tenant: 'globex' });
  [data, admin] = await Promise.all([Line.to(stage.server.data), Line.to(stage.server.admin)]);
  sidecar = await startSidecar(
    { data: data.url, admin: admin.url },
    { base_url: BASE, max_staleness_seconds: 2.5 },
  );
  await isReady(sidecar);
});

afterAll(async () => {
  await sidecar[Symbol.asyncDispose]();
  await data[Symbol.asyncDispose]();
  await admin[Symbol.asyncDispose]();
  await stage[Symbol.asyncDispose]();
});

const cut = (): void => {
  data.cut();
  admin.cut();
};
const mend = (): void => {
  data.mend();
  admin.mend();
};
const asMcp = (at: Running, token: string, more: object = {}) =>
  check(at.data, { ...tokenReads(token, ''), ...more }, bearer(mcp.secret));
/** On a machine that is busy a ping may be late for a while. */
const allowed = (ask: () => ReturnType<typeof check>) =>
  eventually(ask, ({ body }) => body.decision === 'DECISION_ALLOW');
const bobInGlobex = { ...aliceReads, tenant: 'globex' };
const setStatus = (status: 'ACTIVE' | 'DISABLED') => stage.setStatus('user', 'alice', status);
const codeOf = ({ body }: { body: object }): unknown => (body as { message?: string }).message?.split(':')[0];

describe('a sidecar that is cut off', () => {
  test('goes on where nothing depends on what it cannot hear, and says so where it does', async () => {
    const token = await stage.granted();
    await allowed(() => asMcp(sidecar, token));
    await allowed(() => check(sidecar.data, bobInGlobex));
    cut();
    const refused = await eventually(
      () => asMcp(sidecar, token),
      ({ status }) => status === 503,
    );
    expect(codeOf(refused)).toBe('state_stale');
    expect((await check(sidecar.data, aliceReads)).body.decision).toBe('DECISION_ALLOW');
    expect(codeOf(await check(sidecar.data, bobInGlobex))).toBe('state_stale');
    const exchanged = await form(sidecar.data, 'token', exchangeFields(await stage.issuer.sign()), agent);
    expect(exchanged.status).toBe(503);
    const told = await request<{ text: string }>(`${sidecar.admin}/readyz?verbose`);
    expect(told.body.text).toMatch(/authority: nothing was heard/);
    expect(codeOf(await check(sidecar.data, { ...aliceReads, atLeast: 1_000_000 }))).toBe('state_stale');
  });

  test('hears what it missed once it is not any more', async () => {
    cut();
    await setStatus('DISABLED');
    expect((await check(sidecar.data, aliceReads)).body.decision).toBe('DECISION_ALLOW');
    mend();
    await eventually(
      () => check(sidecar.data, aliceReads),
      ({ body }) => body.decision === 'DECISION_DENY',
    );
    await setStatus('ACTIVE');
    await eventually(
      () => check(sidecar.data, aliceReads),
      ({ body }) => body.decision === 'DECISION_ALLOW',
    );
    const token = await stage.granted();
    await eventually(
      () => asMcp(sidecar, token),
      ({ body }) => body.decision === 'DECISION_ALLOW',
    );
  });

  test('is not deceived by what a slow line still delivers: age is counted from when it asked', async () => {
    mend();
    const token = await stage.granted();
    await eventually(
      () => asMcp(sidecar, token),
      ({ body }) => body.decision === 'DECISION_ALLOW',
    );
    admin.delay(2_000);
    const refused = await eventually(
      () => asMcp(sidecar, token),
      ({ status }) => status === 503,
    );
    expect(codeOf(refused)).toBe('state_stale');
    mend();
    cut();
    mend();
    await eventually(
      () => asMcp(sidecar, token),
      ({ body }) => body.decision === 'DECISION_ALLOW',
    );
  });

  test('starts without its authority from what it has, and is stale until it hears of it', async () => {
    mend();
    const token = await stage.granted();
    await eventually(
      () => asMcp(sidecar, token),
      ({ body }) => body.decision === 'DECISION_ALLOW',
    );
    await sidecar.stop();
    cut();
    sidecar = await startSidecar(
      { data: data.url, admin: admin.url },
      { base_url: BASE, max_staleness_seconds: 2.5, folder: sidecar.folder },
    );
    expect((await check(sidecar.data, aliceReads)).body.decision).toBe('DECISION_ALLOW');
    expect(codeOf(await asMcp(sidecar, token))).toBe('state_stale');
    expect((await request(`${sidecar.data}/readyz`)).status).toBe(503);
    mend();
    await isReady(sidecar);
    await allowed(() => asMcp(sidecar, token));
  });
});

describe('an authority', () => {
  test('that came back with an older history is copied, and nobody keeps what it lost', async () => {
    mend();
    await using kept = await temporary();
    await stage.server.stop();
    await cp(path.join(stage.server.folder, 'data'), path.join(kept.folder, 'data'), { recursive: true });
    await stage.restart({ overrides: { ...authorityOverrides, base_url: BASE } });
    await reconnect();
    await setStatus('DISABLED');
    await eventually(
      () => check(sidecar.data, aliceReads),
      ({ body }) => body.decision === 'DECISION_DENY',
    );
    // Restored: it has not heard of that, and goes another way from there.
    await stage.server.stop();
    await rm(path.join(stage.server.folder, 'data'), { recursive: true });
    await cp(path.join(kept.folder, 'data'), path.join(stage.server.folder, 'data'), { recursive: true });
    await stage.restart({ overrides: { ...authorityOverrides, base_url: BASE } });
    await reconnect();
    await stage.setStatus('user', 'bob', 'DISABLED');
    await eventually(
      () => check(sidecar.data, aliceReads),
      ({ body }) => body.decision === 'DECISION_ALLOW',
    );
    const bob = { ...aliceReads, subject: { type: 'user', id: 'bob' } };
    await eventually(
      () => check(sidecar.data, bob),
      ({ body }) => body.decision === 'DECISION_DENY',
    );
    await stage.setStatus('user', 'bob', 'ACTIVE');
  });

  test('is followed by nobody who may not', async () => {
    const stranger = await startSidecar(
      { data: data.url, admin: admin.url },
      { base_url: BASE, node: 'stranger' },
      secrets.operator,
    );
    await using _stranger = stranger;
    const told = await eventually(
      () => request<{ text: string }>(`${stranger.admin}/readyz?verbose`),
      ({ body }) => body.text.includes('permission_denied'),
    );
    expect(told.status).toBe(503);
    expect([...stranger.mandate.tenants]).toEqual([]);
  });

  test('of another name is not followed: its tokens would be of another issuer', async () => {
    const other = await startSidecar(
      { data: data.url, admin: admin.url },
      { base_url: 'http://elsewhere.test', node: 'other' },
    );
    await using _other = other;
    const told = await eventually(
      () => request<{ text: string }>(`${other.admin}/readyz?verbose`),
      ({ body }) => body.text.includes('http://elsewhere.test'),
    );
    expect(told.status).toBe(503);
  });
});

/** The lines lead to where it was; it has other ports now. */
async function reconnect(): Promise<void> {
  const folder = sidecar.folder;
  await sidecar.stop();
  await data[Symbol.asyncDispose]();
  await admin[Symbol.asyncDispose]();
  [data, admin] = await Promise.all([Line.to(stage.server.data), Line.to(stage.server.admin)]);
  sidecar = await startSidecar(
    { data: data.url, admin: admin.url },
    { base_url: BASE, max_staleness_seconds: 2.5, folder },
  );
  await isReady(sidecar);
}

async function temporary(): Promise<{ folder: string } & AsyncDisposable> {
  const folder = await mkdtemp(path.join(tmpdir(), 'mandate-kept-'));
  return { folder, [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }) };
}
