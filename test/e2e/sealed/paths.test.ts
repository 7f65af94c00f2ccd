import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Grpc, struct } from '../grpc.ts';
import { check, connect, exchangeFields, form, postJson, type TokenJson, tokenReads } from '../requests.ts';
import { bearer, eventually, type Running, secrets, sha256 } from '../server.ts';
import { asked, holding, operator, query, SEALED, sealing } from './sealed.ts';

/** Whichever way something is asked, what is sealed stands nowhere in the clear. */

let server: Running;
let pep: Grpc;
let threadAnswers: number;
beforeAll(async () => {
  server = await sealing({
    acme: (manifest) => {
      manifest.entrypoints = ['authz/allow'];
      manifest.audit = { sealed: [...SEALED, { path: '/data_input/card', about: '/data_input/user' }] };
      for (const principal of manifest.principals)
        if (principal.id === 'alice') principal.properties = { ...principal.properties, phone: PHONE };
    },
  });
  pep = new Grpc(server.data, secrets.api);
  // There is a thread that could be asked.
  using globex = new Grpc(server.data, secrets.globexMcp);
  await eventually(
    async () => {
      await globex.checkByStream({ ...structs('x'), tenant: 'globex' });
      return server.mandate.services.offload?.answered ?? 0;
    },
    (answered) => answered > 0,
  );
  threadAnswers = server.mandate.services.offload?.answered ?? 0;
});
afterAll(async () => {
  pep[Symbol.dispose]();
  await server[Symbol.asyncDispose]();
});

const PHONE = 'phone-of-alice-0049';
const api = bearer(secrets.api);

/** A question with a secret in each sealed member, of the subject's stated properties too. */
const secretly = (secret: string) => ({
  ...asked('patient:ann', { name: `${secret}-context` }),
  subject: { type: 'user', id: 'bob', properties: { phone: `${secret}-stated` } },
  action: { name: 'document.read', properties: { why: `${secret}-action` } },
  resource: { type: 'document', id: 'roadmap', properties: { notes: [`${secret}-resource`] } },
});

const structs = (secret: string) => {
  const { subject, action, resource, context, tenant } = secretly(secret);
  return {
    tenant,
    subject: { ...subject, properties: struct(subject.properties) },
    action: { ...action, properties: struct(action.properties) },
    resource: { ...resource, properties: struct(resource.properties) },
    context: struct(context),
  };
};

/** More than a part that is shared has at least. */
const long = (secret: string): string => `${secret}${'-x'.repeat(1_000)}`;

const token = async (): Promise<string> => {
  const url = `${server.data}/t/acme/dev/token?user=alice&client=research-agent`;
  return (await postJson<TokenJson>(url, '')).body.access_token;
};

const exchanged = async (fields: Record<string, string> = {}) =>
  form(server.data, 'token', exchangeFields(await token(), fields), {
    id: 'research-agent',
    secret: secrets.agent,
  });

type Way = (secret: string) => Promise<unknown>;

/** What is asked, and how many values are sealed in the records of it. */
const ways: Record<string, readonly [Way, number]> = {
  'Check over Connect': [(secret) => check(server.data, secretly(secret), api), 4],
  'Check over gRPC': [(secret) => pep.call('DecisionService', 'Check', structs(secret)), 4],
  'a long Check over gRPC': [(secret) => pep.call('DecisionService', 'Check', structs(long(secret))), 4],
  CheckStream: [(secret) => pep.checkByStream(structs(secret)), 4],
  'CheckBatch over gRPC, with what is shared': [
    (secret) => pep.call('DecisionService', 'CheckBatch', { ...structs(long(secret)), items: [{}, {}, {}] }),
    12,
  ],
  'CheckBatch over Connect': [
    (secret) =>
      connect(server.data, 'DecisionService/CheckBatch', { ...secretly(long(secret)), items: [{}, {}] }, api),
    8,
  ],
  'AuthZEN, evaluation': [
    (secret) => {
      const { tenant: _, ...evaluation } = secretly(secret);
      return postJson(`${server.data}/t/acme/access/v1/evaluation`, evaluation, api);
    },
    4,
  ],
  'AuthZEN, evaluations': [
    (secret) => {
      const { tenant: _, ...defaults } = secretly(long(secret));
      return postJson(
        `${server.data}/t/acme/access/v1/evaluations`,
        { ...defaults, evaluations: [{}, { resource: { type: 'document', id: 'salaries' } }] },
        api,
      );
    },
    7,
  ],
  'AuthZEN, search': [
    (secret) => {
      const { tenant: _, subject: __, ...question } = secretly(secret);
      return postJson(
        `${server.data}/t/acme/access/v1/search/subject`,
        { ...question, subject: { type: 'user' } },
        api,
      );
    },
    // Four users, of whom the directory knows one's phone.
    4 * 3 + 1,
  ],
  "OPA's data API": [
    (secret) =>
      postJson(
        `${server.data}/t/acme/v1/data/authz/allow`,
        { input: { user: 'user:bob', card: `${secret}-card` } },
        api,
      ),
    1,
  ],
  'a token that is refused': [
    (secret) => {
      const { subject: _, ...rest } = secretly(secret);
      return check(
        server.data,
        { ...rest, subjectToken: 'a.b.c', audience: 'docs-mcp' },
        bearer(secrets.mcp),
      );
    },
    3,
  ],
};

