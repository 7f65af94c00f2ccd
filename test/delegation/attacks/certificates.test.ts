import { createHash } from 'node:crypto';
import { calculateJwkThumbprint, exportJWK, generateKeyPair, SignJWT } from 'jose';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Pair } from '../../e2e/authority.ts';
import { claimsOf } from '../../e2e/requests.ts';
import { bearer, editTenant } from '../../e2e/server.ts';
import { CertifiedStage, type Got, thumbprint } from '../certified.ts';
import { agent, api, deniedFor, mcp, otherAgent } from '../stage.ts';

/** RFC 8705: tokens that are bound to a certificate, and what somebody tries who has not that certificate. */

let stage: CertifiedStage;
let holder: Pair;
let thief: Pair;

beforeAll(async () => {
  stage = await CertifiedStage.open({
    acme: (manifest) => {
      manifest.mtls = { bound: ['agent'] };
    },
  });
  holder = await stage.ours.issue('holder', { 'DNS.1': 'research.agents.acme.example' });
  thief = await stage.ours.issue('thief', { 'DNS.1': 'research.agents.acme.example' });
});
afterAll(() => stage[Symbol.asyncDispose]());

const heldBy = (pair: Pair) => ({ x5tS256: thumbprint(pair) });
const allowed = { decision: 'DECISION_ALLOW' };
const unheld = deniedFor('certificate_invalid');
const refused = (code: string) => ({ status: 400, body: { code } });

/** A proof of a new key, for the address that the server is called by. */
async function newKey(uri = 'https://mandate.acme.example/t/acme/oauth2/token') {
  const { privateKey, publicKey } = await generateKeyPair('ES256', { extractable: true });
  const jwk = await exportJWK(publicKey);
  let serial = 0;
  const prove = (more: Record<string, unknown> = {}): Promise<string> => {
    serial += 1;
    return new SignJWT({ jti: `c${serial}`, htm: 'POST', htu: uri, ...more })
      .setIssuedAt()
      .setProtectedHeader({ typ: 'dpop+jwt', alg: 'ES256', jwk })
      .sign(privateKey);
  };
  return { jkt: await calculateJwkThumbprint(jwk), prove };
}

describe('RFC 8705 3: a token that is bound to a certificate', () => {
  test('names it wherever it is asked, and is good with it', async () => {
    const token = await stage.granted(holder);
    const cnf = { 'x5t#S256': thumbprint(holder) };
    expect(claimsOf(token)).toMatchObject({ cnf });
    expect(await stage.introspect(token)).toMatchObject({ active: true, token_type: 'Bearer', cnf });
    expect(await stage.check(token, heldBy(holder))).toMatchObject(allowed);
    const [record] = await stage.records({ kind: 'exchange' });
    const body = Buffer.from(record?.['body'] as string, 'base64').toString();
    expect(JSON.parse(body)).toMatchObject({ input: { grant: { cnf } } });
  });

  test('is denied as a bearer token, before and after it was seen with its certificate', async () => {
    const token = await stage.granted(holder);
    expect(await stage.check(token)).toMatchObject(unheld);
    expect(await stage.check(token, heldBy(holder))).toMatchObject(allowed);
    expect(await stage.check(token)).toMatchObject(unheld);
    const [record] = await stage.records({ kind: 'decision' });
    expect(record).toMatchObject({ outcome: 'deny', reasons: [{ code: 'certificate_invalid' }] });
  });

  test('is denied with another certificate, of the same names and the same authority', async () => {
    expect(await stage.check(await stage.granted(holder), heldBy(thief))).toMatchObject(unheld);
  });

  test('is denied with a proof of a key in the place of its certificate, and with another beside it', async () => {
    const token = await stage.granted(holder);
    const { prove } = await newKey('https://docs.acme.example/mcp');
    const ath = createHash('sha256').update(token).digest('base64url');
    const proof = async () => ({
      dpop: await prove({ ath }),
      method: 'POST',
      uri: 'https://docs.acme.example/mcp',
    });
    expect(await stage.check(token, await proof())).toMatchObject(deniedFor('dpop_invalid'));
    expect(await stage.check(token, { ...(await proof()), ...heldBy(holder) })).toMatchObject(
      deniedFor('dpop_invalid'),
    );
  });

  test.each<[string, (print: string) => string]>([
    ['as hex', (print) => Buffer.from(print, 'base64url').toString('hex')],
    ['padded', (print) => `${print}=`],
    ['in the other alphabet', (print) => `+/${print.slice(2)}`],
    ['with a bit that is none of its own', (print) => `${print.slice(0, 42)}${nextLetter(print.slice(42))}`],
    ['cut', (print) => print.slice(0, 42)],
    ['twice', (print) => print + print],
  ])('a thumbprint that is written %s is no request', async (_how, write) => {
    const token = await stage.granted(holder);
    expect(await stage.check(token, { x5tS256: write(thumbprint(holder)) })).toMatchObject({
      code: 'invalid_argument',
    });
  });

  test('a caller who states a thumbprint without the right to learns and gets nothing', async () => {
    const token = await stage.granted(holder);
    // Another server, a caller that may not ask, and nobody: the thumbprint is in the token for all to read.
    expect(await stage.check(token, heldBy(holder), api)).toMatchObject(deniedFor('audience_mismatch'));
    expect(await stage.check(token, heldBy(holder), agent)).toMatchObject({ code: 'permission_denied' });
    const stranger = { id: 'x', secret: 'nobody-has-this-secret-0000000000001' };
    expect(await stage.check(token, heldBy(holder), stranger)).toMatchObject({ code: 'unauthenticated' });
  });
});

