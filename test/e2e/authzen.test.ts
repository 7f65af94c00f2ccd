import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { aliceReads, check, connect, postJson, request } from './requests.ts';
import { bearer, type Running, secrets, startServer } from './server.ts';

/** AuthZEN Authorization API 1.0, with fetch. */

let server: Running;
beforeAll(async () => {
  server = await startServer();
});
afterAll(() => server[Symbol.asyncDispose]());

const { tenant: _, ...evaluation } = aliceReads;
const { subject, action, resource } = evaluation;
const bob = { type: 'user', id: 'bob' };
const nobody = { type: 'user', id: 'nobody' };

interface Evaluation {
  decision: boolean;
  context: { outcome: string; reasons: { code: string }[]; obligations: object[]; decision_id: string };
}

interface Batch {
  evaluations: Evaluation[];
}

const api = bearer(secrets.api);
const ask = <T = Evaluation>(body: unknown, path = 'evaluation', authorization = api) =>
  postJson<T>(`${server.data}/t/acme/access/v1/${path}`, body, authorization);
const decided = async (body: object): Promise<boolean[]> =>
  (await ask<Batch>(body, 'evaluations')).body.evaluations.map(({ decision }) => decision);
const reasonsOf = ({ context }: Evaluation): string[] => context.reasons.map(({ code }) => code);

describe('AuthZEN 1.0, evaluation', () => {
  test('answers a boolean, and in the context what led to it', async () => {
    const { status, headers, body } = await ask(evaluation);
    expect([status, headers.get('content-type')]).toEqual([200, 'application/json']);
    expect(body).toMatchObject({ decision: true, context: { outcome: 'allow', reasons: [] } });
    expect(body.context.decision_id).toMatch(/^[0-9a-f-]{36}$/);
  });

  test('passes the properties of the action, the resource and the context on to the policy', async () => {
    const owned = { ...resource, properties: { ...resource.properties, owner: 'alice' } };
    const deletion = { ...evaluation, action: { name: 'document.delete' }, resource: owned };
    const { body } = await ask(deletion);
    expect(body).toMatchObject({
      decision: false,
      context: { outcome: 'challenge', challenge: { type: 'step_up' } },
    });
    expect((await ask({ ...deletion, context: { mfa: true } })).body.decision).toBe(true);
  });

  test('ignores members it does not know, at every level', async () => {
    const strange = { novelty: { deep: [1] } };
    const { body } = await ask({
      ...strange,
      subject: { ...subject, ...strange },
      action: { ...action, ...strange },
      resource: { ...resource, ...strange },
      context: strange,
    });
    expect(body.decision).toBe(true);
  });

  test('takes a request that is none for a 400, a missing credential for a 401', async () => {
    const url = `${server.data}/t/acme/access/v1/evaluation`;
    const bodies = ['', '{', '[]', 'null', '"x"', '{}', JSON.stringify({ ...evaluation, subject: 'alice' })];
    for (const body of bodies) expect(await ask(body), body).toMatchObject({ status: 400 });
    for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'application/jsonx'])
      for (const path of ['evaluation', 'evaluations', 'search/subject']) {
        const answer = await request(url.replace(/evaluation$/, path), {
          method: 'POST',
          headers: { 'content-type': type, authorization: api },
          body: JSON.stringify(evaluation),
        });
        expect(answer, `${path} as ${type}`).toMatchObject({
          status: 400,
          body: { error: 'unsupported_media_type' },
        });
      }
    expect(await ask(evaluation, 'evaluation', bearer('wrong'))).toMatchObject({ status: 401 });
  });

  test('takes a content type with a charset', async () => {
    const answer = await request(`${server.data}/t/acme/access/v1/evaluation`, {
      method: 'POST',
      headers: { 'content-type': 'Application/JSON; charset=utf-8', authorization: api },
      body: JSON.stringify(evaluation),
    });
    expect(answer).toMatchObject({ status: 200, body: { decision: true } });
  });
});

