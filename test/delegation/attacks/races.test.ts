import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { claimsOf, connect } from '../../e2e/requests.ts';
import { bearer, secrets } from '../../e2e/server.ts';
import { agent, api, deniedFor, mcp, refusalOf, Stage } from '../stage.ts';

/** The attack list of PROTOCOLS.md: time. */

let stage: Stage;
/** The server's clock runs ahead of the machine's by this much. In milliseconds. */
let ahead = 0;

beforeAll(async () => {
  stage = await Stage.open({
    clock: () => Date.now() + ahead,
    acme: ({ principals }) => {
      for (const { ceiling } of principals) if (ceiling) ceiling.max_depth = 3;
    },
  });
});
afterAll(() => stage[Symbol.asyncDispose]());

/** docs-mcp hands a token on to docs-api. */
const onward = (token: string) => stage.exchange(token, { audience: 'docs-api' }, mcp);

describe('revocation', () => {
  test('racing an exchange: once it answered, no child of the grant is active', async () => {
    for (let round = 0; round < 40; round += 1) {
      const parent = await stage.granted();
      const late = stage.revoke(parent).then(() => onward(parent));
      const racing = Array.from({ length: 6 }, () => onward(parent));
      const answers = await Promise.all([...racing, late]);
      const after = answers.at(-1);
      expect(after && refusalOf(after)).toMatchObject({ status: 400, code: 'token_revoked' });
      for (const { status, body } of answers) {
        if (status !== 200) expect(body.code).toBe('token_revoked');
        else expect(await stage.introspect(body.access_token, mcp)).toEqual({ active: false });
      }
    }
  });

  test('racing Check: no decision that was asked after the answer allows', async () => {
    for (let round = 0; round < 20; round += 1) {
      const token = await stage.granted();
      const before = Array.from({ length: 4 }, () => stage.check(token));
      await stage.revoke(token);
      const after = await Promise.all(Array.from({ length: 4 }, () => stage.check(token)));
      for (const decision of after) expect(decision).toMatchObject(deniedFor('token_revoked'));
      await Promise.all(before);
    }
  });

  test('of the root ends the whole tree, and of a leaf nothing above it', async () => {
    const root = await stage.granted();
    const [leaf, other] = await Promise.all([onward(root), onward(root)]);
    await stage.revoke(leaf.body.access_token, mcp);
    expect(await stage.introspect(root)).toMatchObject({ active: true });
    expect(await stage.introspect(other.body.access_token, mcp)).toMatchObject({ active: true });
    await stage.revoke(root);
    expect(await stage.introspect(other.body.access_token, mcp)).toEqual({ active: false });
  });
});

describe('a principal that is disabled', () => {
  test.each([
    ['user', 'alice'],
    ['agent', 'research-agent'],
  ])(
    '%s %s: no exchange, no decision, and its tokens stay dead when it is enabled again',
    async (cls, id) => {
      const token = await stage.granted();
      const user = await stage.issuer.sign();
      await stage.setStatus(cls, id, 'DISABLED');
      try {
        const refusal = await stage.exchange(user);
        expect(refusal).toMatchObject({ status: 400, body: { code: 'exchange_denied' } });
        expect(refusal.body.error_description).toContain('principal_disabled');
        expect(refusalOf(await stage.exchange(token)).status).toBe(400);
        expect(await stage.check(token)).toMatchObject(deniedFor('token_revoked'));
        expect(await stage.introspect(token, mcp)).toEqual({ active: false });
        const [record] = await stage.records({ kind: 'exchange', outcome: 'deny' });
        expect(record).toMatchObject({ caller: 'agent:research-agent' });
      } finally {
        await stage.setStatus(cls, id, 'ACTIVE');
      }
      expect(await stage.check(token)).toMatchObject(deniedFor('token_revoked'));
      expect((await stage.exchange(user)).status).toBe(200);
    },
  );

  test('while exchanges run: none that is answered later is active', async () => {
    const user = await stage.issuer.sign();
    for (let round = 0; round < 10; round += 1) {
      const racing = Array.from({ length: 5 }, () => stage.exchange(user));
      await stage.setStatus('user', 'alice', 'DISABLED');
      const answers = await Promise.all(racing);
      for (const { status, body } of answers)
        if (status === 200) expect(await stage.introspect(body.access_token)).toEqual({ active: false });
      await stage.setStatus('user', 'alice', 'ACTIVE');
      for (const { status, body } of answers)
        if (status === 200) expect(await stage.introspect(body.access_token)).toEqual({ active: false });
    }
  });
});