/** The last of 43 characters holds four bits of a hash; this has a fifth. */
const LETTERS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
const nextLetter = (letter: string): string => LETTERS[LETTERS.indexOf(letter) + 1] ?? '';

describe('an exchange of a bound token', () => {
  const again = (token: string, over: Pair | undefined, by = agent) =>
    stage.exchange(token, {}, { over, by });

  test('by whoever acts by it takes the same certificate, and what comes of it is bound to that', async () => {
    const token = await stage.granted(holder);
    expect(await again(token, undefined)).toMatchObject(refused('certificate_invalid'));
    expect(await again(token, thief)).toMatchObject(refused('certificate_invalid'));
    const { body } = await again(token, holder);
    expect(claimsOf(body.access_token)).toMatchObject({ cnf: { 'x5t#S256': thumbprint(holder) } });
  });

  test('by somebody else is refused whatever certificate comes with it', async () => {
    const token = await stage.granted(holder);
    for (const over of [undefined, thief, holder])
      expect(await again(token, over, otherAgent)).toMatchObject(refused('exchange_denied'));
  });

  test('a thumbprint in the form, in a header or in a message is no certificate', async () => {
    const token = await stage.granted(holder);
    const x5t = thumbprint(holder);
    const hex = Buffer.from(x5t, 'base64url').toString('hex');
    const headers = { 'x-forwarded-client-cert': `Hash=${hex}`, 'x5t-s256': x5t, 'client-cert': `:${x5t}:` };
    const fields = { certificate: x5t, x5t_s256: x5t, cnf: JSON.stringify({ 'x5t#S256': x5t }) };
    expect(await stage.exchange(token, fields, { headers })).toMatchObject(refused('certificate_invalid'));
    const asked = { tenant: 'acme', subjectToken: token, audience: 'docs-mcp', scopes: ['docs.read'] };
    const over = (more: object) =>
      stage.send<{ code?: string; tokenType?: string }>(
        '/mandate.v1.DelegationService/Exchange',
        { ...asked, ...more },
        { by: agent, headers },
      );
    expect(await over({})).toMatchObject({ status: 400 });
    expect(await over({ proof: heldBy(holder) })).toMatchObject({ status: 400 });
  });

  test('a task goes on with the certificate that it was opened with, and with no other', async () => {
    const { body } = await stage.exchange(
      await stage.stage.issuer.sign(),
      { task_purpose: 'tidy up' },
      { over: holder },
    );
    const { task_id: id } = body as unknown as { task_id: string };
    const fields = { subject_token_type: 'urn:mandate:params:oauth:token-type:task' };
    expect(await stage.exchange(id, fields)).toMatchObject(refused('certificate_invalid'));
    expect(await stage.exchange(id, fields, { over: thief })).toMatchObject(refused('certificate_invalid'));
    const on = await stage.exchange(id, fields, { over: holder });
    expect(claimsOf(on.body.access_token)).toMatchObject({ cnf: { 'x5t#S256': thumbprint(holder) } });
  });

  test("another issuer's token that is bound to a certificate is taken over that, and binds what comes of it", async () => {
    const cnf = { 'x5t#S256': thumbprint(holder) };
    const token = await stage.stage.issuer.sign({ cnf });
    for (const over of [undefined, thief])
      expect(await again(token, over)).toMatchObject(refused('token_invalid'));
    const { body } = await again(token, holder);
    expect(claimsOf(body.access_token)).toMatchObject({ cnf });
    // Neither is a confirmation that nobody here knows, nor none.
    for (const odd of [
      {},
      [],
      { ...cnf, jwk: {} },
      { x5t: thumbprint(holder) },
      { 'x5t#S256': [thumbprint(holder)] },
    ])
      expect(await again(await stage.stage.issuer.sign({ cnf: odd }), holder)).toMatchObject(
        refused('token_invalid'),
      );
  });
});

