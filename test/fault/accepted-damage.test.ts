import { cp, rm } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { attacked, leftStore } from '../cli/attacked.ts';
import { audit } from '../cli/within.ts';
import { isProved, isSigned, keyOf, receiptOf, stated } from '../e2e/log-by-hand.ts';
import { connect, form, request, tokenReads } from '../e2e/requests.ts';
import { checkpointOf, decideOne } from '../e2e/served-log.ts';
import { bearer, eventually, type Running, secrets, startIn } from '../e2e/server.ts';
import { logIn } from './log.ts';
import { type ServeProcess, serveProcess } from './process.ts';
import { asked, bob, isActive, type Kept, keptStore, SIZE, tampered, zoe } from './tampered.ts';

/** `--accept-damage`: a damaged log is set aside as it is, and what its tenant has goes on under a new one. */

let kept: Kept;
beforeAll(async () => {
  kept = await keptStore();
});
afterAll(() => rm(kept.folder, { recursive: true, force: true }));

const accepting = (folder: string, tenants = ['acme']): Promise<Running> =>
  startIn(folder, { overrides: { data: kept.data, accept_damage: tenants } });

const readyz = async (base: string): Promise<string> =>
  (await request<{ text: string }>(`${base}/readyz?verbose`)).body.text;

const keyServed = async (server: Running, tenant = 'acme'): Promise<string> =>
  (await connect<{ key: string }>(server.admin, 'AuditService/DescribeLog', { tenant })).body.key;

test('it is ready at once, and everything but the log is as it was', async () => {
  await using copy = await tampered(kept, (log) => log.run('DELETE FROM runs WHERE id = ?', log.at(20)));
  const store = path.join(copy.folder, 'data');
  const old = logIn(store).map(({ body }) => Buffer.from(body).toString());
  let key = '';
  {
    const server = await accepting(copy.folder);
    try {
      expect(await readyz(server.admin)).toBe('ready\n');
      // Tokens, grants, signing keys and principals.
      expect(await isActive(server, kept.token)).toBe(true);
      const byToken = tokenReads(kept.token);
      const mcp = bearer(secrets.mcp);
      const read = () => connect(server.data, 'DecisionService/Check', byToken, mcp);
      expect((await read()).body).toMatchObject({ decision: 'DECISION_ALLOW' });
      expect((await asked(server, zoe)).body).toMatchObject({ decision: 'DECISION_ALLOW' });
      const refused = await asked(server, bob);
      expect(refused.body).toMatchObject({ decision: 'DECISION_DENY' });
      const agent = { id: 'research-agent', secret: secrets.agent };
      expect((await form(server.data, 'revoke', { token: kept.token }, agent)).status).toBe(200);
      expect(await isActive(server, kept.token)).toBe(false);
      expect((await read()).body).toMatchObject({ decision: 'DECISION_DENY' });
      // The new log is another one, and proves what it holds.
      key = await keyServed(server);
      const [before, after] = [keyOf(kept.key), keyOf(key)];
      expect(after.name).toBe(`${before.name}-2`);
      const checkpoint = stated(await checkpointOf(server, 5));
      expect([isSigned(checkpoint, after), checkpoint.origin]).toEqual([true, after.name]);
      const { index } = await decideOne(server);
      const { body } = await eventually(
        () => connect<{ proof: string }>(server.admin, 'AuditService/Receipt', { tenant: 'acme', index }),
        ({ status }) => status === 200,
      );
      expect(isProved(receiptOf(body.proof), after)).toBe(true);
      // What was set aside is no tenant that anybody can name.
      expect((await connect(server.admin, 'AuditService/DescribeLog', { tenant: 'acme~1' })).status).toBe(
        404,
      );
      expect(await readyz(server.admin)).toBe('ready\n');
    } finally {
      await server.stop();
    }
  }
  const [first] = logIn(store);
  expect(first).toMatchObject({
    kind: 'administration',
    action: 'log.restart',
    outcome: 'done',
    caller: 'start',
  });
  expect((JSON.parse(Buffer.from(first?.body ?? []).toString()) as { detail: unknown }).detail).toEqual({
    set_aside: 'acme~1',
    damage: 'record 20 of its log is damaged',
    checkpoint: kept.checkpoint,
  });
  expect(logIn(store, 'acme~1').map(({ body }) => Buffer.from(body).toString())).toEqual(old);
  const verified = await audit('verify', store, '-t', 'acme', '--key', key);
  expect(verified, verified.stdout).toMatchObject({ code: 0 });
  const aside = await audit('verify', store, '-t', 'acme~1', '--key', kept.key);
  expect([aside.code, aside.stdout]).toEqual([1, expect.stringMatching(/entry 20/)]);
  // By the old key the new one is nothing.
  expect((await audit('verify', store, '-t', 'acme', '--key', kept.key)).code).not.toBe(0);

  // Once more, with the same words in the configuration: there is nothing to do.
  const again = await accepting(copy.folder);
  expect(await readyz(again.admin)).toBe('ready\n');
  expect(await keyServed(again)).toBe(key);
  await again.stop();
  expect(logIn(store).filter(({ action }) => action === 'log.restart')).toHaveLength(1);
  expect(logIn(store, 'acme~2')).toEqual([]);
  // And without them: what was set aside is held against nobody.
  const without = await startIn(copy.folder, { overrides: { data: kept.data } });
  await new Promise((resolve) => setTimeout(resolve, 500));
  expect(await readyz(without.admin)).toBe('ready\n');
  await without.stop();
});

