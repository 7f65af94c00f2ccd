import { randomBytes } from 'node:crypto';
import { cp, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { request } from '../e2e/requests.ts';
import { startIn, writeTenants } from '../e2e/server.ts';

/** What a server does with a store whose signing keys its master key does not open. */

let folder: string;
const jwks = async (base: string): Promise<number> => (await request(`${base}/t/acme/oauth2/jwks`)).status;

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'mandate-master-'));
  await writeTenants(folder);
  const server = await startIn(folder);
  expect(await jwks(server.data)).toBe(200);
  await server.stop();
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** The same store once more, in a folder that goes with it. */
async function copy(): Promise<string> {
  const to = await mkdtemp(path.join(tmpdir(), 'mandate-master-'));
  await cp(folder, to, { recursive: true });
  return to;
}

test('a store with sealed keys is not opened without the master key, and none is made for it', async () => {
  const copied = await copy();
  const [there, away] = [path.join(copied, 'data/master.key'), path.join(copied, 'master.key')];
  await rename(there, away);
  await expect(startIn(copied)).rejects.toMatchObject({
    code: 'config_invalid',
    message: expect.stringContaining('there is no master key') as unknown,
  });
  await expect(startIn(copied, { overrides: { master_key_file: `${away}.typo` } })).rejects.toMatchObject({
    code: 'config_invalid',
  });
  await using server = await startIn(copied, { overrides: { master_key_file: away } });
  expect(await jwks(server.data)).toBe(200);
});

test('nor with another one', async () => {
  const copied = await copy();
  await writeFile(path.join(copied, 'data/master.key'), randomBytes(32));
  await expect(startIn(copied)).rejects.toMatchObject({
    code: 'config_invalid',
    message: expect.stringContaining('is not the master key of this store') as unknown,
  });
  await rm(copied, { recursive: true, force: true });
});

test.each([
  [0, 'is empty, as a power cut may leave it'],
  [31, 'has 31 bytes'],
])('a file of %i bytes is named, and what it %s', async (length, words) => {
  const copied = await copy();
  const file = path.join(copied, 'data/master.key');
  await writeFile(file, randomBytes(length));
  await expect(startIn(copied)).rejects.toMatchObject({
    code: 'config_invalid',
    message: expect.stringContaining(
      `${file} ${words}; a master key has 32, and the store's signing keys`,
    ) as unknown,
  });
  await rm(copied, { recursive: true, force: true });
});