test('a certificate of another authority is turned away before anything is asked', async () => {
  const forged = await stage.theirs.issue('holder', { 'DNS.1': 'research.agents.acme.example' });
  await expect(stage.granted(forged)).rejects.toThrow(/ECONNRESET|socket hang up|alert|EPIPE/);
  // Nor is it any use to say that one has it.
  expect(await stage.check(await stage.granted(holder), heldBy(forged))).toMatchObject(unheld);
});

describe('two confirmations at once', () => {
  test('are both to be held: neither stands for the other', async () => {
    const { jkt, prove } = await newKey();
    const subject = await stage.stage.issuer.sign();
    const { body } = await stage.exchange(subject, {}, { over: holder, headers: { dpop: await prove() } });
    const token = body.access_token;
    expect(body.token_type).toBe('DPoP');
    expect(claimsOf(token)).toMatchObject({ cnf: { jkt, 'x5t#S256': thumbprint(holder) } });
    const ath = createHash('sha256').update(token).digest('base64url');
    const uri = 'https://docs.acme.example/mcp';
    const proof = async () => ({ dpop: await prove({ htu: uri, ath }), method: 'POST', uri });
    expect(await stage.check(token, await proof())).toMatchObject(unheld);
    expect(await stage.check(token, { ...(await proof()), ...heldBy(thief) })).toMatchObject(unheld);
    expect(await stage.check(token, heldBy(holder))).toMatchObject(deniedFor('dpop_invalid'));
    expect(await stage.check(token, { ...(await proof()), ...heldBy(holder) })).toMatchObject(allowed);
    // So they are to exchange it.
    const once = async (over: Pair | undefined, dpop?: string): Promise<Got<unknown>> =>
      stage.exchange(token, {}, { over, ...(dpop !== undefined && { headers: { dpop } }) });
    expect(await once(holder)).toMatchObject(refused('dpop_invalid'));
    expect(await once(undefined, await prove())).toMatchObject(refused('certificate_invalid'));
    expect(await once(holder, await prove())).toMatchObject({ status: 200 });
  });

  test("in another issuer's token both are to be held", async () => {
    const { jkt, prove } = await newKey();
    const token = await stage.stage.issuer.sign({ cnf: { jkt, 'x5t#S256': thumbprint(holder) } });
    expect(await stage.exchange(token, {}, { over: holder })).toMatchObject(refused('token_invalid'));
    expect(await stage.exchange(token, {}, { headers: { dpop: await prove() } })).toMatchObject(
      refused('token_invalid'),
    );
    const both = await stage.exchange(token, {}, { over: holder, headers: { dpop: await prove() } });
    expect(claimsOf(both.body.access_token)).toMatchObject({
      cnf: { jkt, 'x5t#S256': thumbprint(holder) },
    });
  });
});