test('what is wrong with another log is named beside many faults of this one, and stays when it is set aside', async () => {
  await using copy = await tampered(kept, (log) => {
    for (let index = 2; index < 58; index += 2) log.run('DELETE FROM runs WHERE id = ?', log.at(index));
    const globex = log.db.prepare("SELECT no FROM tenants WHERE id = 'globex'").pluck().get() as number;
    log.run('UPDATE runs SET bodies = zeroblob(length(bodies)) WHERE id = ?', globex * 2 ** 36 + 1);
  });
  const words = 'tenant globex: record 1 of its log is damaged\n';
  const server = await startIn(copy.folder, { overrides: { data: kept.data } });
  const said = await readyz(server.admin);
  await server.stop();
  expect(said).toContain('tenant acme: record 2 of its log is damaged\n');
  expect(said).toContain(words);
  const accepted = await accepting(copy.folder);
  const after = await readyz(accepted.admin);
  await accepted.stop();
  expect(after).toMatch(/^not ready\n/);
  expect(after).toContain(words);
  expect(after).not.toContain('acme');
});

test('a log may be set aside more than once', async () => {
  await using copy = await tampered(kept, (log) => log.run('DELETE FROM runs WHERE id = ?', log.at(20)));
  await (await accepting(copy.folder)).stop();
  await using twice = await tampered({ ...kept, folder: copy.folder }, (log) =>
    log.change([0], (body) => Buffer.from(body.toString().replace('restart', 'nothing'))),
  );
  const server = await accepting(twice.folder);
  try {
    expect(await readyz(server.admin)).toBe('ready\n');
    expect(keyOf(await keyServed(server)).name).toMatch(/\/log\/main-3$/);
    expect((await asked(server)).status).toBe(200);
    expect(await isActive(server, kept.token)).toBe(true);
  } finally {
    await server.stop();
  }
  const store = path.join(twice.folder, 'data');
  expect(logIn(store)[0]).toMatchObject({ action: 'log.restart' });
  expect(logIn(store, 'acme~1').length).toBe(SIZE - 1);
  expect(logIn(store, 'acme~2').length).toBeGreaterThan(0);
});

const RESTARTED =
  /^mandate: acme: record 20 of its log is damaged; it was set aside as acme~1, and a new log begins$/m;
