import { createHash } from 'node:crypto';
import { type CryptoKey, calculateJwkThumbprint, exportJWK, generateKeyPair, type JWK, SignJWT } from 'jose';
import * as oauth from 'oauth4webapi';
import * as client from 'openid-client';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Grpc } from '../../e2e/grpc.ts';
import {
  type Answer,
  type CheckJson,
  check,
  claimsOf,
  connect,
  exchangeFields,
  postJson,
  type TokenJson,
  tokenReads,
} from '../../e2e/requests.ts';
import { basic, bearer, secrets } from '../../e2e/server.ts';
import { agent, type Client, deniedFor, mcp, otherAgent, Stage } from '../stage.ts';

/** Tokens that are bound to a key, through every endpoint; two libraries as clients, and whoever has a token alone. */

interface Holder {
  readonly privateKey: CryptoKey;
  readonly jwk: JWK;
  readonly jkt: string;
}

let stage: Stage;
let holder: Holder;
let thief: Holder;

const make = async (): Promise<Holder> => {
  const { privateKey, publicKey } = await generateKeyPair('ES256', { extractable: true });
  const jwk = await exportJWK(publicKey);
  return { privateKey, jwk, jkt: await calculateJwkThumbprint(jwk) };
};

beforeAll(async () => {
  stage = await Stage.open({
    acme: (manifest) => {
      manifest.tasks = { max_hours: 1 };
    },
  });
  [holder, thief] = [await make(), await make()];
});
afterAll(() => stage[Symbol.asyncDispose]());

const endpoint = (): string => `${stage.server.data}/t/acme/oauth2/token`;
const TASK = 'urn:mandate:params:oauth:token-type:task';
const TOOL = 'https://docs.acme.example/mcp';
let serial = 0;

interface For {
  readonly by?: Holder;
  readonly method?: string;
  readonly uri?: string;
  readonly token?: string;
  readonly nonce?: string;
}

function proof({ by = holder, method = 'POST', uri = endpoint(), token, nonce }: For = {}): Promise<string> {
  serial += 1;
  const ath = token === undefined ? {} : { ath: createHash('sha256').update(token).digest('base64url') };
  return new SignJWT({ jti: `b${serial}`, htm: method, htu: uri, ...ath, ...(nonce && { nonce }) })
    .setIssuedAt()
    .setProtectedHeader({ typ: 'dpop+jwt', alg: 'ES256', jwk: by.jwk })
    .sign(by.privateKey);
}

async function exchange(
  subjectToken: string,
  dpop: string | undefined,
  by: Client = agent,
  fields: Record<string, string> = {},
): Promise<Answer<TokenJson>> {
  const response = await fetch(endpoint(), {
    method: 'POST',
    headers: { authorization: basic(by.id, by.secret), ...(dpop && { dpop }) },
    body: new URLSearchParams(exchangeFields(subjectToken, fields)),
  });
  return { status: response.status, headers: response.headers, body: (await response.json()) as TokenJson };
}

async function bound(): Promise<string> {
  const { body } = await exchange(await stage.issuer.sign(), await proof());
  if (body.token_type !== 'DPoP') throw new Error(JSON.stringify(body));
  return body.access_token;
}

const presented = async (token: string, changes: For = {}) => {
  const how = { method: 'GET', uri: TOOL, token, ...changes };
  return { dpop: await proof(how), method: how.method, uri: how.uri };
};
const checked = async (token: string, presenting?: object): Promise<CheckJson> =>
  (await check(stage.server.data, { ...tokenReads(token), proof: presenting }, bearer(mcp.secret))).body;

const allowed = { decision: 'DECISION_ALLOW' };
const unheld = deniedFor('dpop_invalid');
const refusedProof = { status: 400, body: { error: 'invalid_dpop_proof', code: 'dpop_invalid' } };

