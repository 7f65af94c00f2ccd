import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { type Served, serve } from '../../containment/tenants.ts';
import { Grpc } from '../grpc.ts';
import { connect } from '../requests.ts';
import { sha256 } from '../server.ts';
import { type Answer, ask, askAlone, caller, onThread, principals, SECRET, until } from './started.ts';

/** A policy that fails on a decision thread: who is told where. */

const AUTHOR = 'offload-test-author-who-reads-secret-01';
const TWICE = `package authz

allow := true if input.subject.id == "u"

allow := false if input.action.name == "twice"
`;

let served: Served;
let [pep, author]: Grpc[] = [];
beforeAll(async () => {
  const reader = { ...caller, id: 'author', may: ['check', 'policy.read'] };
  const credentials = [{ secret_sha256: sha256(AUTHOR) }];
  served = await serve([
    { id: 'one', rego: TWICE, manifest: { principals: [...principals, { ...reader, credentials }] } },
  ]);
  [pep, author] = [new Grpc(served.data, SECRET), new Grpc(served.data, AUTHOR)];
  await ask(pep, 'one');
  await until(() => served.mandate.services.offload?.ready === 1);
});
afterAll(async () => {
  pep?.[Symbol.dispose]();
  author?.[Symbol.dispose]();
  await served[Symbol.asyncDispose]();
});

// A tenant whose policy fails three times at once is slowed down for a while.
beforeEach(() => delay(600));

const twice = { action: { name: 'twice' } };
const messagesOf = ({ reasons }: Answer): unknown =>
  (reasons as unknown as { message: string }[]).map(({ message }) => message);

test.each([
  ['on the thread', ask, 1],
  ['on main', askAlone, 0],
] as const)(
  '%s: those who may read the policy, and the record, and what lists tenants',
  async (_, asking, count) => {
    const told = await onThread(served, () => asking(author as Grpc, 'one', twice));
    expect(told.answered).toBe(count);
    expect(messagesOf(told.value)).toEqual([
      'The policy could not be evaluated. It failed at policy.rego:5:1.',
    ]);
    const plain = await onThread(served, () => asking(pep as Grpc, 'one', twice));
    expect(plain.answered).toBe(count);
    expect(messagesOf(plain.value)).toEqual(['The policy could not be evaluated.']);
    const { body } = await connect<{ records: { body: string }[] }>(served.admin, 'AuditService/Query', {
      tenant: 'one',
      decisionId: plain.value.decision_id,
    });
    const record = JSON.parse(Buffer.from(body.records[0]?.body ?? '', 'base64').toString()) as object;
    expect(record).toMatchObject({ failed_at: 'policy.rego:5:1', reasons: [{ code: 'policy_failed' }] });
  },
);

test('what fails on a thread makes the tenant degraded, by its place', async () => {
  const { body } = await connect<{ tenants: object[] }>(served.admin, 'TenantService/ListTenants', {});
  expect(body.tenants).toMatchObject([
    { state: 'degraded', why: 'its policy failed repeatedly (policy_failed at policy.rego:5:1)' },
  ]);
});