const NOTHING = /^mandate: acme: nothing is wrong with its log, so --accept-damage does nothing$/m;

/** What `mandate serve --accept-damage acme` says on a folder. */
async function saidOn(
  folder: string,
  see: (server: ServeProcess) => Promise<void>,
  tenant = 'acme',
): Promise<string> {
  await using server = await serveProcess({ folder, flags: ['--accept-damage', tenant] });
  await see(server);
  expect(await server.end('SIGTERM')).toEqual({ code: 0, signal: null });
  return server.stderr();
}

test('the command says what it did; once more, that there is nothing to do', async () => {
  await using copy = await tampered(kept, (log) => log.run('DELETE FROM runs WHERE id = ?', log.at(20)));
  const isReady = async ({ admin }: ServeProcess): Promise<void> =>
    expect(await readyz(admin)).toBe('ready\n');
  const first = await saidOn(copy.folder, isReady);
  expect(first).toMatch(RESTARTED);
  expect(first).not.toMatch(NOTHING);
  const second = await saidOn(copy.folder, isReady);
  expect(second).toMatch(NOTHING);
  expect(second).not.toMatch(/set aside/);
});

test('killed before the new log has a key, it starts again', async () => {
  await using copy = await tampered(kept, (log) => {
    log.run('DELETE FROM runs WHERE id = ?', log.at(20));
    // The master key is tried on the newest.
    log.run('UPDATE log_keys SET created_at = created_at + 60000 WHERE tenant_no = ?', log.no);
  });
  {
    await using server = await serveProcess({ folder: copy.folder, flags: ['--accept-damage', 'acme'] });
    await server.end('SIGKILL');
  }
  const again = await startIn(copy.folder, { overrides: { data: kept.data } });
  expect(await readyz(again.admin)).toBe('ready\n');
  await again.stop();
  expect(logIn(path.join(copy.folder, 'data'))[0]).toMatchObject({ action: 'log.restart' });
});

test('a log that is whole stays, whoever says otherwise', async () => {
  await using copy = await tampered(kept, () => undefined);
  expect(await saidOn(copy.folder, () => Promise.resolve())).toMatch(NOTHING);
  const actions = logIn(path.join(copy.folder, 'data')).map(({ action }) => action);
  expect(actions).not.toContain('log.restart');
  expect(actions.length).toBeGreaterThanOrEqual(SIZE);
  expect(logIn(path.join(copy.folder, 'data'), 'acme~1')).toEqual([]);
});

test('a tenant that is not there is none, and is not made', async () => {
  await using copy = await tampered(kept, () => undefined);
  const server = await accepting(copy.folder, ['nowhere']);
  expect(await readyz(server.admin)).toBe('ready\n');
  await server.stop();
  expect(logIn(path.join(copy.folder, 'data'), 'nowhere')).toEqual([]);
  const said = await saidOn(copy.folder, () => Promise.resolve(), 'nowhere');
  expect(said).toMatch(
    /^mandate: nowhere: the store has no tenant of this name, so --accept-damage does nothing$/m,
  );
});

test('a record that was forged with its hash is damage by the tile that is full', async () => {
  await using left = await leftStore();
  await using copy = await attacked(left.store, (log) => log.forge([40]));
  const folder = path.dirname(left.store);
  await rm(left.store, { recursive: true });
  await cp(copy.folder, left.store, { recursive: true });
  {
    const server = await startIn(folder);
    const said = await eventually(
      () => readyz(server.admin),
      (text) => text.startsWith('not ready'),
    );
    expect(said).toContain('tenant acme: records 0 to 255 of its log are damaged\n');
    await server.stop();
  }
  const server = await startIn(folder, { overrides: { accept_damage: ['acme'] } });
  expect(await readyz(server.admin)).toBe('ready\n');
  await server.stop();
  expect(logIn(left.store)[0]).toMatchObject({ action: 'log.restart' });
});
