import { once } from 'node:events';
import http2 from 'node:http2';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { asks } from '../../../containment/tenants.ts';
import { Grpc } from '../../grpc.ts';
import { connect } from '../../requests.ts';
import { bearer, eventually, sha256 } from '../../server.ts';
import { acceptingOf, attacked, secrets } from './attacked.ts';

const OPERATOR = 'accepting-test-operator-secret-00000001';

interface Row {
  readonly body: string;
}

test('whoever is refused and leaves at once is in the log with the address that it came from', async () => {
  await using served = await attacked({ operators: [{ id: 'root', secret_sha256: sha256(OPERATOR) }] });
  using pep = new Grpc(served.data, secrets.one);
  for (let at = 0; at < 20; at += 1) await pep.call('DecisionService', 'Check', asks('one'));
  expect(acceptingOf(served).counts.decided).toBeGreaterThan(0);
  // A message that names the tenant and nothing else: who asks is looked at first.
  const frame = Buffer.from([0, 0, 0, 0, 5, 0x0a, 3, ...Buffer.from('two')]);
  const head = {
    ':method': 'POST',
    ':path': '/mandate.v1.DecisionService/Check',
    'content-type': 'application/grpc',
    te: 'trailers',
    authorization: bearer(secrets.one),
  };
  for (let turns = 0; turns < 12; turns += 1) {
    const session = http2.connect(served.data);
    session.on('error', () => undefined);
    await once(session, 'remoteSettings');
    // The connection is known first.
    const first = session.request(head).resume();
    first.end(frame);
    await once(first, 'close');
    for (let at = 0; at < 5; at += 1)
      session
        .request(head)
        .on('error', () => undefined)
        .end(frame);
    for (let turn = 0; turn < turns; turn += 1) await nextTurn();
    session.destroy();
  }
  const records = async (): Promise<{ detail: { address: string; count: number }; caller: string }[]> => {
    const asked = { tenant: 'two', kind: 'access', pageSize: 1_000 };
    const { body } = await connect<{ records?: Row[] }>(
      served.admin,
      'AuditService/Query',
      asked,
      bearer(OPERATOR),
    );
    return (body.records ?? []).map((row) => JSON.parse(Buffer.from(row.body, 'base64').toString()));
  };
  const all = await eventually(
    records,
    (rows) => rows.reduce((sum, { detail }) => sum + detail.count, 0) >= 12,
  );
  expect(new Set(all.map(({ detail }) => detail.address))).toEqual(new Set(['127.0.0.1']));
});