describe('an exchange with a proof', () => {
  test('gives a token that names the key, and says so wherever it is asked', async () => {
    const token = await bound();
    expect(claimsOf(token)).toMatchObject({ cnf: { jkt: holder.jkt } });
    expect(await stage.introspect(token)).toMatchObject({
      active: true,
      token_type: 'DPoP',
      cnf: { jkt: holder.jkt },
    });
    const [record] = await stage.records({ kind: 'exchange' });
    const body = Buffer.from(record?.['body'] as string, 'base64').toString();
    expect(JSON.parse(body)).toMatchObject({ input: { grant: { cnf: { jkt: holder.jkt } } } });
  });

  const overGrpc = async (of: Stage) => {
    const uri = `${of.server.data}/mandate.v1.DelegationService/Exchange`;
    const asked = {
      tenant: 'acme',
      subjectToken: await of.issuer.sign(),
      audience: 'docs-mcp',
      scopes: ['docs.read'],
    };
    const ask = async (dpop: string) => {
      const response = await fetch(uri, {
        method: 'POST',
        headers: {
          'content-type': 'application/json',
          authorization: basic(agent.id, agent.secret),
          dpop,
        },
        body: JSON.stringify(asked),
      });
      const body = (await response.json()) as { tokenType?: string; code?: string };
      return { ...body, nonce: response.headers.get('dpop-nonce') };
    };
    return { uri, ask };
  };

  test('over gRPC has it in the metadata, for the address of the method', async () => {
    const { uri, ask } = await overGrpc(stage);
    expect(await ask(await proof({ uri }))).toMatchObject({ tokenType: 'DPoP' });
    expect(await ask(await proof())).toMatchObject({ code: 'invalid_argument', nonce: null });
  });

  test('over gRPC is told the nonce in the metadata of the error', async () => {
    await using strict = await Stage.open({
      acme: (manifest) => {
        manifest.dpop = { nonce: true };
      },
    });
    const { uri, ask } = await overGrpc(strict);
    const { code, nonce } = await ask(await proof({ uri }));
    expect(code).toBe('invalid_argument');
    expect(nonce).toMatch(/^[\w-]{43}$/);
    expect(await ask(await proof({ uri, nonce: nonce ?? '' }))).toMatchObject({ tokenType: 'DPoP' });
  });

  test('by openid-client, with the nonce that a tenant asks for', async () => {
    await using strict = await Stage.open({
      acme: (manifest) => {
        manifest.dpop = { required: ['agent'], nonce: true };
      },
    });
    const found = await client.discovery(
      new URL(`${strict.server.data}/t/acme`),
      agent.id,
      undefined,
      client.ClientSecretBasic(agent.secret),
      { algorithm: 'oauth2', execute: [client.allowInsecureRequests] },
    );
    expect(found.serverMetadata().dpop_signing_alg_values_supported).toContain('ES256');
    const keys = await client.randomDPoPKeyPair('ES256');
    const handle = client.getDPoPHandle(found, keys);
    const fields = exchangeFields(await strict.issuer.sign());
    const answer = await client.genericGrantRequest(found, fields['grant_type'] ?? '', fields, {
      DPoP: handle,
    });
    expect(answer.token_type).toBe('dpop');
    expect(claimsOf(answer.access_token)['cnf']).toEqual({ jkt: await handle.calculateThumbprint() });
    // Without a proof agents get nothing there.
    expect(await strict.exchange(await strict.issuer.sign())).toMatchObject(refusedProof);
  });

  test('for another address, method or key, used before, or two of them, gets none', async () => {
    const subject = await stage.issuer.sign();
    const once = await proof();
    expect((await exchange(subject, once)).status).toBe(200);
    for (const dpop of [
      once,
      await proof({ uri: `${stage.server.data}/t/globex/oauth2/token` }),
      await proof({ method: 'GET' }),
      await proof({ nonce: 'not-ours' }),
      `${await proof()}, ${await proof()}`,
      'x',
    ]) {
      const answer = await exchange(subject, dpop);
      expect(answer.status).toBe(400);
      expect(['invalid_dpop_proof', 'use_dpop_nonce']).toContain(answer.body.error);
    }
    const [record] = await stage.records({ kind: 'exchange' });
    expect(record).toMatchObject({ outcome: 'deny', reasons: [{ code: 'dpop_invalid' }] });
  });

  test('gives a nonce for the next one, and asks for it where a wrong one comes', async () => {
    const subject = await stage.issuer.sign();
    const refused = await exchange(subject, await proof({ nonce: 'wrong' }));
    expect(refused.body).toMatchObject({ error: 'use_dpop_nonce', code: 'dpop_nonce_required' });
    const nonce = refused.headers.get('dpop-nonce') ?? '';
    expect((await exchange(subject, await proof({ nonce }))).headers.get('dpop-nonce')).toBe(nonce);
  });
});

