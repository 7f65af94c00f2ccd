import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { aliceReads, check, connect, postJson } from './requests.ts';
import { bearer, type Running, secrets, startServer } from './server.ts';

/** AuthZEN Authorization API 1.0, search, with fetch. */

let server: Running;
beforeAll(async () => {
  server = await startServer({
    globex: (manifest) => {
      manifest.principals.push(...longest.map((id) => ({ class: 'user' as const, id })));
      manifest.subject_types = { identity: 'user', workload: 'service' };
    },
  });
});
afterAll(() => server[Symbol.asyncDispose]());

interface Found {
  type?: string;
  id?: string;
  name?: string;
}

interface Page {
  results: Found[];
  page: { next_token: string };
  error?: string;
}

const { tenant: _, subject, action, resource } = aliceReads;
const api = bearer(secrets.api);
const operator = bearer(secrets.operator);
const users = ['alice', 'bob', 'carol', 'mallory'];
/** Ids as long as they may be, in characters of three bytes. */
const longest = ['가', '나', '다'].map((letter) => letter.repeat(256));
const actions = ['document.read', 'document.suggest', 'document.edit', 'document.delete', 'document.index'];
const registered = [
  {
    type: 'document',
    id: 'roadmap',
    properties: { project: 'apollo', sensitivity: 'internal', owner: 'alice' },
  },
  {
    type: 'document',
    id: 'salaries',
    properties: { project: 'hermes', sensitivity: 'restricted', owner: 'carol' },
  },
  {
    type: 'document',
    id: 'launch-plan',
    properties: { project: 'apollo', sensitivity: 'confidential', owner: 'dave' },
  },
  {
    type: 'document',
    id: 'handbook',
    properties: { project: 'hermes', sensitivity: 'public', owner: 'bob' },
  },
];

const search = (sought: string, body: object, authorization = api, tenant = 'acme') =>
  postJson<Page>(`${server.data}/t/${tenant}/access/v1/search/${sought}`, body, authorization);

/** All pages, one after the other. */
async function pages(sought: string, body: object, limit: number): Promise<Found[][]> {
  const seen: Found[][] = [];
  let token = '';
  do {
    const page = { limit, ...(token === '' ? {} : { token }) };
    const answer = await search(sought, { ...body, page });
    expect(answer.status).toBe(200);
    seen.push(answer.body.results);
    token = answer.body.page.next_token;
  } while (token !== '' && seen.length < 50);
  return seen;
}

/** Those for which Check, asked one by one, allows. */
async function allowed<T>(candidates: readonly T[], asked: (each: T) => object): Promise<T[]> {
  const answers = await Promise.all(
    candidates.map((each) => check(server.data, { ...aliceReads, ...asked(each) }, api)),
  );
  return candidates.filter((_each, at) => answers[at]?.body.decision === 'DECISION_ALLOW');
}

const ids = (found: readonly Found[]): (string | undefined)[] => found.map(({ id }) => id);

