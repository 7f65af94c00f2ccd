import { cp } from 'node:fs/promises';
import path from 'node:path';
import { expect, test } from 'vitest';
import { attacked, leftStore, SIZE } from '../cli/attacked.ts';
import { audit } from '../cli/within.ts';
import { isProved, isSigned, keyOf, receiptOf, stated } from './log-by-hand.ts';
import { connect } from './requests.ts';
import { fileOf } from './served-log.ts';
import { startIn } from './server.ts';

/** A server over a store in which somebody changed an entry. */

test('what was changed is not served, proves nothing, and is named by whoever verifies from outside', async () => {
  await using left = await leftStore();
  await using copy = await attacked(left.store, (log) => log.change([300]));
  await cp(copy.folder, left.store, { recursive: true, force: true });
  const server = await startIn(path.dirname(left.store));
  try {
    const receipt = (index: number) =>
      connect<{ proof: string; code: string }>(server.admin, 'AuditService/Receipt', {
        tenant: 'acme',
        index,
      });
    const key = keyOf(left.keys.acme);
    expect(await receipt(300)).toMatchObject({ status: 503, body: { code: 'unavailable' } });
    for (const index of [299, 301])
      expect(isProved(receiptOf((await receipt(index)).body.proof), key), String(index)).toBe(true);
    const statuses = await Promise.all(
      ['tile/entries/000', 'tile/entries/001', 'tile/entries/001.p/44', 'tile/0/001', 'tile/1/000.p/2'].map(
        async (name) => (await fileOf(server, name)).status,
      ),
    );
    // Up to the entry, and hashes, are as they were.
    expect(statuses).toEqual([200, 503, 200, 200, 200]);
    const checkpoint = stated((await fileOf(server, 'checkpoint')).bytes.toString());
    expect([isSigned(checkpoint, key), checkpoint.size >= SIZE]).toEqual([true, true]);
    const address = `${server.admin}/t/acme/log/main`;
    const { code, stdout } = await audit('verify', address, '--key', left.keys.acme);
    expect(code).toBe(1);
    expect(stdout).toContain('  entries 256 to 511: each is missing or cannot be read\n');
  } finally {
    await server.stop();
  }
  const { code, stdout } = await audit('verify', left.store, '-t', 'acme', '--key', left.keys.acme);
  expect([code, stdout.split('\n')[1]]).toEqual([1, '  entry 300 was changed']);
});
