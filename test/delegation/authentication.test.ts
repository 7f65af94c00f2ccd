import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { authenticationIn } from '../../src/tenancy/authentication.ts';
import { check, claimsOf, connect } from '../e2e/requests.ts';
import { basic, bearer } from '../e2e/server.ts';
import { agent, deniedFor, mcp, Stage } from './stage.ts';

/** How a subject signed in, from its issuer's token to each decision about it. */

const NOW = 1_767_225_600_000;

describe('what claims say of an authentication', () => {
  test('is acr, amr and auth_time, and nothing else', () => {
    const claims = { acr: 'urn:acme:mfa', amr: ['pwd', 'otp'], auth_time: NOW / 1000 - 60, sub: 'alice' };
    const { sub: _, ...said } = claims;
    expect(authenticationIn(claims, NOW, {})).toEqual(said);
    expect(authenticationIn({}, NOW, {})).toEqual({});
  });

  test.each<[string, object]>([
    ['an acr that is no text', { acr: ['urn:acme:mfa'] }],
    ['an empty acr', { acr: '' }],
    ['an acr that is too long', { acr: 'x'.repeat(257) }],
    ['an amr that is no array', { amr: 'otp' }],
    ['an amr of numbers', { amr: ['otp', 1] }],
    ['an amr that is too long', { amr: Array.from({ length: 17 }, String) }],
    ['a time that is text', { auth_time: String(NOW / 1000) }],
    ['a time to come', { auth_time: NOW / 1000 + 31 }],
    ['a time that is none', { auth_time: Number.NaN }],
    ['a time before all time', { auth_time: -1 }],
  ])('leaves out %s', (_what, claims) => {
    expect(authenticationIn(claims as Record<string, unknown>, NOW, {})).toEqual({});
  });
});

describe('in a decision', () => {
  let stage: Stage;
  /** Each decision tells as a reason what it saw. */
  const REGO = `package authz

reasons contains {"code": "saw", "message": json.marshal(object.get(input.context, "authentication", null))}
`;
  const DELEGATION = `package delegation

reasons contains {"code": "saw", "message": json.marshal(input.context.authentication)}

deny contains "weak" if input.context.authentication.acr == "urn:acme:weak"
`;

  beforeAll(async () => {
    stage = await Stage.open({
      acmeFiles: { 'authz/saw.rego': REGO, 'delegation/saw.rego': DELEGATION },
    });
  });
  afterAll(() => stage[Symbol.asyncDispose]());

  const signedIn = () => ({
    acr: 'urn:acme:mfa',
    amr: ['pwd', 'otp'],
    auth_time: Math.floor(Date.now() / 1000) - 5,
  });

  const saw = ({ reasons = [] }: { reasons?: { code: string; message?: string }[] }): unknown =>
    JSON.parse(reasons.find(({ code }) => code === 'saw')?.message ?? '"nothing"');

  test("stands what the issuer's token says, for its bearer and for whom it is delegated to", async () => {
    const said = signedIn();
    const token = await stage.issuer.sign(said);
    expect(saw(await stage.check(token))).toEqual(said);
    const { body } = await stage.exchange(token);
    expect(claimsOf(body.access_token)).toMatchObject(said);
    expect(saw(await stage.check(body.access_token))).toEqual(said);
    expect(await stage.introspect(body.access_token)).toMatchObject(said);
    const again = await stage.exchange(body.access_token);
    expect(saw(await stage.check(again.body.access_token))).toEqual(said);
    const { body: told } = await connect(
      stage.server.data,
      'DelegationService/Introspect',
      { tenant: 'acme', token: body.access_token },
      basic(agent.id, agent.secret),
    );
    expect(told).toMatchObject({ authentication: said });
  });

  test('stands nothing where the token says nothing', async () => {
    expect(saw(await stage.check(await stage.issuer.sign()))).toEqual({});
    expect(saw(await stage.check(await stage.granted()))).toEqual({});
  });

  test('is seen by the package delegation', async () => {
    const weak = await stage.exchange(await stage.issuer.sign({ acr: 'urn:acme:weak' }));
    expect(weak.body.error_description).toContain('weak');
  });

  const asks = (principal: object, context: object) =>
    check(
      stage.server.data,
      {
        tenant: 'acme',
        ...principal,
        action: { name: 'document.delete' },
        resource: { type: 'document', id: 'd', properties: { owner: 'alice' } },
        context,
      },
      bearer(mcp.secret),
    );

  test('nobody but the token says how its bearer signed in: a caller that says it is refused, and recorded', async () => {
    for (const subjectToken of [await stage.issuer.sign(), await stage.granted()]) {
      const { status, body } = await asks({ subjectToken }, { authentication: signedIn() });
      expect(status).toBe(400);
      expect(body).toMatchObject({ message: expect.stringContaining('context.authentication') });
      const [record] = await stage.records({ kind: 'decision' });
      expect(record).toMatchObject({ outcome: 'error', reasons: [{ code: 'invalid_request' }] });
    }
    const { body: batch } = await connect<{ results: { reasons: { code: string }[] }[] }>(
      stage.server.data,
      'DecisionService/CheckBatch',
      {
        tenant: 'acme',
        subjectToken: await stage.issuer.sign(),
        action: { name: 'document.delete' },
        items: [{ resource: { type: 'document', id: 'd' }, context: { authentication: {} } }],
      },
      bearer(mcp.secret),
    );
    expect(batch.results).toMatchObject([deniedFor('invalid_request')]);
  });

  test('of a subject that a caller states it is the word of the caller', async () => {
    const said = signedIn();
    const subject = { type: 'user', id: 'alice' };
    const { body } = await asks({ subject }, { authentication: said });
    expect(body.decision).toBe('DECISION_ALLOW');
    expect(saw(body)).toEqual(said);
  });

  test('what the caller says beside it stands beside it, in a batch too, and is kept once', async () => {
    const note = 'x'.repeat(2_000);
    const { body } = await connect<{ results: Parameters<typeof saw>[0][] }>(
      stage.server.data,
      'DecisionService/CheckBatch',
      {
        tenant: 'acme',
        subjectToken: await stage.issuer.sign(signedIn()),
        action: { name: 'document.read' },
        context: { note },
        items: [1, 2].map((id) => ({ resource: { type: 'document', id: `d${id}` } })),
      },
      bearer(mcp.secret),
    );
    expect(body.results.map(saw)).toMatchObject([{ acr: 'urn:acme:mfa' }, { acr: 'urn:acme:mfa' }]);
    const records = await stage.records({ kind: 'decision', pageSize: 2 });
    const parts = records.map(
      (record) =>
        (JSON.parse(Buffer.from(String(record['body']), 'base64').toString()) as { input_parts: object })
          .input_parts,
    );
    expect(parts[0]).toEqual(parts[1]);
    expect(parts[0]).toHaveProperty('context');
  });

  test('a second try with a stronger token passes', async () => {
    const owned = { type: 'document', id: 'd', properties: { owner: 'alice' } };
    const ask = (subjectToken: string) =>
      check(
        stage.server.data,
        { tenant: 'acme', subjectToken, action: { name: 'document.delete' }, resource: owned },
        bearer(mcp.secret),
      );
    const weak = await ask(await stage.issuer.sign());
    expect(weak.body).toMatchObject({
      decision: 'DECISION_CHALLENGE',
      challenge: { type: 'step_up', acr_values: ['urn:acme:mfa'], max_age: 600 },
    });
    const strong = await ask(await stage.issuer.sign(signedIn()));
    expect(strong.body.decision).toBe('DECISION_ALLOW');
  });
});
