import { type Client, Code, ConnectError, createClient } from '@connectrpc/connect';
import { createConnectTransport, createGrpcTransport } from '@connectrpc/connect-node';
import type { ServiceError } from '@grpc/grpc-js';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { stepUpOf } from '../../src/delegation/refused.ts';
import { DelegationService, ExchangeRefusalSchema } from '../../src/gen/mandate/v1/delegation_pb.ts';
import { Decision } from '../../src/gen/mandate/v1/model_pb.ts';
import { at } from '../cli/run.ts';
import { Grpc } from '../e2e/grpc.ts';
import { check, connect, request } from '../e2e/requests.ts';
import { basic, bearer } from '../e2e/server.ts';
import { agent, mcp, refusalOf, Stage } from './stage.ts';

/** What a policy asks for first, from both packages, to whoever asked and into the record. */

const STEP_UP = {
  type: 'step_up',
  acr_values: ['urn:acme:mfa', 'urn:acme:pin'],
  max_age: 300,
  hint: { a: [1] },
};

/** Chosen by who signed in, and by what is asked for. */
const DELEGATION = `package delegation

challenge := ${JSON.stringify(STEP_UP)} if {
	not input.context.authentication.acr == "urn:acme:mfa"
	"docs.suggest" in input.grant.scope
}

challenge := {"type": "approval", "by": "manager"} if "approval" in input.action.properties.scopes

challenge := {"type": "step_up", "note": concat("", [x | some _ in numbers.range(1, 5000); x := "x"])} if {
	"long" in input.action.properties.scopes
}

deny contains {"code": sprintf("no-%d", [n]), "message": sprintf("%0500d", [n])} if {
	"wordy" in input.action.properties.scopes
	some n in numbers.range(1, 60)
}

deny contains {"code": "never", "message": "not at all"} if "never" in input.action.properties.scopes

reasons contains {"code": "why", "message": "because"} if "docs.suggest" in input.grant.scope

obligations contains {"type": "notify", "on": "challenge"} if "docs.suggest" in input.grant.scope
`;

const bodyOf = (record: Record<string, unknown> | undefined): Record<string, unknown> =>
  JSON.parse(Buffer.from(String(record?.['body']), 'base64').toString()) as Record<string, unknown>;

