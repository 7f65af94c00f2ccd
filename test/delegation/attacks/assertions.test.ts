import { generateKeyPair, SignJWT } from 'jose';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Issuer, startIssuer, trustIn } from '../../e2e/issuer.ts';
import { ACCESS_TOKEN, claimsOf, connect, form } from '../../e2e/requests.ts';
import { basic } from '../../e2e/server.ts';
import { ACME, askFor, assertionOf, BASE, CHAT, crossing, DOCS, handIn } from '../assertions.ts';
import { agent, deniedFor, otherAgent, refusalOf, refused, Stage } from '../stage.ts';

/** What somebody does with an identity assertion that is not his, or that is none. RFC 7523, RFC 8725, the ID-JAG draft. */

let stage: Stage;
/** Trusted for its tokens, and not for assertions. */
let plain: Issuer;

beforeAll(async () => {
  plain = await startIssuer();
  stage = await Stage.open(
    crossing({}, (manifest) => {
      manifest.issuers?.push(trustIn(plain.url));
      manifest.principals.push({ class: 'mcp_server', id: 'mail-mcp', resources: ['https://mail.example'] });
    }),
  );
});
afterAll(async () => {
  await stage[Symbol.asyncDispose]();
  await plain[Symbol.asyncDispose]();
});

const made = (...parts: [claims?: Record<string, unknown>, header?: Record<string, unknown>]) =>
  assertionOf(stage.issuer, ...parts);
const now = (): number => Math.floor(Date.now() / 1_000);

/** 400 invalid_grant: RFC 7521 section 4.1.1. */
const invalidGrant = (code = 'token_invalid') => ({ status: 400, error: 'invalid_grant', code });

const ALIKE = 'token_invalid: the assertion is not valid here';

describe('what is no assertion, or somebody else’s', () => {
  test('RFC 8725 3.11: an ID token and an access token are none', async () => {
    const claims = { aud: ACME, resource: DOCS, jti: 'x', exp: now() + 60 };
    for (const typ of ['at+jwt', 'JWT', 'jwt', undefined, 'client-authentication+jwt', 'id-jag+jwt']) {
      const text = await stage.issuer.sign(claims, { typ } as { typ: string });
      const answer = await handIn(stage, text);
      expect(refusalOf(answer), String(typ)).toEqual(invalidGrant());
      expect(answer.body.error_description).toBe(ALIKE);
    }
    expect(refusalOf(await handIn(stage, await stage.granted()))).toEqual(invalidGrant());
  });

  test.for<[string, unknown]>([
    ['another authority', 'https://auth.other.example'],
    ["this one's token endpoint", `${ACME}/oauth2/token`],
    ['another tenant', `${BASE}/t/globex`],
    ['this one written otherwise', `${ACME}/`],
    ['several', [ACME, 'https://auth.other.example']],
    ['this one twice', [ACME, ACME]],
    ['nobody', []],
    ['no text', { iss: ACME }],
  ])('draft 4.4.1: for %s, it is not taken', async ([, aud]) => {
    expect(refusalOf(await handIn(stage, await made({ aud })))).toEqual(invalidGrant());
  });

  test('draft 4.4.1: that of another client is not taken, nor used up by whoever tries', async () => {
    const text = await made();
    expect(refusalOf(await handIn(stage, text, {}, otherAgent))).toEqual(invalidGrant());
    expect((await handIn(stage, text)).status).toBe(200);
    for (const client of [undefined, 'other-agent', ['research-agent'], 'agent:research-agent'])
      expect(refusalOf(await handIn(stage, await made({ client_id: client })))).toEqual(invalidGrant());
  });

  test('an issuer that the tenant trusts for tokens alone, and one that it does not, answer alike', async () => {
    const unknown = await startIssuer();
    for (const issuer of [plain, unknown]) {
      const answer = await handIn(stage, await assertionOf(issuer));
      expect(refusalOf(answer)).toEqual(invalidGrant());
      expect(answer.body.error_description).toBe(ALIKE);
      expect(issuer.requests, 'its keys are not asked for').toEqual([]);
    }
    await unknown[Symbol.asyncDispose]();
  });

  test('a key that is none of its issuer, and no signature', async () => {
    const { privateKey } = await generateKeyPair('ES256');
    const claims = claimsOf(await made());
    const header = { alg: 'ES256', kid: 'issuer-1', typ: 'oauth-id-jag+jwt' };
    const forged = await new SignJWT(claims).setProtectedHeader(header).sign(privateKey);
    expect(refusalOf(await handIn(stage, forged))).toEqual(invalidGrant());
    const none = Buffer.from(JSON.stringify({ ...header, alg: 'none' })).toString('base64url');
    expect(refusalOf(await handIn(stage, `${none}.${forged.split('.')[1]}.`))).toEqual(invalidGrant());
  });

  test('aud_tenant, tenant: it is for this tenant, and of the one that its issuer was trusted for', async () => {
    expect(refusalOf(await handIn(stage, await made({ aud_tenant: 'globex' })))).toEqual(invalidGrant());
    expect(refusalOf(await handIn(stage, await made({ tenant: 'somebody' })))).toEqual(invalidGrant());
    expect((await handIn(stage, await made({ aud_tenant: 'acme' }))).status).toBe(200);
  });
});