describe('AuthZEN 1.0, evaluations', () => {
  test('has the defaults of the body for what an item leaves out; an own member replaces one whole', async () => {
    const items = [
      {},
      { subject: bob, action: { name: 'document.edit' } },
      { resource: { type: 'document', id: 'roadmap' } },
      { context: { mfa: true } },
    ];
    // The third has no properties: those of the default are not merged into it, so no rule allows it.
    expect(await decided({ ...evaluation, evaluations: items })).toEqual([true, false, false, true]);
  });

  test('evaluates all by default, in the order asked', async () => {
    const items = [{ subject }, { subject: nobody }, { subject: bob }];
    const body = { action, resource, evaluations: items };
    expect(await decided(body)).toEqual([true, false, true]);
    expect(await decided({ ...body, options: { evaluations_semantic: 'execute_all' } })).toEqual([
      true,
      false,
      true,
    ]);
  });

  test('deny_on_first_deny and permit_on_first_permit answer no further than where they stop', async () => {
    const until = (evaluations_semantic: string, ...subjects: object[]) =>
      decided({
        action,
        resource,
        evaluations: subjects.map((each) => ({ subject: each })),
        options: { evaluations_semantic },
      });
    expect(await until('deny_on_first_deny', subject, nobody, bob)).toEqual([true, false]);
    expect(await until('deny_on_first_deny', subject, bob)).toEqual([true, true]);
    expect(await until('permit_on_first_permit', nobody, bob, subject)).toEqual([false, true]);
    expect(await until('permit_on_first_permit', nobody, nobody)).toEqual([false, false]);
    expect(
      await ask(
        { ...evaluation, evaluations: [{}], options: { evaluations_semantic: 'whatever' } },
        'evaluations',
      ),
    ).toMatchObject({ status: 400 });
  });

  test('without evaluations it answers like a single evaluation', async () => {
    for (const body of [evaluation, { ...evaluation, evaluations: [] }]) {
      const answer = await ask(body, 'evaluations');
      expect(answer).toMatchObject({ status: 200, body: { decision: true, context: { outcome: 'allow' } } });
      expect(answer.body).not.toHaveProperty('evaluations');
    }
    expect(await ask({ subject, evaluations: [] }, 'evaluations')).toMatchObject({ status: 400 });
  });

  test('an item that is incomplete is a deny of its own; the others are decided', async () => {
    const { status, body } = await ask<Batch>(
      { subject, resource, evaluations: [{ action }, {}, { action: { name: '' } }, { action }] },
      'evaluations',
    );
    expect(status).toBe(200);
    expect(body.evaluations.map(({ decision }) => decision)).toEqual([true, false, false, true]);
    expect(body.evaluations.map(reasonsOf)).toEqual([[], ['invalid_request'], ['invalid_request'], []]);
  });

  test('an item that is not of the form of one is a deny of its own, and on record', async () => {
    const bad = [1, null, [], 'x', { resource: 'x' }, { subject: [] }, { action: 7 }, { context: 'x' }];
    const { status, body } = await ask<Batch>(
      { ...evaluation, evaluations: [{}, ...bad, {}] },
      'evaluations',
    );
    expect(status).toBe(200);
    expect(body.evaluations.map(({ decision }) => decision)).toEqual([true, ...bad.map(() => false), true]);
    for (const each of body.evaluations.slice(1, -1)) {
      expect(reasonsOf(each)).toEqual(['invalid_request']);
      const { body: found } = await connect<{ records: object[] }>(server.admin, 'AuditService/Query', {
        tenant: 'acme',
        decisionId: each.context.decision_id,
      });
      expect(found.records).toMatchObject([{ outcome: 'deny', reasons: [{ code: 'invalid_request' }] }]);
    }
    const stops = { evaluations_semantic: 'deny_on_first_deny' };
    expect(await decided({ ...evaluation, evaluations: [{}, null, {}], options: stops })).toEqual([
      true,
      false,
    ]);
  });

  test('evaluations that are no array, and defaults that are not of their form, are a 400', async () => {
    for (const evaluations of [{}, 'x', 1, null])
      expect(
        await ask({ ...evaluation, evaluations }, 'evaluations'),
        JSON.stringify(evaluations),
      ).toMatchObject({ status: 400, body: { error: 'invalid_request' } });
    for (const defaults of [{ subject: 'alice' }, { action: 7 }, { resource: [] }, { context: 'x' }])
      expect(
        await ask({ ...evaluation, ...defaults, evaluations: [evaluation] }, 'evaluations'),
        JSON.stringify(defaults),
      ).toMatchObject({ status: 400, body: { error: 'invalid_request' } });
  });

  test('takes null for a member that may be left out', async () => {
    expect(await ask({ ...evaluation, context: null })).toMatchObject({
      status: 200,
      body: { decision: true },
    });
  });

  test('decides as Check does', async () => {
    const subjects = ['alice', 'bob', 'carol', 'mallory', 'nobody'].map((id) => ({ type: 'user', id }));
    const batch = await decided({
      action,
      resource,
      evaluations: subjects.map((each) => ({ subject: each })),
    });
    const singles = await Promise.all(
      subjects.map((each) => check(server.data, { ...aliceReads, subject: each }, api)),
    );
    expect(batch).toEqual(singles.map(({ body }) => body.decision === 'DECISION_ALLOW'));
  });
});