describe('a challenge', () => {
  let stage: Stage;
  beforeAll(async () => {
    stage = await Stage.open({ acmeFiles: { 'delegation/challenges.rego': DELEGATION } });
  });
  afterAll(() => stage[Symbol.asyncDispose]());

  const suggesting = { scope: 'docs.read docs.suggest' };

  test('RFC 9470: a step-up is in the OAuth error by its names, and whole', async () => {
    const answer = await stage.exchange(await stage.issuer.sign(), suggesting);
    expect(answer.status).toBe(400);
    const [record] = await stage.records({ kind: 'exchange' });
    expect(answer.body).toEqual({
      error: 'insufficient_user_authentication',
      error_description: expect.stringContaining('the policy asks for more first (why: because)') as string,
      code: 'insufficient_user_authentication',
      acr_values: 'urn:acme:mfa urn:acme:pin',
      max_age: 300,
      challenge: STEP_UP,
      reasons: [{ code: 'why', message: 'because' }],
      obligations: [{ type: 'notify', on: 'challenge' }],
      decision_id: record?.['decisionId'],
      policy_revision: record?.['policyRevision'],
      record_index: Number(record?.['index']),
    });
  });

  test('is a record of its own outcome, with all that was asked for', async () => {
    await stage.exchange(await stage.issuer.sign(), suggesting);
    const [record] = await stage.records({ kind: 'exchange' });
    expect(record).toMatchObject({ outcome: 'challenge', rules: ['delegation.challenge'] });
    expect(bodyOf(record)).toMatchObject({ outcome: 'challenge', challenge: STEP_UP });
  });

  test('is met by a second try: the token of the next sign-in says that it was', async () => {
    const signedIn = { acr: 'urn:acme:mfa', auth_time: Math.floor(Date.now() / 1000) };
    const { body } = await stage.exchange(await stage.issuer.sign(signedIn), suggesting);
    expect(body.scope).toBe('docs.read docs.suggest');
  });

  test('of another type has no names of RFC 9470, and is whole', async () => {
    const answer = await stage.exchange(await stage.issuer.sign(), { scope: 'docs.read approval' });
    expect(refusalOf(answer)).toEqual({ status: 400, error: 'invalid_request', code: 'challenge_required' });
    expect(answer.body).toMatchObject({ challenge: { type: 'approval', by: 'manager' } });
    expect(answer.body).not.toHaveProperty('acr_values');
  });

  test('that is too long is no decision', async () => {
    const answer = await stage.exchange(await stage.issuer.sign(), { scope: 'docs.read long' });
    expect(refusalOf(answer)).toMatchObject({ code: 'exchange_denied' });
    expect(answer.body.error_description).toContain('policy_failed');
  });

  test('a deny is told as whole, without a challenge', async () => {
    const answer = await stage.exchange(await stage.issuer.sign(), { scope: 'docs.read never' });
    expect(refusalOf(answer)).toMatchObject({ code: 'exchange_denied' });
    expect(answer.body).toMatchObject({ reasons: [{ code: 'never', message: 'not at all' }] });
    expect(answer.body).not.toHaveProperty('challenge');
  });

  test.each(['gRPC', 'Connect'])('over %s stands in the details of the error', async (protocol) => {
    const options = { baseUrl: stage.server.data, httpVersion: '2' as const };
    const transport = protocol === 'gRPC' ? createGrpcTransport(options) : createConnectTransport(options);
    const client: Client<typeof DelegationService> = createClient(DelegationService, transport);
    const asked = {
      tenant: 'acme',
      subjectToken: await stage.issuer.sign(),
      audience: 'docs-mcp',
      scopes: ['docs.read', 'docs.suggest'],
    };
    const headers = { authorization: basic(agent.id, agent.secret) };
    const error = await client.exchange(asked, { headers }).catch((each: unknown) => each);
    if (!(error instanceof ConnectError)) throw new Error('it is no error of Connect');
    expect(error.code).toBe(Code.PermissionDenied);
    expect(error.metadata.get('mandate-error-code')).toBe('insufficient_user_authentication');
    const [record] = await stage.records({ kind: 'exchange' });
    expect(error.findDetails(ExchangeRefusalSchema)).toMatchObject([
      {
        decision: Decision.CHALLENGE,
        challenge: STEP_UP,
        reasons: [{ code: 'why', message: 'because' }],
        obligations: [{ type: 'notify' }],
        decisionId: record?.['decisionId'],
        policyRevision: record?.['policyRevision'],
        recordIndex: BigInt(Number(record?.['index'])),
      },
    ]);
  });

  test('a refusal of many words is told over gRPC as far as a header holds it', async () => {
    using grpc = new Grpc(stage.server.data, agent.secret);
    const asked = {
      tenant: 'acme',
      subject_token: await stage.issuer.sign(),
      audience: 'docs-mcp',
      scopes: ['docs.read', 'wordy'],
    };
    const error = await grpc.call('DelegationService', 'Exchange', asked).catch((each: unknown) => each);
    const { code, metadata } = error as ServiceError;
    expect(code).toBe(Code.PermissionDenied);
    const [details] = metadata.get('grpc-status-details-bin');
    expect(details).toBeInstanceOf(Buffer);
    expect((details as Buffer).length).toBeLessThan(4_096);
    expect((details as Buffer).toString('latin1')).toContain('no-1');
  });

  test('is shown by the command line', async () => {
    const ask = `token exchange -t acme --audience docs-mcp --subject-token ${await stage.issuer.sign()} --scope`;
    const { code, stderr } = await at(stage.server, agent.secret)(...ask.split(' '), 'docs.suggest');
    expect(code).toBe(2);
    expect(stderr).toContain('insufficient_user_authentication: the policy asks for more first');
    expect(stderr).toContain(JSON.stringify(STEP_UP.acr_values));
  });

  test('of a decision stands in its record too', async () => {
    const { body } = await check(
      stage.server.data,
      {
        tenant: 'acme',
        subject: { type: 'user', id: 'alice' },
        action: { name: 'document.delete' },
        resource: { type: 'document', id: 'd', properties: { owner: 'alice' } },
      },
      bearer(mcp.secret),
    );
    expect(body.decision).toBe('DECISION_CHALLENGE');
    const [record] = await stage.records({ kind: 'decision' });
    expect(bodyOf(record)).toMatchObject({ outcome: 'challenge', challenge: body.challenge });
  });

  test('is counted', async () => {
    const { body } = await request<{ text: string }>(`${stage.server.admin}/metrics`);
    expect(body.text).toMatch(/^mandate_exchanges_total\{tenant="acme",outcome="challenge"\} [1-9]/m);
  });
});