describe('a token that is bound', () => {
  test('is good with its key, once for each proof, over each way to ask', async () => {
    const token = await bound();
    const presenting = await presented(token);
    expect(await checked(token, presenting)).toMatchObject(allowed);
    expect(await checked(token, presenting)).toMatchObject(unheld);
    using pep = new Grpc(stage.server.data, secrets.mcp);
    const { subjectToken, resource, ...rest } = tokenReads(token);
    // As protobuf's own Struct, which this client does not make from JSON.
    const texts = Object.entries(resource.properties).map(([name, stringValue]) => [name, { stringValue }]);
    const struct = { ...resource, properties: { fields: Object.fromEntries(texts) } };
    const asked = { ...rest, resource: struct, subject_token: subjectToken };
    expect(await pep.checkByStream({ ...asked, proof: await presented(token) })).toMatchObject(allowed);
  });

  test('is found in the request that Envoy asks about, with its proof', async () => {
    const token = await bound();
    const uri = 'https://docs.acme.example/mcp?session=1';
    interface Denied {
      readonly status: { readonly code: number };
      readonly headers?: readonly { readonly header: { readonly key: string; readonly value: string } }[];
    }
    let denied: Denied | undefined;
    const codesFor = async (scheme: string, dpop: string | undefined, base = 'https://docs.acme.example') => {
      const headers = { authorization: `${scheme} ${token}`, ...(dpop && { dpop }) };
      const http = {
        method: 'GET',
        scheme: 'https',
        host: 'docs.acme.example',
        path: '/mcp?session=1',
        headers,
      };
      const attributes = {
        request: { http },
        contextExtensions: { tenant: 'acme', audience: 'docs-mcp', base },
      };
      const url = `${stage.server.data}/envoy.service.auth.v3.Authorization/Check`;
      const answer = await postJson<{ deniedResponse?: Denied }>(url, { attributes }, bearer(mcp.secret));
      expect(answer.status).toBe(200);
      denied = answer.body.deniedResponse;
      const [record] = await stage.records({ kind: 'decision' });
      const body = Buffer.from(record?.['body'] as string, 'base64').toString();
      expect(body).not.toContain(dpop ?? token);
      const reasons = (record?.['reasons'] ?? []) as { code: string }[];
      return reasons.map(({ code }) => code);
    };
    // The policy has its say on what was understood.
    const how = { method: 'GET', uri, token };
    expect(await codesFor('DPoP', await proof(how))).not.toContain('dpop_invalid');
    expect(await codesFor('Bearer', undefined)).toContain('dpop_invalid');
    expect(await codesFor('Bearer', await proof(how))).toContain('dpop_invalid');
    expect(denied?.status.code).toBe(401);
    expect(denied?.headers?.[0]?.header).toMatchObject({
      key: 'www-authenticate',
      value: expect.stringMatching(/^DPoP error="invalid_dpop_proof", algs="ES256 /) as string,
    });
    expect(await codesFor('DPoP', await proof({ ...how, uri: uri.replace('mcp', 'other') }))).toContain(
      'dpop_invalid',
    );
    expect(await codesFor('DPoP', undefined)).toContain('unauthenticated');
    // The host is the client's own word: without an address of Envoy's nothing is proven.
    const there = await proof({ ...how, uri: 'https://evil.example/mcp' });
    expect(await codesFor('DPoP', there)).toContain('dpop_invalid');
    expect(await codesFor('DPoP', await proof(how), '')).toContain('invalid_request');
  });

  test('by oauth4webapi is presented as its server is to pass it on', async () => {
    const keys = await oauth.generateKeyPair('ES256');
    const handle = oauth.DPoP({ client_id: agent.id } as oauth.Client, keys);
    const response = await oauth.genericTokenEndpointRequest(
      { issuer: `${stage.server.data}/t/acme`, token_endpoint: endpoint() },
      { client_id: agent.id },
      oauth.ClientSecretBasic(agent.secret),
      exchangeFields('')['grant_type'] ?? '',
      new URLSearchParams(exchangeFields(await stage.issuer.sign())),
      { DPoP: handle, [oauth.allowInsecureRequests]: true },
    );
    const { access_token: token, token_type: type } = (await response.json()) as TokenJson;
    expect(type).toBe('DPoP');
    let dpop = '';
    let scheme = '';
    await oauth.protectedResourceRequest(token, 'POST', new URL(`${TOOL}?session=1`), new Headers(), '{}', {
      DPoP: handle,
      [oauth.customFetch]: (_url: string, { headers }: { headers: unknown }) => {
        const sent = new Headers(headers as Record<string, string>);
        dpop = sent.get('dpop') ?? '';
        scheme = (sent.get('authorization') ?? '').split(' ')[0] ?? '';
        return Promise.resolve(new Response('{}'));
      },
    });
    expect(scheme).toBe('DPoP');
    expect(await checked(token, { dpop, method: 'POST', uri: `${TOOL}?session=1` })).toMatchObject(allowed);
  });

  test('is good for all items of a batch with one proof', async () => {
    const token = await bound();
    const { action, resource, ...rest } = tokenReads(token);
    const { body } = await connect<{ results: CheckJson[] }>(
      stage.server.data,
      'DecisionService/CheckBatch',
      { ...rest, proof: await presented(token), items: [1, 2, 3].map(() => ({ action, resource })) },
      bearer(mcp.secret),
    );
    expect(body.results.map(({ decision }) => decision)).toEqual(Array(3).fill('DECISION_ALLOW'));
  });

  test.each<[string, (token: string) => Promise<object | undefined>]>([
    ['as a bearer token', () => Promise.resolve(undefined)],
    ['with the key of a thief', (token) => presented(token, { by: thief })],
    [
      'with a proof for another address',
      async (token) => ({ ...(await presented(token)), uri: `${TOOL}/other` }),
    ],
    ['with a proof for another method', async (token) => ({ ...(await presented(token)), method: 'DELETE' })],
    ['with a proof for another token', async () => presented(await bound())],
    [
      'with a proof without its hash',
      async () => ({ dpop: await proof({ method: 'GET', uri: TOOL }), method: 'GET', uri: TOOL }),
    ],
    [
      'with the proof of its exchange',
      async () => ({ dpop: await proof(), method: 'POST', uri: endpoint() }),
    ],
    ['with what is no proof', () => Promise.resolve({ dpop: 'x', method: 'GET', uri: TOOL })],
  ])('is denied %s, and recorded', async (_name, presenting) => {
    const token = await bound();
    expect(await checked(token, await presenting(token))).toMatchObject(unheld);
    const [record] = await stage.records({ kind: 'decision' });
    expect(record).toMatchObject({ outcome: 'deny', reasons: [{ code: 'dpop_invalid' }] });
  });

  test('that was seen before, with its proof, is still denied without', async () => {
    const token = await bound();
    expect(await checked(token, await presented(token))).toMatchObject(allowed);
    expect(await checked(token)).toMatchObject(unheld);
  });

  test('is exchanged by its agent with its key alone, and what comes of it is bound as well', async () => {
    const token = await bound();
    expect(await exchange(token, undefined)).toMatchObject(refusedProof);
    expect(await exchange(token, await proof({ by: thief }))).toMatchObject(refusedProof);
    const child = (await exchange(token, await proof())).body;
    expect(claimsOf(child.access_token)).toMatchObject({ cnf: { jkt: holder.jkt } });
    // Whom it is for was handed it, without its key.
    const onward = await exchange(token, undefined, mcp, { audience: 'docs-api' });
    expect(onward).toMatchObject({ status: 200, body: { token_type: 'Bearer' } });
  });

  test('of a task is bound to what each agent of it holds, and to nothing of the other', async () => {
    const opening = { task_purpose: 'x' };
    const opened = await exchange(await stage.issuer.sign(), await proof(), agent, opening);
    const { task_id: task } = opened.body as TokenJson & { task_id: string };
    const joins = { subject_token_type: TASK, requested_token_type: TASK, may_act: 'agent:other-agent' };
    expect(await exchange(task, await proof({ by: thief }), agent, joins)).toMatchObject(refusedProof);
    expect(await exchange(task, undefined, agent, joins)).toMatchObject(refusedProof);
    const joined = await exchange(task, await proof(), agent, joins);
    expect(joined.body).toMatchObject({ token_type: 'N_A' });
    const { access_token: part } = joined.body;
    const renewal = { subject_token_type: TASK };
    const own = await exchange(part, await proof({ by: thief }), otherAgent, renewal);
    expect(claimsOf(own.body.access_token)).toMatchObject({ cnf: { jkt: thief.jkt } });
    expect(await exchange(task, await proof({ by: thief }), agent, renewal)).toMatchObject(refusedProof);
  });

  test('that was revoked is denied, whoever holds its key', async () => {
    const token = await bound();
    await stage.revoke(token);
    expect(await checked(token, await presented(token))).toMatchObject(deniedFor('token_revoked'));
  });
});

describe('a token of an issuer', () => {
  test('that is bound is taken with its key, in an exchange and by a decision, and in no other way', async () => {
    const token = await stage.issuer.sign({ cnf: { jkt: holder.jkt } });
    expect((await exchange(token, await proof())).body.token_type).toBe('DPoP');
    for (const dpop of [undefined, await proof({ by: thief })])
      expect(await exchange(token, dpop)).toMatchObject({ status: 400, body: { code: 'token_invalid' } });
    expect(await checked(token, await presented(token))).toMatchObject(allowed);
    expect(await checked(token)).toMatchObject(deniedFor('token_invalid'));
    expect(await checked(token, await presented(token, { by: thief }))).toMatchObject(unheld);
  });

  test('that is none lets no proof be remembered: the client may send it again with its token', async () => {
    const forged = `${(await stage.issuer.sign({ cnf: { jkt: holder.jkt } })).split('.').slice(0, 2).join('.')}.AAAA`;
    const dpop = await proof({ method: 'GET', uri: TOOL, token: forged });
    const presenting = { dpop, method: 'GET', uri: TOOL };
    for (let time = 0; time < 2; time += 1)
      expect(await checked(forged, presenting)).toMatchObject(deniedFor('token_invalid'));
    const bearerToken = await stage.issuer.sign();
    expect(await checked(bearerToken, await presented(bearerToken))).toMatchObject(
      deniedFor('token_invalid'),
    );
  });

  test('that is bound to more than a key we know of is not taken', async () => {
    const token = await stage.issuer.sign({ cnf: { jkt: holder.jkt, 'x5t#S256': 'x' } });
    expect(await checked(token, await presented(token))).toMatchObject(deniedFor('token_invalid'));
  });
});

test('a bearer token with a proof is not what its presenter says it is', async () => {
  const token = await stage.granted();
  expect(await checked(token)).toMatchObject(allowed);
  expect(await checked(token, await presented(token))).toMatchObject(unheld);
});

test('a proof without a token, or one that is too long, is no request', async () => {
  const ask = (body: object) => check(stage.server.data, body, bearer(mcp.secret));
  const { subjectToken: _, ...stated } = { ...tokenReads(''), subject: { type: 'user', id: 'alice' } };
  expect((await ask({ ...stated, proof: { dpop: 'x', method: 'GET', uri: TOOL } })).status).toBe(400);
  const token = await bound();
  for (const long of [{ dpop: 'x'.repeat(16_385) }, { method: 'x'.repeat(33) }, { uri: 'x'.repeat(8_193) }]) {
    const proven = { ...(await presented(token)), ...long };
    expect((await ask({ ...tokenReads(token), proof: proven })).status).toBe(400);
  }
});