describe('AuthZEN 1.0, search', () => {
  test('finds the subjects that Check allows, whatever id the request carries', async () => {
    const expected = await allowed(users, (id) => ({ subject: { type: 'user', id } }));
    expect(expected).toEqual(['alice', 'bob', 'carol']);
    for (const sought of [{ type: 'user' }, { type: 'user', id: 'mallory' }]) {
      const { status, body } = await search('subject', { subject: sought, action, resource });
      expect(status).toBe(200);
      expect(body.results).toEqual(expected.map((id) => ({ type: 'user', id })));
      expect(body.page.next_token).toBe('');
    }
  });

  test('finds subjects of the class that is asked for only', async () => {
    const index = { action: { name: 'document.index' }, resource };
    expect((await search('subject', { subject: { type: 'user' }, ...index })).body.results).toEqual([]);
    expect((await search('subject', { subject: { type: 'job' }, ...index })).body.results).toEqual([
      { type: 'job', id: 'nightly-index' },
    ]);
  });

  test('finds nothing for a subject of a type that is no class, and that is on record', async () => {
    const robot = { type: 'robot', id: 'r2' };
    const asked: [string, object][] = [
      ['subject', { subject: { type: 'robot' }, action, resource }],
      ['resource', { subject: robot, action, resource: { type: 'document' } }],
      ['action', { subject: robot, resource }],
    ];
    for (const [sought, body] of asked) {
      const answer = await search(sought, body);
      expect(answer).toMatchObject({ status: 200, body: { results: [], page: { next_token: '' } } });
      const { body: log } = await connect<{ records: object[] }>(server.admin, 'AuditService/Query', {
        tenant: 'acme',
        pageSize: 1,
      });
      expect(log.records).toMatchObject([
        { outcome: 'deny', reasons: [{ code: 'principal_class_unknown' }] },
      ]);
    }
    expect(await search('resource', { subject: robot, resource: { type: 'document' } })).toMatchObject({
      status: 400,
    });
  });

  test('finds and decides by the name that the tenant has for a class', async () => {
    const body = { action: { name: 'document.read' }, resource: { type: 'document', id: 'd' } };
    const found = await search('subject', { subject: { type: 'identity' }, ...body }, operator, 'globex');
    expect(found.body.results.slice(0, 1)).toEqual([{ type: 'identity', id: 'alice' }]);
    const evaluate = (type: string) =>
      postJson(
        `${server.data}/t/globex/access/v1/evaluation`,
        { subject: { type, id: 'alice' }, ...body },
        operator,
      );
    expect(await evaluate('identity')).toMatchObject({ status: 200, body: { decision: true } });
    expect(await evaluate('workload')).toMatchObject({
      body: { decision: false, context: { reasons: [{ code: 'principal_unknown' }] } },
    });
    expect(await evaluate('__proto__')).toMatchObject({
      body: { decision: false, context: { reasons: [{ code: 'principal_class_unknown' }] } },
    });
  });

  test('finds the registered resources that Check allows, for each user', async () => {
    for (const id of users) {
      const who = { subject: { type: 'user', id } };
      const expected = await allowed(registered, (each) => ({ ...who, resource: each }));
      const { body } = await search('resource', { ...who, action, resource: { type: 'document' } });
      expect(body.results, id).toEqual(expected.map((each) => ({ type: each.type, id: each.id })));
    }
  });

  test('finds the declared actions that Check allows', async () => {
    const expected = await allowed(actions, (name) => ({ action: { name } }));
    expect(expected).toEqual(['document.read', 'document.suggest', 'document.edit']);
    const { body } = await search('action', { subject, resource });
    expect(body.results).toEqual(expected.map((name) => ({ name })));
  });

  test('looks through context.candidates instead of what is registered', async () => {
    const candidates = [
      ...['public', 'internal', 'restricted'].map((sensitivity) => ({
        type: 'document',
        id: `own-${sensitivity}`,
        properties: { sensitivity },
      })),
      { type: 'document', id: 'bare' },
      { type: 'folder', id: 'own-public', properties: { sensitivity: 'public' } },
    ];
    const body = { subject, action, resource: { type: 'document' }, context: { candidates } };
    const expected = await allowed(
      candidates.filter(({ type }) => type === 'document'),
      (each) => ({ resource: each }),
    );
    expect(ids(expected)).toEqual(['own-public', 'own-internal']);
    expect(ids((await search('resource', body)).body.results)).toEqual(ids(expected));
    expect((await pages('resource', body, 1)).flatMap(ids)).toEqual(ids(expected));
    for (const wrong of [{}, 'x', [1], [{ type: 'document' }], [{ id: 'x' }], [null]])
      expect(await search('resource', { ...body, context: { candidates: wrong } })).toMatchObject({
        status: 400,
        body: { error: 'invalid_request' },
      });
  });

  test('takes a search that leaves out what is not searched for, or the type of what is, for a 400', async () => {
    const incomplete: [string, object][] = [
      ['subject', { action, resource }],
      ['subject', { subject: {}, action, resource }],
      ['subject', { subject: { type: 'user' }, resource }],
      ['subject', { subject: { type: 'user' }, action }],
      ['resource', { subject, action }],
      ['resource', { subject, action, resource: { id: 'roadmap' } }],
      ['resource', { action, resource: { type: 'document' } }],
      ['resource', { subject, resource: { type: 'document' } }],
      ['action', { resource }],
      ['action', { subject }],
      ['action', { subject: { type: 'user' }, resource }],
    ];
    for (const [sought, body] of incomplete)
      expect(await search(sought, body), `${sought} ${JSON.stringify(body)}`).toMatchObject({
        status: 400,
        body: { error: 'invalid_request' },
      });
  });

  test('gives the policy the context without the candidates', async () => {
    const mfa = { subject, action: { name: 'document.delete' }, resource: { type: 'document' } };
    expect((await search('resource', mfa)).body.results).toEqual([]);
    const context = { mfa: true, candidates: registered };
    expect(ids((await search('resource', { ...mfa, context })).body.results)).toEqual(['roadmap']);
  });
});