describe('AuthZEN 1.0, metadata and transport', () => {
  test('tells, under the path of the tenant, where everything is; and everything is there', async () => {
    const url = `${server.data}/.well-known/authzen-configuration/t/acme`;
    const { status, headers, body } = await request<Record<string, string>>(url);
    expect([status, headers.get('content-type')]).toEqual([200, 'application/json']);
    expect(body['policy_decision_point']).toBe(`${server.data}/t/acme`);
    const {
      policy_decision_point: _pdp,
      capabilities,
      supported_obligations: obligations,
      access_request_endpoint: requests,
      ...endpoints
    } = body;
    expect(capabilities).toEqual(['urn:openid:authzen:capability:access-request']);
    expect(obligations).toEqual(['step-up', 'notification', 'session_termination', 'custom']);
    // There it is a denial that is asked for.
    expect((await postJson(requests ?? '', evaluation, api)).headers.get('content-type')).toBe(
      'application/problem+json',
    );
    expect(Object.keys(endpoints).toSorted()).toEqual([
      'access_evaluation_endpoint',
      'access_evaluations_endpoint',
      'search_action_endpoint',
      'search_resource_endpoint',
      'search_subject_endpoint',
    ]);
    for (const endpoint of Object.values(endpoints))
      expect((await postJson(endpoint, evaluation, api)).status, endpoint).toBe(200);
    expect((await request(url.replace(/acme$/, 'nowhere'))).status).toBe(404);
  });

  test('returns X-Request-ID with every answer, and with every error', async () => {
    const send = (path: string, body: string, authorization: string, type = 'application/json') =>
      request(`${server.data}/t/${path}`, {
        method: 'POST',
        headers: { 'content-type': type, 'x-request-id': 'bfe9eb29-ab87', authorization },
        body,
      });
    const text = JSON.stringify(evaluation);
    const answers = await Promise.all([
      send('acme/access/v1/evaluation', text, api),
      send('acme/access/v1/evaluations', text, api),
      send('acme/access/v1/search/action', text, api),
      send('acme/access/v1/evaluation', '{', api),
      send('acme/access/v1/evaluation', text, api, 'text/plain'),
      send('acme/access/v1/evaluation', text, bearer('wrong')),
      send('nowhere/access/v1/evaluation', text, api),
    ]);
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 400, 400, 401, 404]);
    for (const { headers } of answers) expect(headers.get('x-request-id')).toBe('bfe9eb29-ab87');
    const { headers } = await ask(evaluation);
    expect(headers.get('x-request-id')).toBeNull();
    const long = 'r'.repeat(1_000);
    for (const [path, status] of [
      ['/t/acme/access/v1/evaluation', 405],
      ['/.well-known/authzen-configuration/t/acme', 200],
    ] as const) {
      const answer = await request(`${server.data}${path}`, { headers: { 'x-request-id': long } });
      expect([answer.status, answer.headers.get('x-request-id')]).toEqual([status, long]);
    }
  });
});
