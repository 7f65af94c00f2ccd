import { afterAll, beforeAll, expect, test } from 'vitest';
import { connect } from './requests.ts';
import { bearer, type Running, secrets, startServer } from './server.ts';

/** DecisionService.Plan, as a service asks it. */

let server: Running;
beforeAll(async () => {
  server = await startServer();
});
afterAll(() => server[Symbol.asyncDispose]());

interface Planned {
  outcome?: string;
  condition?: object;
  obligations?: { obligation: object; when?: object }[];
  reasons?: { code: string }[];
  decisionId: string;
  recordIndex: string;
  code?: string;
  message?: string;
}

const plan = async (asked: object, secret: string = secrets.api) => {
  const body = {
    tenant: 'acme',
    subject: { type: 'user', id: 'alice' },
    action: { name: 'document.read' },
    resourceType: 'document',
    ...asked,
  };
  return connect<Planned>(server.data, 'DecisionService/Plan', body, bearer(secret));
};

test('a plan is a condition, with what is owed where it holds', async () => {
  const { body } = await plan({});
  expect(body).toMatchObject({
    outcome: 'PLAN_OUTCOME_CONDITIONAL',
    condition: { op: 'CONDITION_OP_OR' },
    obligations: [{ obligation: { type: 'watermark', text: 'alice' }, when: { op: 'CONDITION_OP_IN' } }],
  });
});

test('what is known of the resources settles it', async () => {
  const internal = await plan({ properties: { sensitivity: 'internal' } });
  expect(internal.body.outcome).toBe('PLAN_OUTCOME_ALWAYS_ALLOWED');
  const mallory = await plan({ subject: { type: 'user', id: 'mallory' } });
  expect(mallory.body).toMatchObject({
    outcome: 'PLAN_OUTCOME_ALWAYS_DENIED',
    reasons: [{ code: 'not_allowed' }],
  });
});

test('what would be a challenge is in no plan, and with a second factor the owner is', async () => {
  const action = { name: 'document.delete' };
  expect((await plan({ action })).body.outcome).toBe('PLAN_OUTCOME_ALWAYS_DENIED');
  expect((await plan({ action, context: { mfa: true } })).body.condition).toEqual({
    op: 'CONDITION_OP_EQ',
    attribute: ['resource', 'properties', 'owner'],
    value: 'alice',
  });
});

test('a refused token is a plan by which nothing is allowed', async () => {
  const { body } = await plan({ subject: undefined, subjectToken: 'nonsense' });
  expect(body).toMatchObject({ outcome: 'PLAN_OUTCOME_ALWAYS_DENIED', reasons: [{ code: 'token_invalid' }] });
});

test('nobody asks who may not ask for decisions', async () => {
  expect((await plan({}, secrets.agent)).status).toBe(403);
});

test('each answer is a record of its own kind', async () => {
  const { body } = await plan({});
  const listed = await connect<{ records: { kind: string; outcome: string; decisionId: string }[] }>(
    server.admin,
    'AuditService/Query',
    { tenant: 'acme', kind: 'plan', decisionId: body.decisionId },
    bearer(secrets.operator),
  );
  expect(listed.body.records).toMatchObject([{ kind: 'plan', outcome: 'done', decisionId: body.decisionId }]);
});
