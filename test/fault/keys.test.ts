import { existsSync, readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { connect } from '../e2e/requests.ts';
import { writeTenants } from '../e2e/server.ts';
import { logIn } from './log.ts';
import { type ServeProcess, serveProcess } from './process.ts';

/** A server that is killed while keys change: what was answered is so, and no key is there without its record. */

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'mandate-keys-'));
  await writeTenants(folder);
});
afterEach(() => rm(folder, { recursive: true, force: true }));

type Keys = Record<string, string>;

/** The state of each key; undefined where the server gave no answer. */
const ask = (server: ServeProcess, method: string, body: object = {}): Promise<Keys | undefined> =>
  connect<{ keys: { kid: string; state: string }[] }>(server.admin, `KeyService/${method}`, {
    tenant: 'acme',
    ...body,
  }).then(
    ({ body: { keys } }) => Object.fromEntries(keys.map(({ kid, state }) => [kid, state])),
    () => undefined,
  );

/** What the records say there is. */
function recorded(): Keys {
  const keys: Keys = {};
  for (const { kind, action, resource, body } of logIn(path.join(folder, 'data'))) {
    const { use, removed = [] } =
      (JSON.parse(Buffer.from(body).toString()) as { detail?: Detail }).detail ?? {};
    if (kind !== 'key' || use !== 'tokens') continue;
    for (const kid of removed) delete keys[kid];
    const isFirst = Object.keys(keys).length === 0;
    keys[resource.id] = action === 'key.replace' || isFirst ? 'KEY_STATE_ACTIVE' : 'KEY_STATE_NEXT';
  }
  return keys;
}
interface Detail {
  use?: string;
  removed?: string[];
}

test.each([
  ['rotated', {}],
  ['replaced', { compromised: true }],
])('keys that were %s, and SIGKILL straight after the answer', async (_, how) => {
  const server = await serveProcess({ folder });
  await ask(server, 'ListKeys');
  const answered = await ask(server, 'RotateKey', how);
  await server.end('SIGKILL');
  expect(Object.keys(answered ?? {})).toHaveLength('compromised' in how ? 1 : 2);
  expect(recorded()).toEqual(answered);
  await using again = await serveProcess({ folder });
  expect(await ask(again, 'ListKeys')).toEqual(answered);
});

test('SIGKILL before the commit: the keys are those of before', async () => {
  const preload = path.resolve(import.meta.dirname, 'faults.mjs');
  const server = await serveProcess({ folder, preload });
  const before = await ask(server, 'ListKeys');
  await writeFile(path.join(folder, 'writer.hang'), '');
  await delay(100);
  const answered = ask(server, 'RotateKey', { compromised: true });
  await delay(200);
  await server.end('SIGKILL');
  expect(await answered).toBeUndefined();
  await rm(path.join(folder, 'writer.hang'));
  await using again = await serveProcess({ folder });
  expect(await ask(again, 'ListKeys')).toEqual(before);
});

test('SIGKILL at any moment: the keys are those that the records tell of', async () => {
  for (let life = 0; life < 4; life += 1) {
    const server = await serveProcess({ folder });
    // Whoever asks first makes the first one.
    await ask(server, 'ListKeys');
    const changing = (async () => {
      for (let turn = 0; turn < 100; turn += 1)
        if (!(await ask(server, 'RotateKey', { compromised: turn % 2 === 1 }))) return;
    })();
    await delay(50 + life * 60);
    await server.end('SIGKILL');
    await changing;
    const told = recorded();
    await using again = await serveProcess({ folder });
    expect(await ask(again, 'ListKeys')).toEqual(told);
  }
});

test('SIGKILL while another master key comes in: what it seals opens, and the change is done with the next start', async () => {
  const first = await serveProcess({ folder });
  const keys = await ask(first, 'ListKeys');
  await first.end('SIGKILL');
  const master = path.join(folder, 'data', 'master.key');
  for (let life = 0; life < 5; life += 1) {
    const before = readFileSync(master);
    const server = await serveProcess({ folder });
    const answered = connect(server.admin, 'KeyService/RotateMasterKey', {}).then(
      ({ status }) => status === 200,
      () => false,
    );
    await delay(life * 3);
    await server.end('SIGKILL');
    const wasAnswered = await answered;
    const hasBegun = wasAnswered || existsSync(`${master}.next`);
    {
      await using again = await serveProcess({ folder });
      expect(await ask(again, 'ListKeys')).toEqual(keys);
      expect(existsSync(`${master}.next`)).toBe(false);
    }
    if (hasBegun) expect(readFileSync(master).equals(before)).toBe(false);
  }
});
