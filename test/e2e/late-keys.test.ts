import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Issuer, startIssuer, trustIn } from './issuer.ts';
import { aliceReads, check, connect } from './requests.ts';
import { bearer, editTenant, type Running, secrets, startServer, type TenantDocument } from './server.ts';

/** A token's keys come when its issuer likes: what its tenant has come to meanwhile counts for what is decided by it. */

const PATIENT = 'a name that nobody is to read';

let server: Running;
let issuer: Issuer;
let keys: PromiseWithResolvers<void>;
let asked: PromiseWithResolvers<void>;
beforeEach(async () => {
  keys = Promise.withResolvers();
  asked = Promise.withResolvers();
  issuer = await startIssuer((request, response) => {
    if (request.url !== '/jwks') return false;
    asked.resolve();
    void keys.promise.then(() => response.end(JSON.stringify({ keys: [issuer.publicJwk] })));
    return true;
  });
  server = await startServer({
    acme: (manifest) => {
      manifest.issuers = [trustIn(issuer.url)];
    },
  });
});
afterEach(async () => {
  await server[Symbol.asyncDispose]();
  await issuer[Symbol.asyncDispose]();
});

const { subject: _, ...reads } = aliceReads;
const question = { ...reads, context: { patient: PATIENT } };

/** What is asked before that, and answered after. */
async function around<T>(ask: (token: string) => Promise<T>, edit: (to: TenantDocument) => void): Promise<T> {
  const answer = ask(await issuer.sign({ client_id: 'docs-api' }));
  await asked.promise;
  await editTenant(server.tenantFolder('acme'), edit);
  await connect(server.admin, 'PolicyService/ReloadPolicy', { tenant: 'acme' });
  keys.resolve();
  return answer;
}

const one = (token: string) => check(server.data, { subjectToken: token, ...question }, bearer(secrets.api));
const many = (token: string) =>
  connect(
    server.data,
    'DecisionService/CheckBatch',
    { subjectToken: token, ...question, items: [{}, {}] },
    bearer(secrets.api),
  );
const seals = (manifest: TenantDocument): void => {
  manifest['audit'] = { sealed: [{ path: '/context/patient' }] };
};
const meters = (manifest: TenantDocument): void => {
  manifest['meters'] = { reads: { actions: ['document.read'], per: 'subject' } };
};

async function records(): Promise<string[]> {
  const query = { tenant: 'acme', kind: 'decision' };
  const { body } = await connect<{ records?: { body: string }[] }>(server.admin, 'AuditService/Query', query);
  return (body.records ?? []).map((each) => Buffer.from(each.body, 'base64').toString());
}

describe('what a manifest has come to while a token is looked at', () => {
  test('is sealed in the record', async () => {
    expect((await around(one, seals)).status).toBe(200);
    const [record, ...others] = await records();
    expect([record?.includes('"sealed"'), record?.includes(PATIENT), others.length]).toEqual([
      true,
      false,
      0,
    ]);
  });

  test('is counted', async () => {
    expect((await around(one, meters)).status).toBe(200);
    expect(await records()).toEqual([expect.stringContaining('"counted":{"reads":1}')]);
  });

  test.each([
    ['seals', seals],
    ['counts', meters],
  ])('stops a batch, where it %s', async (_what, edit) => {
    expect(await around(many, edit)).toMatchObject({ status: 503, body: { code: 'unavailable' } });
    expect(await records()).toEqual([]);
  });

  test('stops no batch that it does not touch', async () => {
    const answer = await around(many, ({ principals }) => principals.push({ class: 'user', id: 'new' }));
    expect(answer.status).toBe(200);
    expect(await records()).toHaveLength(2);
  });

  test('lets no token decide whose issuer is trusted no more', async () => {
    const { body } = await around(one, (manifest) => {
      manifest.issuers = [];
    });
    expect(body).toMatchObject({ decision: 'DECISION_DENY', reasons: [{ code: 'token_invalid' }] });
  });
});
