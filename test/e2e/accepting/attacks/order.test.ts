import { MessagePort } from 'node:worker_threads';
import { expect, test, vi } from 'vitest';
import { asks } from '../../../containment/tenants.ts';
import { Grpc } from '../../grpc.ts';
import { connect } from '../../requests.ts';
import { bearer, sha256 } from '../../server.ts';
import { acceptingOf, attacked, secrets } from './attacked.ts';

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