describe('at another door', () => {
  test('it is no subject token of an exchange, over HTTP or gRPC, and names no caller of Check', async () => {
    const text = await made();
    const type = 'urn:ietf:params:oauth:token-type:id-jag';
    expect(refusalOf(await stage.exchange(text, { subject_token_type: type }))).toEqual(
      refused('unsupported_token_type'),
    );
    expect(refusalOf(await stage.exchange(text))).toEqual(refused('token_invalid'));
    expect(await stage.check(text)).toMatchObject(deniedFor('token_invalid'));
    const asked = { tenant: 'acme', audience: 'docs-mcp', scopes: ['docs.read'] };
    const token = await stage.issuer.sign();
    for (const [further, why] of [
      [{ subjectToken: text }, 'token_invalid'],
      // As what it is it is taken there too, for what it is for; see id-jag.test.ts.
      [{ subjectToken: await made(), subjectTokenType: type }, 'the assertion is for another resource'],
      [{ subjectToken: token, subjectTokenType: type }, 'the assertion is not valid here'],
      [
        { subjectToken: token, requestedTokenType: type },
        'an assertion is for one audience, the issuer of an authority',
      ],
    ] as const) {
      const caller = basic(agent.id, agent.secret);
      const { body } = await connect(
        stage.server.data,
        'DelegationService/Exchange',
        { ...asked, ...further },
        caller,
      );
      expect(body).toMatchObject({ message: expect.stringContaining(why) as string });
    }
    expect((await handIn(stage, text)).status).toBe(200);
  });
});

