import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readVerdict } from '../../src/verdict.ts';
import { at } from '../cli/run.ts';
import { Grpc } from '../e2e/grpc.ts';
import { check, postJson, tokenReads } from '../e2e/requests.ts';
import { bearer } from '../e2e/server.ts';
import { mcp, Stage } from './stage.ts';

/** Which scopes an action takes, as data and not in English alone. */

let stage: Stage;
let token: string;

beforeAll(async () => {
  stage = await Stage.open();
  token = await stage.granted({ scope: 'docs.read' });
});
afterAll(() => stage[Symbol.asyncDispose]());

const suggests = () => ({ ...tokenReads(token), action: { name: 'document.suggest' } });

describe('RFC 6750 3.1: the scopes that an action takes', () => {
  test('stand in the reason, over Connect, gRPC and AuthZEN, and in the record', async () => {
    const { body } = await check(stage.server.data, suggests(), bearer(mcp.secret));
    const [reason] = body.reasons ?? [];
    expect(reason).toMatchObject({ code: 'scope_insufficient', neededScopes: ['docs.suggest'] });

    using grpc = new Grpc(stage.server.data, mcp.secret);
    const { subjectToken, resource: _, ...rest } = suggests();
    const asked = { ...rest, subject_token: subjectToken, resource: { type: 'document', id: 'roadmap' } };
    const { reasons } = await grpc.call<{ reasons: object[] }>('DecisionService', 'Check', asked);
    expect(reasons[0]).toMatchObject({ code: 'scope_insufficient', needed_scopes: ['docs.suggest'] });

    const authzen = await fetch(`${stage.server.data}/t/acme/access/v1/evaluation`, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        authorization: bearer(mcp.secret),
        'mandate-subject-token': token,
      },
      body: JSON.stringify({ action: { name: 'document.suggest' }, resource: { type: 'document', id: 'd' } }),
    });
    expect(await authzen.json()).toMatchObject({
      context: { reasons: [{ code: 'scope_insufficient', needed_scopes: ['docs.suggest'] }] },
    });

    const [record] = await stage.records({ kind: 'decision' });
    expect(record).toMatchObject({ reasons: [{ neededScopes: ['docs.suggest'] }] });
  });

  test('are what the next exchange is asked for', async () => {
    const { body } = await check(stage.server.data, suggests(), bearer(mcp.secret));
    const scope = `docs.read ${body.reasons?.[0]?.neededScopes?.join(' ')}`;
    const wider = await stage.granted({ scope });
    const again = await check(stage.server.data, { ...suggests(), subjectToken: wider }, bearer(mcp.secret));
    expect(again.body.decision).toBe('DECISION_ALLOW');
  });

  test('are in the JSON of the command line', async () => {
    const ask = `check -t acme --token ${token} -a document.suggest -r document:roadmap`;
    const { code, stdout } = await at(stage.server, mcp.secret)('--json', ...ask.split(' '));
    expect(code).toBe(1);
    expect(JSON.parse(stdout)).toMatchObject({ reasons: [{ needed_scopes: ['docs.suggest'] }] });
  });

  test('stand in no reason of whoever asks in its own name', async () => {
    const { body } = await postJson<{ reasons: object[] }>(
      `${stage.server.data}/mandate.v1.DecisionService/Check`,
      {
        tenant: 'acme',
        subject: { type: 'user', id: 'bob' },
        action: { name: 'document.suggest' },
        resource: { type: 'document', id: 'd' },
      },
    );
    expect(JSON.stringify(body)).not.toContain('neededScopes');
  });
});

describe('of an author', () => {
  const reasonOf = (needed_scopes: unknown) =>
    readVerdict({ outcome: 'deny', denied: [{ code: 'c', needed_scopes }] }, 'authz').reasons[0];

  test('stand as they were written', () => {
    expect(reasonOf(['a', 'b:c'])).toEqual({ code: 'c', message: '', needed_scopes: ['a', 'b:c'] });
  });

  test.each<[string, unknown]>([
    ['a text', 'a'],
    ['none', []],
    ['numbers', [1]],
    ['one with a space', ['a b']],
    ['one that would end the header', ['a"']],
    ['one with a line break', ['a\r\nx: y']],
    ['more than sixteen', Array.from({ length: 17 }, String)],
    ['one that is too long', ['x'.repeat(257)]],
  ])('are left out where they are %s', (_what, scopes) => {
    expect(reasonOf(scopes)).toEqual({ code: 'c', message: '' });
  });
});