describe('through Envoy', () => {
  interface Shown {
    readonly certificate?: string;
    readonly header?: string;
    readonly raw?: readonly string[];
    readonly source?: string;
  }
  const codesFor = async (token: string, { certificate = '', header, raw, source }: Shown) => {
    const headers = {
      authorization: `Bearer ${token}`,
      ...(header !== undefined && { 'x-forwarded-client-cert': header }),
    };
    const more = (raw ?? []).map((each) => ({
      key: 'X-Forwarded-Client-Cert',
      rawValue: Buffer.from(each).toString('base64'),
    }));
    const http = {
      method: 'GET',
      scheme: 'https',
      host: 'docs.acme.example',
      path: '/mcp',
      headers,
      ...(raw && { headerMap: { headers: more } }),
    };
    const attributes = {
      request: { http },
      source: { certificate: source ?? '' },
      contextExtensions: { tenant: 'acme', audience: 'docs-mcp', certificate },
    };
    const { status, body } = await stage.send<{ deniedResponse?: { status: { code: number } } }>(
      '/envoy.service.auth.v3.Authorization/Check',
      { attributes },
      { headers: { authorization: bearer(mcp.secret) } },
    );
    if (status !== 200) return [String((body as { code?: string }).code)];
    const [record] = await stage.records({ kind: 'decision' });
    const codes = ((record?.['reasons'] ?? []) as { code: string }[]).map(({ code }) => code);
    if (codes.includes('certificate_invalid')) expect(body.deniedResponse?.status.code).toBe(401);
    return codes;
  };
  const hash = (pair: Pair): string => `Hash=${Buffer.from(thumbprint(pair), 'base64url').toString('hex')}`;
  const XFCC = 'x-forwarded-client-cert';

  test('is where the configuration says that it is, and proves what it proves', async () => {
    const token = await stage.granted(holder);
    const source = encodeURIComponent(holder.pem.cert);
    // The policy has its say on what was understood.
    expect(await codesFor(token, { certificate: 'source', source })).not.toContain('certificate_invalid');
    for (const header of [
      hash(holder),
      `By=spiffe://acme.example/x;${hash(holder)};Subject="CN=a\\"b,O=\\"Hash=00\\";x";URI=spiffe://acme.example/y`,
    ])
      expect(await codesFor(token, { certificate: XFCC, header }), header).not.toContain(
        'certificate_invalid',
      );
  });

  test('a header that a client wrote is not believed', async () => {
    const token = await stage.granted(holder);
    const header = hash(holder);
    const source = encodeURIComponent(thief.pem.cert);
    // It is looked at where the configuration says so alone.
    expect(await codesFor(token, { header })).toContain('certificate_invalid');
    expect(await codesFor(token, { header, certificate: 'source' })).toContain('certificate_invalid');
    expect(await codesFor(token, { header, certificate: 'source', source })).toContain('certificate_invalid');
    expect(await codesFor(token, { source: encodeURIComponent(holder.pem.cert) })).toContain(
      'certificate_invalid',
    );
    // Where Envoy added its own to the client's, neither is.
    for (const forged of [
      `${header},${hash(thief)}`,
      `${hash(thief)},${header}`,
      `${header};${hash(thief)}`,
      `${hash(thief)};${header}`,
      `${header};`,
      `;${header}`,
      `${header}x`,
      `Subject="${header}"`,
      `Subject="a\\";${header};x="b"`,
      `Subject=";${header}`,
      header.toUpperCase(),
      header.slice(0, -1),
      header.slice(5),
      '',
    ])
      expect(await codesFor(token, { header: forged, certificate: XFCC }), forged).toContain(
        'certificate_invalid',
      );
    expect(await codesFor(token, { header, raw: [hash(thief)], certificate: XFCC })).toContain(
      'certificate_invalid',
    );
    expect(await codesFor(token, { raw: [header, header], certificate: XFCC })).toContain(
      'certificate_invalid',
    );
  });

  test('a certificate that is written in another way is none, and a place that there is not is an error', async () => {
    const token = await stage.granted(holder);
    const { cert } = holder.pem;
    for (const odd of [
      encodeURIComponent(`${cert}${thief.pem.cert}`),
      encodeURIComponent(`x\n${cert}`),
      encodeURIComponent(cert.replace(/\n-----END/, '=\n-----END')),
      `${encodeURIComponent(cert)}%zz`,
      encodeURIComponent(cert) + '%0A'.repeat(10_000),
      thumbprint(holder),
    ])
      expect(await codesFor(token, { certificate: 'source', source: odd })).toContain('certificate_invalid');
    for (const certificate of ['Source', 'header', 'toString', '__proto__'])
      expect(await codesFor(token, { certificate })).toEqual(['invalid_argument']);
  });
});

