import { cp, rm } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type AttackedLog, attacked, type Left, leftStore } from '../cli/attacked.ts';
import { aliceReads, check, request } from '../e2e/requests.ts';
import { bearer, eventually, secrets, startIn } from '../e2e/server.ts';

/**
 * What a server does with a store in which somebody changed what the log states of itself: it names it, is not ready,
 * answers nothing for that tenant and signs nothing more.
 */

let left: Left;
beforeAll(async () => {
  left = await leftStore();
});
afterAll(() => left[Symbol.asyncDispose]());

async function serverAfter(
  attack: (log: AttackedLog) => void,
): Promise<{ text: string; status: number; other: number }> {
  await using copy = await attacked(left.store, attack);
  const folder = path.dirname(left.store);
  const place = `${copy.folder}-server`;
  await cp(folder, place, { recursive: true });
  await rm(path.join(place, 'data'), { recursive: true });
  await cp(copy.folder, path.join(place, 'data'), { recursive: true });
  const server = await startIn(place);
  try {
    const { status } = await check(server.data, aliceReads, bearer(secrets.api));
    const text = await eventually(
      async () => (await request<{ text: string }>(`${server.admin}/readyz?verbose`)).body.text,
      (said) => said.includes('tenant acme: '),
    );
    const globex = { ...aliceReads, tenant: 'globex' };
    const other = (await check(server.data, globex, bearer(secrets.operator))).status;
    return { text, status, other };
  } finally {
    await server[Symbol.asyncDispose]();
  }
}

test.each<[string, (log: AttackedLog) => void, RegExp]>([
  [
    'its checkpoint is gone',
    (log) => log.run('DELETE FROM checkpoints WHERE tenant_no = ?', log.no),
    /the checkpoint of its log is damaged: it is gone/,
  ],
  [
    'the key that signed it is gone',
    (log) => log.run('DELETE FROM log_keys WHERE tenant_no = ?', log.no),
    /the checkpoint of its log is damaged: the key that signed it is gone/,
  ],
  [
    'it was signed by nobody',
    (log) =>
      log.run(
        "UPDATE checkpoints SET note = substr(note, 1, length(note) - 9) || 'AAAAAAA=' || char(10) WHERE tenant_no = ?",
        log.no,
      ),
    /the checkpoint of its log is damaged: /,
  ],
  [
    'it stands as one of more records',
    (log) => log.run('UPDATE checkpoints SET size = size + 1000 WHERE tenant_no = ?', log.no),
    /the checkpoint of its log is damaged: it stands as one of \d+ records/,
  ],
  [
    'the public key is another',
    (log) => log.run('UPDATE log_keys SET public = randomblob(32) WHERE tenant_no = ?', log.no),
    /tenant acme: the key of its log cannot be opened/,
  ],
  [
    'the sealed key is another',
    (log) => log.run('UPDATE log_keys SET sealed = randomblob(200) WHERE tenant_no = ?', log.no),
    /tenant acme: the key of its log cannot be opened/,
  ],
])('%s', async (_, attack, named) => {
  const { text, status, other } = await serverAfter(attack);
  expect(text).toMatch(/^not ready\n/);
  expect(text).toMatch(named);
  expect(status).toBe(503);
  expect(other).not.toBe(503);
});
