import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { expect, test } from 'vitest';
import { Callbacks } from '../../../src/delegation/callbacks/callbacks.ts';
import type { SigningKey } from '../../../src/delegation/keys/signing-key.ts';
import type { ApprovalRow } from '../../../src/storage/approvals/rows.ts';
import type { Tenant } from '../../../src/tenancy/tenants.ts';
import { listen } from '../../e2e/issuer.ts';
import { eventually } from '../../e2e/server.ts';

test('a tenant whose endpoints never answer keeps no other one from being told', async () => {
  const told: string[] = [];
  await using receiver = await listen((request, response) => {
    told.push(request.url ?? '');
    if (request.url === '/heard') response.end();
  });
  const stopping = new AbortController();
  const { privateKey } = generateKeyPairSync('ed25519');
  const key = { alg: 'EdDSA', kid: 'one', privateKey } as unknown as SigningKey;
  const callbacks = new Callbacks({
    keys: { signer: () => Promise.resolve(key) as never },
    issuerOf: ({ id }) => `${receiver.url}/t/${id}`,
    loopback: true,
    clock: Date.now,
    random: randomBytes,
    stopping: stopping.signal,
    failed: () => undefined,
  });
  const declares = (no: number, id: string, path: string) =>
    ({
      no,
      id,
      manifest: { approvals: { callbacks: [`${receiver.url}${path}`] } },
    }) as unknown as Tenant;
  const row = (path: string) =>
    ({
      id: 'x',
      state: 'cancelled',
      callback: JSON.stringify({ endpoint: `${receiver.url}${path}` }),
    }) as ApprovalRow;
  // Asked for and given up, again and again.
  for (let turn = 0; turn < 400; turn += 1) callbacks.notify(declares(1, 'acme', '/silent'), row('/silent'));
  callbacks.notify(declares(2, 'globex', '/heard'), row('/heard'));
  await eventually(
    () => Promise.resolve(told),
    (paths) => paths.includes('/heard'),
  );
  expect(told.length).toBeLessThan(100);
  stopping.abort();
});