describe('more than it says', () => {
  test('RFC 8707 2: an unknown resource, a name in its place, one of another server, and none', async () => {
    const target = { status: 400, error: 'invalid_target', code: 'invalid_target' };
    for (const resource of [
      'https://unknown.example',
      'docs-mcp',
      [DOCS, 'https://mail.example'],
      `${DOCS}/`,
    ])
      expect(refusalOf(await handIn(stage, await made({ resource }))), String(resource)).toEqual(target);
    for (const resource of [undefined, [], 7, [7], Array.from({ length: 17 }, () => DOCS)])
      expect(refusalOf(await handIn(stage, await made({ resource })))).toEqual(invalidGrant());
    const other = { resource: 'https://mail.example' };
    expect(refusalOf(await handIn(stage, await made(), other))).toEqual(target);
    expect(refusalOf(await handIn(stage, await made(), { audience: 'docs-api' }))).toEqual(target);
  });

  test('a wider scope than its own, than the user holds or than the agent may have, is not granted', async () => {
    const { body } = await handIn(stage, await made({ scope: 'docs.read' }), {
      scope: 'docs.read docs.suggest',
    });
    expect(body.scope).toBe('docs.read');
    const wide = await handIn(stage, await made({ scope: 'docs.read docs.write admin' }));
    expect(wide.body.scope).toBe('docs.read');
    const nothing = { status: 400, error: 'invalid_scope', code: 'invalid_scope' };
    const asks = { scope: 'docs.suggest' };
    expect(refusalOf(await handIn(stage, await made({ scope: 'docs.read' }), asks))).toEqual(nothing);
    expect(refusalOf(await handIn(stage, await made({ scope: undefined })))).toEqual(nothing);
    for (const scope of [
      '',
      'docs.read  docs.suggest',
      7,
      ['docs.read'],
      'x'.repeat(257),
      'x '.repeat(64) + 'x',
    ])
      expect(refusalOf(await handIn(stage, await made({ scope }))), String(scope)).toEqual(invalidGrant());
  });

  test('wider authorization details than its own, and some that nobody here understands', async () => {
    const detail = { type: 'tool_call', server: 'docs-mcp', tools: ['search'], max_calls: 3 };
    const details = [detail];
    const wider = JSON.stringify([{ ...detail, tools: ['search', 'read'] }]);
    const invalid = 'invalid_authorization_details';
    const answer = await handIn(stage, await made({ authorization_details: details }), {
      authorization_details: wider,
    });
    expect(refusalOf(answer)).toMatchObject({ error: invalid });
    const unknown = [{ type: 'payment', amount: 7 }];
    const other = await handIn(stage, await made({ authorization_details: unknown }));
    expect(refusalOf(other)).toMatchObject({ error: invalid });
    // None is lost by being left out.
    const kept = await handIn(stage, await made({ authorization_details: details }));
    expect(claimsOf(kept.body.access_token)['authorization_details']).toEqual(details);
  });

  test('an act claim that would be lost, and a may_act that names somebody else', async () => {
    for (const act of [{ sub: 'somebody' }, { sub: 'research-agent' }, null, {}])
      expect(refusalOf(await handIn(stage, await made({ act })))).toEqual(invalidGrant());
    const mayAct = { may_act: { sub: 'other-agent' } };
    expect(refusalOf(await handIn(stage, await made(mayAct)))).toEqual(invalidGrant());
    const own = await handIn(stage, await made({ may_act: { sub: 'research-agent' } }));
    expect(claimsOf(own.body.access_token)['may_act']).toMatchObject({ sub: 'research-agent' });
  });

  test('a subject that is unknown or disabled is refused by the policy, and it is a record', async () => {
    for (const sub of ['nobody', 'mallory']) {
      const answer = await handIn(stage, await made({ sub }));
      expect(answer.status).toBe(400);
      expect(answer.body.access_token).toBeUndefined();
    }
    expect(
      await stage.records({ kind: 'exchange', principal: { class: 'user', id: 'mallory' } }),
    ).toMatchObject([{ outcome: 'deny', action: 'assertion.accept', subject: { id: 'mallory' } }]);
  });
});

describe('at another time', () => {
  test('RFC 7523 3: one that has expired, is of tomorrow, or lasts too long', async () => {
    const at = now();
    expect(refusalOf(await handIn(stage, await made({ iat: at - 400, exp: at - 100 })))).toEqual(
      invalidGrant('token_expired'),
    );
    for (const times of [
      { iat: at + 120, exp: at + 240 },
      { iat: at, exp: at + 301 },
      { iat: at - 3_600, exp: at + 60 },
      { iat: at, exp: at },
      { iat: undefined },
      { exp: undefined },
      { nbf: at + 120 },
      { exp: 'soon' },
    ])
      expect(refusalOf(await handIn(stage, await made(times))), JSON.stringify(times)).toMatchObject({
        error: 'invalid_grant',
      });
  });

  test('RFC 7523 3: a jti that is missing, empty, no text or too long', async () => {
    for (const jti of [undefined, '', 7, 'x'.repeat(257)])
      expect(refusalOf(await handIn(stage, await made({ jti })))).toEqual(invalidGrant());
  });

  test('a jti is taken once, of each issuer apart, also after a restart', async () => {
    const text = await made({ jti: 'once' });
    expect((await handIn(stage, text)).status).toBe(200);
    expect(refusalOf(await handIn(stage, text))).toEqual(invalidGrant());
    // Another signature of the same.
    expect(refusalOf(await handIn(stage, await made({ jti: 'once' })))).toEqual(invalidGrant());
    const raced = await made({ jti: 'raced' });
    const answers = await Promise.all(Array.from({ length: 8 }, () => handIn(stage, raced)));
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
    await stage.restart();
    expect(refusalOf(await handIn(stage, text))).toEqual(invalidGrant());
    expect(refusalOf(await handIn(stage, raced))).toEqual(invalidGrant());
    expect((await handIn(stage, await made())).status).toBe(200);
  });
});