test.each(Object.keys(ways))('%s', async (name) => {
  const secret = `secret-${Object.keys(ways).indexOf(name)}-of-a-way`;
  const [ask, count] = ways[name] ?? [];
  const before = (await query(server)).length;
  await ask?.(secret);
  const records = (await query(server, { pageSize: 100 })).slice(0, (await query(server)).length - before);
  expect(records.length).toBeGreaterThan(0);
  expect(records.flatMap(({ stored }) => stored.sealed ?? [])).toHaveLength(count ?? 0);
  for (const { stored } of records) {
    expect(JSON.stringify(stored)).not.toMatch(/secret-\d+-of-a-way/);
    expect(JSON.stringify(stored)).not.toContain(PHONE);
  }
  expect(holding(path.join(server.folder, 'data'), secret)).toEqual([]);
  // A value of nobody that is named is not kept.
  const isOfNobody = name === 'a token that is refused';
  const clear = JSON.stringify(records.map(({ opened }) => opened));
  expect(clear).toContain(secret);
  expect(clear.includes('"kept":false')).toBe(isOfNobody);
});

test('an exchange, and what its token is used for', async () => {
  const { body, status } = await exchanged();
  expect(status).toBe(200);
  await check(server.data, tokenReads(body.access_token), bearer(secrets.mcp));
  const refused = await exchanged({ scope: 'docs.write' });
  expect(refused.status).toBe(400);
  const exchanges = await query(server, { kind: 'exchange' });
  expect(exchanges.map(({ stored }) => stored.sealed)).toEqual([undefined, ['/subject/properties/phone']]);
  expect(exchanges[1]?.opened?.input.subject?.properties?.['phone']).toBe(PHONE);
  const [used] = await query(server, { principal: { class: 'agent', id: 'research-agent' } });
  expect(used?.stored.sealed).toEqual(['/subject/properties/phone']);
});

test('what the directory knows is sealed in each record, and no thread without keys was asked', async () => {
  for (const { stored } of await query(server, { pageSize: 1_000 }))
    expect(JSON.stringify(stored)).not.toContain(PHONE);
  expect(server.mandate.services.offload?.answered).toBe(threadAnswers);
});

test('a change of who has a sealed property tells that it changed, and not what it is', async () => {
  const put = (properties: object, roles: string[]) =>
    connect(
      server.admin,
      'TenantService/PutPrincipals',
      { tenant: 'acme', principals: [{ class: 'user', id: 'dora', properties, roles }] },
      operator,
    );
  await put({ phone: '1' }, ['reader']);
  await put({ phone: '2' }, ['reader']);
  await put({ phone: '2' }, ['editor']);
  const changes = (
    await query(server, {
      kind: 'administration',
      action: 'principal.change',
      principal: { class: 'user', id: 'dora' },
    })
  ).map(({ stored }) => {
    const { before, after } = stored['detail'] as Record<string, { properties_sha256: string } | null>;
    return [before?.properties_sha256, after?.properties_sha256] as const;
  });
  expect(changes.map(([before, after]) => before === after)).toEqual([true, false, false]);
  const guesses = ['1', '2'].map((phone) => sha256(JSON.stringify({ phone })));
  for (const digest of changes.flat()) expect(guesses).not.toContain(digest);
});