describe('an agent that is disabled', () => {
  test('may do nothing as a caller either', async () => {
    const token = await stage.granted();
    await stage.setStatus('agent', 'research-agent', 'DISABLED');
    try {
      expect(await stage.introspect(token)).toMatchObject({ code: 'principal_disabled' });
      expect(await stage.revoke(token)).toMatchObject({ status: 403 });
    } finally {
      await stage.setStatus('agent', 'research-agent', 'ACTIVE');
    }
  });
});

describe('clocks', () => {
  test('skew does not add up hop by hop: all of a chain ends with its first token', async () => {
    const exp = Math.floor(Date.now() / 1000) + 200;
    const { body } = await stage.exchange(await stage.issuer.sign({ exp }));
    const chain = [body.access_token];
    try {
      // Just before a hop would end, the next one is asked for.
      for (const [at, hop] of [
        [60, stage.exchange.bind(stage)],
        [120, onward],
      ] as const) {
        ahead = at * 1000;
        const next = await hop(chain.at(-1) ?? '');
        expect(next.status).toBe(200);
        chain.push(next.body.access_token);
      }
      for (const token of chain) expect(Number(claimsOf(token)['exp'])).toBeLessThanOrEqual(exp);
      ahead = 200_000;
      for (const token of chain) expect(await stage.introspect(token, agent)).toEqual({ active: false });
      expect(refusalOf(await stage.exchange(chain[0] ?? '')).code).toBe('token_expired');
    } finally {
      ahead = 0;
    }
  });

  test("the tolerance for an issuer's clock is the same at the exchange, and what comes of it ends with it", async () => {
    const exp = Math.floor(Date.now() / 1000) - 10;
    const late = await stage.issuer.sign({ iat: exp - 60, exp });
    expect(await stage.check(late)).toMatchObject({ decision: 'DECISION_ALLOW' });
    const { status, body } = await stage.exchange(late);
    expect(status).toBe(200);
    expect(Number(claimsOf(body.access_token)['exp'])).toBeLessThanOrEqual(exp + 30);
    const later = await stage.issuer.sign({ iat: exp - 60, exp: exp - 30 });
    expect(refusalOf(await stage.exchange(later)).code).toBe('token_expired');
  });

  test('a token of ours is dead at its exp to the second', async () => {
    const token = await stage.granted();
    const exp = Number(claimsOf(token)['exp']) * 1000;
    try {
      ahead = exp - Date.now();
      expect(await stage.check(token)).toMatchObject(deniedFor('token_expired'));
    } finally {
      ahead = 0;
    }
    expect(await stage.check(token)).toMatchObject({ decision: 'DECISION_ALLOW' });
  });

  test('set back, it gives no token of ours a second life', async () => {
    const token = await stage.granted();
    try {
      ahead = -3_600_000;
      expect(await stage.check(token)).toMatchObject(deniedFor('token_expired'));
      expect(await stage.introspect(token)).toEqual({ active: false });
      expect(refusalOf(await stage.exchange(token)).code).toBe('token_expired');
      // Nor is an issuer's token good before it was issued.
      expect(refusalOf(await stage.exchange(await stage.issuer.sign())).code).toBe('token_invalid');
    } finally {
      ahead = 0;
    }
  });

  test('disabling at a wrong time ends grants for good', async () => {
    for (const [cls, id] of [
      ['user', 'alice'],
      ['agent', 'research-agent'],
    ] as const)
      for (const wrong of [86_400_000, -86_400_000]) {
        const token = await stage.granted();
        ahead = wrong;
        try {
          await stage.setStatus(cls, id, 'DISABLED');
          await stage.setStatus(cls, id, 'ACTIVE');
        } finally {
          ahead = 0;
        }
        expect(await stage.check(token)).toMatchObject(deniedFor('token_revoked'));
      }
  });

  test('revoking at a wrong time ends a grant and what came from it, by token and by id', async () => {
    for (const wrong of [86_400_000, -86_400_000])
      for (const how of ['token', 'grant'] as const) {
        const token = await stage.granted();
        const child = (await onward(token)).body.access_token;
        ahead = wrong;
        try {
          if (how === 'token') await stage.revoke(token);
          else
            await connect(
              stage.server.data,
              'DelegationService/Revoke',
              { tenant: 'acme', grantId: claimsOf(token)['jti'] },
              bearer(secrets.operator),
            );
        } finally {
          ahead = 0;
        }
        for (const each of [token, child])
          expect(await stage.check(each, each === child ? api : mcp)).toMatchObject(
            deniedFor('token_revoked'),
          );
      }
  });
});
