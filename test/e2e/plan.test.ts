import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { check, connect, exchangeFields, form, request } from './requests.ts';
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

describe('by a token', () => {
  const client = { id: 'research-agent', secret: secrets.agent };
  const granted = async (scope: string): Promise<string> => {
    const { body: signedIn } = await request<{ access_token: string }>(
      `${server.data}/t/acme/dev/token?user=alice&client=research-agent`,
      { method: 'POST' },
    );
    const fields = exchangeFields(signedIn.access_token, { scope });
    return (await form(server.data, 'token', fields, client)).body.access_token;
  };
  const byToken = (token: string, action: string, properties?: object) => {
    const asked = { subject: undefined, subjectToken: token, audience: 'docs-mcp', action: { name: action } };
    return plan({ ...asked, ...(properties && { properties }) }, secrets.mcp);
  };
  const sensitivities = ['public', 'internal', 'confidential', 'restricted'];
  const resources = sensitivities.flatMap((sensitivity) =>
    ['apollo', 'zeus'].flatMap((project) =>
      ['alice', 'bob'].map((owner) => ({ sensitivity, project, owner })),
    ),
  );

  test('a plan is what Check says of each resource, by what the grant has', async () => {
    const token = await granted('docs.read');
    const seen = new Set<string>();
    for (const action of ['document.read', 'document.suggest', 'document.edit'])
      for (const properties of resources) {
        const { body } = await byToken(token, action, properties);
        const { body: checked } = await check(
          server.data,
          {
            tenant: 'acme',
            subjectToken: token,
            audience: 'docs-mcp',
            action: { name: action },
            resource: { type: 'document', id: 'd', properties },
          },
          bearer(secrets.mcp),
        );
        const { decision } = checked;
        const allowed = body.outcome === 'PLAN_OUTCOME_ALWAYS_ALLOWED';
        expect([allowed, body.outcome], JSON.stringify([action, properties, body])).toEqual([
          decision === 'DECISION_ALLOW',
          allowed ? 'PLAN_OUTCOME_ALWAYS_ALLOWED' : 'PLAN_OUTCOME_ALWAYS_DENIED',
        ]);
        seen.add(`${action} ${decision}`);
      }
    // What the scope does not cover is denied, whatever the policy of the user.
    expect(seen).toContain('document.read DECISION_ALLOW');
    expect(seen).toContain('document.read DECISION_DENY');
    expect(seen).not.toContain('document.suggest DECISION_ALLOW');
  });

  test('its record names the grant, who acts and on whose behalf', async () => {
    const { body } = await byToken(await granted('docs.read'), 'document.read');
    expect(body.outcome).toBe('PLAN_OUTCOME_CONDITIONAL');
    const listed = await connect<{ records: object[] }>(
      server.admin,
      'AuditService/Query',
      { tenant: 'acme', kind: 'plan', decisionId: body.decisionId },
      bearer(secrets.operator),
    );
    expect(listed.body.records).toMatchObject([
      { subject: { id: 'alice' }, actors: [{ id: 'research-agent' }], grantId: expect.stringMatching(/./) },
    ]);
  });

  test('for another audience, or given up, it is a plan by which nothing is allowed', async () => {
    const token = await granted('docs.read');
    const elsewhere = { subject: undefined, subjectToken: token, audience: 'docs-api' };
    expect((await plan(elsewhere)).body).toMatchObject({
      outcome: 'PLAN_OUTCOME_ALWAYS_DENIED',
      reasons: [{ code: 'audience_mismatch' }],
    });
    await form(server.data, 'revoke', { token }, client);
    expect((await byToken(token, 'document.read')).body).toMatchObject({
      outcome: 'PLAN_OUTCOME_ALWAYS_DENIED',
      reasons: [{ code: 'token_revoked' }],
    });
  });
});

test('where a meter counts, or is seen, there is no plan, which the record says; for other actions there is', async () => {
  await using metered = await startServer({
    acme: (manifest) => {
      manifest.meters = {
        reads: { actions: ['document.read'], seen_by: ['document.suggest'], per: 'subject', window: '1h' },
      };
    },
  });
  const asked = (name: string) =>
    connect<Planned>(metered.data, 'DecisionService/Plan', {
      tenant: 'acme',
      subject: { type: 'user', id: 'alice' },
      action: { name },
      resourceType: 'document',
    });
  for (const name of ['document.read', 'document.suggest']) {
    const { status, body } = await asked(name);
    expect([status, body.message]).toEqual([
      400,
      expect.stringContaining(`a meter counts ${name}, or is seen by it`),
    ]);
  }
  expect((await asked('document.edit')).body.outcome).toBe('PLAN_OUTCOME_CONDITIONAL');
  const { body } = await connect<{ records: { outcome: string; reasons: { code: string }[] }[] }>(
    metered.admin,
    'AuditService/Query',
    { tenant: 'acme', kind: 'plan' },
    bearer(secrets.operator),
  );
  expect(
    body.records.filter(({ outcome }) => outcome === 'error').map(({ reasons }) => reasons[0]?.code),
  ).toEqual(['plan_unsupported', 'plan_unsupported']);
});

describe('a decision of the tenant’s own', () => {
  const SHOP = `package shop.authz

default allow := false

allow if {
	input.action.name == "document.read"
	input.resource.properties.owner == input.subject.id
}
`;
  const MAPPING = 'package mapping\n\nasked := input\n';
  const planned = async (files: Record<string, string>, decision: string | undefined) => {
    await using own = await startServer({
      acme: (manifest) => {
        if (decision !== undefined) Object.assign(manifest, { decision });
      },
      acmeFiles: { 'shop.rego': SHOP, ...files },
    });
    const asked = {
      tenant: 'acme',
      subject: { type: 'user', id: 'alice' },
      action: { name: 'document.read' },
      resourceType: 'document',
    };
    return (await connect<Planned>(own.data, 'DecisionService/Plan', asked, bearer(secrets.api))).body;
  };
  const DECISION = 'data.shop.authz.allow';

  test('is refused with why and what to do, behind a mapping and without one', async () => {
    const mapped = await planned({ 'mapping.rego': MAPPING }, DECISION);
    expect(mapped.message).toMatch(/^plan_unsupported: mapping\.rego: data\.shop\.authz\.allow .*CheckBatch/);
    const plain = await planned({}, DECISION);
    expect(plain.message).toMatch(/^plan_unsupported: tenant\.yaml: .*data\.authz\.shop\.authz\.allow/);
  });

  test('can be planned as it is told', async () => {
    const authz = {
      'shop.rego': SHOP.replace('package shop', 'package authz.shop'),
      'authz/shop.rego': 'package authz\n\nallow if data.authz.shop.authz.allow\n',
    };
    const { outcome, condition, reasons } = await planned(authz, undefined);
    expect(outcome, JSON.stringify(reasons)).toBe('PLAN_OUTCOME_CONDITIONAL');
    expect(JSON.stringify(condition)).toContain('"owner"');
  });
});
