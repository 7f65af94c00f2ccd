import { expect, test } from 'vitest';
import { asks } from '../../../containment/tenants.ts';
import { Grpc } from '../../grpc.ts';
import { connect } from '../../requests.ts';
import { bearer, sha256 } from '../../server.ts';
import { acceptingOf, attacked, secrets } from './attacked.ts';

const OPERATOR = 'accepting-test-operator-secret-00000001';

const files = {
  'tenant.yaml': JSON.stringify({
    id: 'three',
    principals: [
      { class: 'user', id: 'u' },
      { class: 'service', id: 'pep', credentials: [{ secret_sha256: sha256(secrets.one) }] },
    ],
  }),
  // Some microseconds each, so that a batch lasts.
  'policy.rego': 'package authz\n\nallow if count([x | some x in numbers.range(1, 40); x > 0]) > 0\n',
};

test('a batch that is being decided when its tenant is retired allows nothing more from then on', async () => {
  await using served = await attacked({ operators: [{ id: 'root', secret_sha256: sha256(OPERATOR) }] });
  const administer = async (method: string, message: object): Promise<void> => {
    const { status } = await connect(served.admin, `TenantService/${method}`, message, bearer(OPERATOR));
    expect(status).toBe(200);
  };
  await administer('PutTenant', {
    tenant: 'three',
    files: Object.entries(files).map(([name, text]) => ({
      path: name,
      content: Buffer.from(text).toString('base64'),
    })),
  });
  using pep = new Grpc(served.data, secrets.one);
  const items = Array.from({ length: 10_000 }, () => ({}));
  const { context: _, ...asked } = asks('three');
  for (let at = 0; at < 20; at += 1) await pep.call('DecisionService', 'Check', asked);
  const { decided } = acceptingOf(served).counts;
  const batch = pep.call<{ results: { decision: string }[] }>('DecisionService', 'CheckBatch', {
    ...asked,
    items,
  });
  const retired = administer('RetireTenant', { tenant: 'three', reason: 'over' });
  const { results } = await batch;
  await retired;
  expect(acceptingOf(served).counts.decided - decided).toBeGreaterThanOrEqual(items.length);
  const said = Object.groupBy(results, ({ decision }) => decision);
  expect(said['DECISION_DENY']?.length ?? 0).toBeGreaterThan(0);
  expect(results.at(-1)?.decision).toBe('DECISION_DENY');
});
