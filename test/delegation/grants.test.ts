import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { claimsOf, connect } from '../e2e/requests.ts';
import { basic, bearer, secrets, sha256 } from '../e2e/server.ts';
import { agent, type Client, globexAgent, mcp, otherAgent, Stage } from './stage.ts';

/** Who sees which grants. */

let stage: Stage;
let root: string;
let child: string;
/** Of another user of the same agent, and of another agent. */
let bobs: string;
let others: string;

const auditor = 'acme-console-test-secret-0000000001';
const idOf = (token: string): string => String(claimsOf(token)['jti']);

beforeAll(async () => {
  stage = await Stage.open({
    acme: ({ principals }) => {
      for (const { ceiling } of principals) if (ceiling) ceiling.max_depth = 3;
      principals.push({
        class: 'service',
        id: 'console',
        credentials: [{ secret_sha256: sha256(auditor) }],
        may: ['grant.read'],
      });
    },
  });
  const rootToken = await stage.granted();
  root = idOf(rootToken);
  child = idOf((await stage.exchange(rootToken, { audience: 'docs-api' }, mcp)).body.access_token);
  bobs = idOf((await stage.exchange(await stage.issuer.sign({ sub: 'bob' }))).body.access_token);
  const toOther = await stage.issuer.sign({ client_id: 'other-agent' });
  others = idOf((await stage.exchange(toOther, {}, otherAgent)).body.access_token);
});
afterAll(() => stage[Symbol.asyncDispose]());

interface Page {
  grants?: { id: string; state: string; parentId?: string }[];
  nextPageToken?: string;
  code?: string;
}

const as = ({ id, secret }: Client): string => basic(id, secret);
const list = (filter: object, authorization: string, tenant = 'acme') =>
  connect<Page>(stage.server.data, 'GrantService/ListGrants', { tenant, ...filter }, authorization);
const seen = async (filter: object, authorization: string): Promise<Set<string>> => {
  const { status, body } = await list(filter, authorization);
  expect(status).toBe(200);
  return new Set(body.grants?.map(({ id }) => id));
};
const get = (id: string, authorization: string) =>
  connect<{ grant?: Record<string, unknown> }>(
    stage.server.data,
    'GrantService/GetGrant',
    { tenant: 'acme', id },
    authorization,
  );

const console = bearer(auditor);
const everybody = () => new Set([root, child, bobs, others]);

describe('an operator, and a caller that has grant.read', () => {
  test.each([
    ['operator', bearer(secrets.operator)],
    ['service', console],
  ])('%s: sees all of the tenant, by subject, actor, audience and tree', async (_, authorization) => {
    expect(await seen({}, authorization)).toEqual(everybody());
    expect(await seen({ subject: { class: 'user', id: 'bob' } }, authorization)).toEqual(new Set([bobs]));
    expect(await seen({ subject: { class: 'agent', id: 'bob' } }, authorization)).toEqual(new Set());
    expect(await seen({ actor: { class: 'mcp_server', id: 'docs-mcp' } }, authorization)).toEqual(
      new Set([child]),
    );
    expect(await seen({ audience: 'docs-api' }, authorization)).toEqual(new Set([child]));
    expect(await seen({ under: root }, authorization)).toEqual(new Set([root, child]));
    expect(await seen({ under: child }, authorization)).toEqual(new Set([child]));
  });

  test('sees who issued the token that it came from, and all of a grant', async () => {
    const { body } = await get(child, console);
    expect(body.grant).toMatchObject({
      id: child,
      parentId: root,
      depth: 2,
      subject: { class: 'user', id: 'alice' },
      actors: [
        { class: 'mcp_server', id: 'docs-mcp' },
        { class: 'agent', id: 'research-agent' },
      ],
      scopes: ['docs.read'],
      audiences: ['docs-api'],
      issuer: stage.issuer.url,
      state: 'GRANT_STATE_LIVING',
    });
  });

  test('goes through them page by page', async () => {
    const found: string[] = [];
    let pageToken = '';
    for (let pages = 0; pages < 6; pages += 1) {
      const { body } = await list({ pageSize: 1, pageToken }, console);
      found.push(...(body.grants ?? []).map(({ id }) => id));
      pageToken = body.nextPageToken ?? '';
      if (pageToken === '') break;
    }
    expect(found).toHaveLength(4);
    expect(new Set(found)).toEqual(everybody());
  });
});

describe('an agent', () => {
  test('sees the grants it acts by, and with `under` what came of them', async () => {
    expect(await seen({}, as(agent))).toEqual(new Set([root, bobs]));
    expect(await seen({ under: root }, as(agent))).toEqual(new Set([root, child]));
    expect(await seen({ subject: { class: 'user', id: 'bob' } }, as(agent))).toEqual(new Set([bobs]));
    expect((await get(child, as(agent))).status).toBe(200);
    expect(await seen({}, as(otherAgent))).toEqual(new Set([others]));
  });

  test('sees nobody else’s: not by its id, not under it, not by the actor, not with a place in the list', async () => {
    expect(await get(root, as(otherAgent))).toMatchObject({ status: 404, body: { code: 'not_found' } });
    expect(await list({ under: root }, as(otherAgent))).toMatchObject({ status: 404 });
    expect(await list({ actor: { class: 'agent', id: 'research-agent' } }, as(otherAgent))).toMatchObject({
      status: 403,
    });
    const { body } = await list({ pageSize: 1 }, console);
    expect(await seen({ pageToken: body.nextPageToken }, as(otherAgent))).not.toContain(root);
    const place = (path: string) => Buffer.from(JSON.stringify([path, 1, ''])).toString('base64url');
    expect(await seen({ under: others, pageToken: place('') }, as(otherAgent))).toEqual(new Set([others]));
    expect(await seen({ under: others, pageToken: place('\uffff') }, as(otherAgent))).toEqual(new Set());
  });

  test('of another tenant sees none, whatever it is called', async () => {
    expect((await list({}, as(globexAgent))).status).toBe(401);
    expect((await list({}, as(globexAgent), 'globex')).body.grants ?? []).toEqual([]);
  });
});

test('a caller without grant.read sees nothing', async () => {
  expect(await list({}, bearer(secrets.mcp))).toMatchObject({ status: 403 });
  expect(await list({}, bearer(secrets.job))).toMatchObject({ status: 403 });
});

test.each([
  ['a page token of no list', { pageToken: 'bm90aGluZw' }],
  ['one that is written otherwise', { pageToken: Buffer.from('["a", 1, "b"]').toString('base64url') }],
  ['a long one', { pageToken: 'A'.repeat(2_000) }],
  ['too large a page', { pageSize: 1_001 }],
  ['a class that is none', { subject: { class: 'robot', id: 'r' } }],
  ['a member that is not known', { actors: [] }],
])('%s is refused', async (_, filter) => {
  expect((await list(filter, console)).status).toBe(400);
});

test('what has ended is shown when it is asked for, with when', async () => {
  const token = await stage.granted();
  const below = await stage.exchange(token, { audience: 'docs-api' }, mcp);
  await stage.revoke(token);
  expect(await seen({}, console)).toEqual(everybody());
  const ended = { state: 'GRANT_STATE_ENDED', endedAt: expect.any(String) as unknown };
  const { body } = await list({ under: idOf(token), includeEnded: true }, console);
  expect(body.grants).toMatchObject([
    { id: idOf(token), ...ended },
    { id: idOf(below.body.access_token), ...ended },
  ]);
});