describe('an assertion that Mandate issues', () => {
  const issued = async (): Promise<string> => {
    const { status, body } = await askFor(stage, await stage.issuer.sign());
    expect(status).toBe(200);
    return body.access_token;
  };

  test('is no access token: not to decide by, to exchange, to introspect or to authenticate with', async () => {
    const text = await issued();
    expect(await stage.check(text)).toMatchObject(deniedFor('token_invalid'));
    for (const type of ['access_token', 'jwt', 'id_token'])
      expect(
        refusalOf(
          await stage.exchange(text, { subject_token_type: `urn:ietf:params:oauth:token-type:${type}` }),
        ),
      ).toEqual(refused('token_invalid'));
    expect(await stage.introspect(text)).toEqual({ active: false });
    const asClient = await form(stage.server.data, 'token', {
      grant_type: 'client_credentials',
      client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
      client_assertion: text,
      audience: 'docs-mcp',
      scope: 'docs.read',
    });
    expect(refusalOf(asClient)).toEqual({ status: 401, error: 'invalid_client', code: 'unauthenticated' });
  });

  test('draft 9.3: is never taken by the authority that issued it, even if that trusted itself', async () => {
    const own = await Stage.open(
      crossing({}, (manifest) => {
        manifest.issuers?.push({
          ...trustIn(ACME),
          jwks_uri: `${BASE}/t/acme/oauth2/jwks`,
          identity_assertions: { max_lifetime_seconds: 300 },
        });
        manifest.authorities?.push({ issuer: ACME, resources: [DOCS] });
      }),
    );
    const asked = { audience: ACME, resource: DOCS };
    expect(refusalOf(await askFor(own, await own.issuer.sign(), asked))).toMatchObject({
      error: 'invalid_target',
    });
    const { body } = await askFor(own, await own.issuer.sign());
    expect(refusalOf(await handIn(own, body.access_token))).toEqual(invalidGrant());
    await own[Symbol.asyncDispose]();
  });

  test('is for an authority that is registered, and its resources, and nobody else', async () => {
    const target = { status: 400, error: 'invalid_target', code: 'invalid_target' };
    const token = await stage.issuer.sign();
    for (const fields of [
      { audience: 'https://auth.unknown.example' },
      { audience: `${CHAT}/` },
      { audience: 'docs-mcp' },
      { resource: DOCS },
      { resource: 'https://mcp.unknown.example/' },
    ])
      expect(refusalOf(await askFor(stage, token, fields)), JSON.stringify(fields)).toEqual(target);
  });

  test('says who acted before, whatever is left out', async () => {
    const { body } = await stage.exchange(await stage.issuer.sign(), { may_act: 'agent:other-agent' });
    const answer = await askFor(stage, body.access_token, {}, otherAgent);
    expect(claimsOf(answer.body.access_token)).toMatchObject({
      client_id: 'other-agent',
      act: { sub: 'other-agent', act: { sub: 'research-agent' } },
      may_act: { sub: 'other-agent' },
    });
    const again = await stage.exchange(await stage.issuer.sign());
    const own = await askFor(stage, again.body.access_token, { subject_token_type: ACCESS_TOKEN });
    expect(claimsOf(own.body.access_token)).toMatchObject({ act: { sub: 'research-agent' } });
  });
});