describe('a challenge that repeats what is kept out of records', () => {
  const AUTHZ = `package authz

challenge := {"type": "step_up", "for": input.context.patient, "code": "k"} if input.context.patient
`;
  const ask = (stage: Stage) =>
    connect(stage.server.data, 'DecisionService/Check', {
      tenant: 'acme',
      subject: { type: 'user', id: 'alice' },
      action: { name: 'document.read' },
      resource: { type: 'document', id: 'd' },
      context: { patient: 'p-1234' },
    });

  test('is in none where members are sealed', async () => {
    await using stage = await Stage.open({
      acme: (manifest) => {
        manifest.audit = { sealed: [{ path: '/context/patient' }] };
      },
      acmeFiles: { 'authz/patients.rego': AUTHZ },
    });
    expect((await ask(stage)).body).toMatchObject({ challenge: { for: 'p-1234' } });
    const [record] = await stage.records({ kind: 'decision' });
    const body = bodyOf(record);
    expect(body).toMatchObject({ outcome: 'challenge', sealed: ['/context/patient'] });
    expect(body).not.toHaveProperty('challenge');
    expect(JSON.stringify(body)).not.toContain('p-1234');
  });

  test('can be masked, in part or as a whole, and is in no brief one', async () => {
    const masks: [string, unknown][] = [
      ['mask contains "/challenge/for"', { type: 'step_up', code: 'k' }],
      ['mask contains "/challenge"', undefined],
      ['detail := "brief"', undefined],
    ];
    for (const [rego, left] of masks) {
      await using stage = await Stage.open({
        acmeFiles: {
          'authz/patients.rego': AUTHZ,
          'audit.rego': `package audit\n\n${rego}\n`,
        },
      });
      await ask(stage);
      const [record] = await stage.records({ kind: 'decision' });
      expect(bodyOf(record)['challenge'], rego).toEqual(left);
    }
  });
});

describe('stepUpOf', () => {
  test.each<[string, object, object | undefined]>([
    ['values as a text', { acr_values: 'a b' }, { acr_values: 'a b' }],
    ['no values', { max_age: 0 }, { max_age: 0 }],
    ['values that would break out of a header', { acr_values: ['a"', 'b'] }, {}],
    ['values with a space', { acr_values: ['a b'] }, {}],
    ['values that are none', { acr_values: [1], max_age: '5' }, {}],
    ['an age that is none', { max_age: -1 }, {}],
  ])('reads %s', (_what, members, expected) => {
    expect(stepUpOf({ type: 'step_up', ...members })).toEqual(expected);
  });

  test('is of a step-up alone', () => {
    expect(stepUpOf(undefined)).toBeUndefined();
    expect(stepUpOf({ type: 'approval', acr_values: ['a'] })).toBeUndefined();
  });

  test('gives nothing that a quoted parameter of a header does not hold, whatever the challenge', () => {
    const text = fc.oneof(fc.string({ unit: 'binary' }), fc.constantFrom('urn:a', 'b\r\nx: y', '"'));
    fc.assert(
      fc.property(fc.oneof(text, fc.array(text)), (acr_values) => {
        const { acr_values: told = '' } = stepUpOf({ type: 'step_up', acr_values }) ?? {};
        expect(told).toMatch(/^[\x20\x21\x23-\x5b\x5d-\x7e]*$/);
      }),
    );
  });
});