describe('which tokens are bound', () => {
  test('of a class that the tenant does not name none is, with a certificate too', async () => {
    await using plain = await CertifiedStage.open();
    const pair = await plain.ours.issue('any', { 'DNS.1': 'x' });
    const token = await plain.granted(pair);
    expect(claimsOf(token)).not.toHaveProperty('cnf');
    // A certificate is of the connection, and does no harm to a token that is bound to none.
    expect(await plain.check(token, heldBy(pair))).toMatchObject(allowed);
  });

  test('where a class is given no others, it gets none without a certificate', async () => {
    await using strict = await CertifiedStage.open({
      acme: (manifest) => {
        manifest.mtls = { required: ['agent'] };
      },
    });
    const pair = await strict.ours.issue('any', { 'DNS.1': 'x' });
    expect(await strict.exchange(await strict.stage.issuer.sign())).toMatchObject(
      refused('certificate_invalid'),
    );
    const [record] = await strict.records({ kind: 'exchange' });
    expect(record).toMatchObject({ outcome: 'deny', reasons: [{ code: 'certificate_invalid' }] });
    expect(claimsOf(await strict.granted(pair))).toMatchObject({ cnf: { 'x5t#S256': thumbprint(pair) } });
  });

  test('after a restart a bound token is as bound as before, and so is its task', async () => {
    await using own = await CertifiedStage.open({
      acme: (manifest) => {
        manifest.mtls = { bound: ['agent'] };
      },
    });
    const pair = await own.ours.issue('any', { 'DNS.1': 'x' });
    const other = await own.ours.issue('other', { 'DNS.1': 'x' });
    const token = await own.granted(pair, { task_purpose: 'tidy up' });
    const { task_id: task } = (await own.introspect(token)) as { task_id: string };
    await own.stage.restart();
    expect(await own.check(token)).toMatchObject(unheld);
    expect(await own.check(token, heldBy(other))).toMatchObject(unheld);
    expect(await own.check(token, heldBy(pair))).toMatchObject(allowed);
    const fields = { subject_token_type: 'urn:mandate:params:oauth:token-type:task' };
    expect(await own.exchange(task, fields)).toMatchObject(refused('certificate_invalid'));
    expect(await own.exchange(task, fields, { over: pair })).toMatchObject({ status: 200 });
  });

  test('once the tenant asks for none any more, who acts by a bound token still gets bound ones', async () => {
    await using own = await CertifiedStage.open({
      acme: (manifest) => {
        manifest.mtls = { bound: ['agent'] };
      },
    });
    const pair = await own.ours.issue('any', { 'DNS.1': 'x' });
    const token = await own.granted(pair);
    await editTenant(own.stage.server.tenantFolder('acme'), (manifest) => {
      delete manifest.mtls;
    });
    await own.stage.restart();
    expect(claimsOf(await own.granted(pair))).not.toHaveProperty('cnf');
    const { body } = await own.exchange(token, {}, { over: pair });
    expect(claimsOf(body.access_token)).toMatchObject({ cnf: { 'x5t#S256': thumbprint(pair) } });
    expect(await own.exchange(token)).toMatchObject(refused('certificate_invalid'));
  });
});