describe('AuthZEN 1.0, search, pages', () => {
  const searches: [string, object][] = [
    ['subject', { subject: { type: 'user' }, action, resource }],
    ['resource', { subject, action, resource: { type: 'document' } }],
    ['action', { subject, resource }],
  ];

  test('page by page it finds what it finds at once, and ends with an empty token', async () => {
    for (const [sought, body] of searches) {
      const { results, page } = (await search(sought, body)).body;
      expect(page).toEqual({ next_token: '' });
      for (const limit of [1, 2, 3, 1_000]) {
        const seen = await pages(sought, body, limit);
        expect(seen.flat(), `${sought} by ${limit}`).toEqual(results);
        for (const each of seen) expect(each.length).toBeLessThanOrEqual(limit);
      }
    }
  });

  test('a token is opaque: it says nothing of whom it comes after', async () => {
    for (const [sought, body] of searches) {
      const { next_token: token } = (await search(sought, { ...body, page: { limit: 1 } })).body.page;
      expect(token).toMatch(/^[\w-]+$/);
      const inside = Buffer.from(token, 'base64url').toString('latin1');
      for (const name of [...users, ...actions]) expect(inside).not.toContain(name);
    }
  });

  test('a token of another request, search or caller is a 400', async () => {
    const [sought, body] = searches[0] ?? ['', {}];
    const first = await search(sought, { ...body, page: { limit: 1 } });
    const page = { limit: 1, token: first.body.page.next_token };
    const others: [string, object, string][] = [
      ['subject', { ...body, action: { name: 'document.edit' } }, api],
      ['subject', { ...body, subject: { type: 'job' } }, api],
      ['subject', { ...body, context: { mfa: true } }, api],
      ['resource', body, api],
      ['subject', body, bearer(secrets.mcp)],
      ['subject', body, bearer(secrets.operator)],
    ];
    for (const [other, changed, caller] of others)
      expect(await search(other, { ...changed, page }, caller)).toMatchObject({
        status: 400,
        body: { error: 'invalid_request' },
      });
    expect(await search(sought, { ...body, page })).toMatchObject({ status: 200 });
    expect(await search(sought, { ...body, page: { ...page, limit: 2 } })).toMatchObject({ status: 200 });
  });

  test('a token that was changed or made up, and a limit that is none, is a 400', async () => {
    const [sought, body] = searches[0] ?? ['', {}];
    const { next_token: token } = (await search(sought, { ...body, page: { limit: 1 } })).body.page;
    const flipped = `${token.startsWith('A') ? 'B' : 'A'}${token.slice(1)}`;
    for (const page of [
      ...[flipped, `${token}AAAA`, token.slice(0, -4), 'x', 'YWxpY2U', 1].map((each) => ({
        token: each,
      })),
      ...[0, -1, 1.5, 1_001, '1'].map((limit) => ({ limit })),
    ])
      expect(await search(sought, { ...body, page }), JSON.stringify(page)).toMatchObject({
        status: 400,
        body: { error: 'invalid_request' },
      });
  });

  test('goes on after the longest id', async () => {
    const asked = { subject: { type: 'user' }, action, resource };
    const next = (page: object) => search('subject', { ...asked, page }, bearer(secrets.globexMcp), 'globex');
    const first = await next({ limit: 2 });
    expect(ids(first.body.results)).toEqual(['alice', longest[0]]);
    const second = await next({ limit: 2, token: first.body.page.next_token });
    expect(ids(second.body.results)).toEqual(longest.slice(1));
  });
});
