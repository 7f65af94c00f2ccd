import { MessagePort } from 'node:worker_threads';
import { expect, test, vi } from 'vitest';
import type { Learnt } from '../../../../src/server/offload/protocol.ts';
import { asks } from '../../../containment/tenants.ts';
import { failure, Grpc } from '../../grpc.ts';
import { connect } from '../../requests.ts';
import { bearer, sha256 } from '../../server.ts';
import { acceptingOf, attacked, secrets } from './attacked.ts';

/** What main tells threads, and when. */

const OPERATOR = 'accepting-test-operator-secret-00000001';

test('a thread hears of a change before it hears of its version: no record names one that it was not made by', async () => {
  await using served = await attacked({ operators: [{ id: 'root', secret_sha256: sha256(OPERATOR) }] });
  using pep = new Grpc(served.data, secrets.one);
  for (let at = 0; at < 20; at += 1) await pep.call('DecisionService', 'Check', asks('one'));
  expect(acceptingOf(served).counts.decided).toBeGreaterThan(0);
  const told: string[] = [];
  using post = vi.spyOn(MessagePort.prototype, 'postMessage');
  for (const status of ['disabled', 'active', 'disabled']) {
    const asked = { tenant: 'one', class: 'user', id: 'u', status };
    const { status: code } = await connect(
      served.admin,
      'TenantService/SetPrincipalStatus',
      { ...asked, status: `PRINCIPAL_STATUS_${status.toUpperCase()}` },
      bearer(OPERATOR),
    );
    expect(code).toBe(200);
  }
  for (const [message] of post.mock.calls as [object][])
    for (const kind of ['changed', 'version']) if (kind in message) told.push(kind);
  const first = told.indexOf('version');
  expect(first).toBeGreaterThan(-1);
  expect(told.slice(0, first)).toContain('changed');
});

test('nothing of a tenant is sent to a thread for a caller who is nobody there', async () => {
  await using served = await attacked();
  using pep = new Grpc(served.data, secrets.one);
  using post = vi.spyOn(MessagePort.prototype, 'postMessage');
  for (let at = 0; at < 5; at += 1) {
    await pep.call('DecisionService', 'Check', asks('one'));
    const { code } = await failure(pep.call('DecisionService', 'Check', asks('two')));
    expect(code).toBe('unauthenticated');
  }
  const learnt = (post.mock.calls as [object][]).flatMap(([message]) =>
    'bundle' in message ? [(message as unknown as Learnt).tenant.id] : [],
  );
  expect(new Set(learnt)).toEqual(new Set(['one']));
});
