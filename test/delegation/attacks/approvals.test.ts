import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { connect } from '../../e2e/requests.ts';
import { bearer, secrets } from '../../e2e/server.ts';
import {
  ALLOWED,
  Approving,
  type Asked,
  asking,
  OTHER,
  OVER,
  publishing,
  said,
  UNKNOWN,
} from '../approving.ts';
import { mcp } from '../stage.ts';

/** The attack list of PROTOCOLS.md: an approval reused, or its details swapped. */

let on: Approving;

beforeAll(async () => {
  on = await Approving.open({
    globex: (manifest) => {
      const agent = manifest.principals.find(({ id }) => id === 'tools-mcp');
      if (agent) agent.may = ['check'];
    },
  });
});
afterAll(() => on[Symbol.asyncDispose]());

describe('an approval', () => {
  test('lets what was approved be done once, and is a record each time', async () => {
    const asked = asking();
    const id = await on.approved(asked);
    expect(said(await on.again(asked, id))).toEqual(ALLOWED);
    expect(said(await on.again(asked, id))).toEqual(OVER);
    expect((await on.events(id)).map(({ action, outcome }) => [action, outcome])).toEqual([
      ['approval.request', 'done'],
      ['approval.approve', 'done'],
    ]);
    const [used] = await on.stage.records({ kind: 'decision', outcome: 'allow' });
    const body = JSON.parse(Buffer.from(String(used?.['body']), 'base64').toString()) as Record<
      string,
      object
    >;
    expect(body['approval']).toEqual({ id, uses_left: { before: 1, after: 0 } });
    expect(body['input']).toMatchObject({
      approval: { id, approver: { class: 'user', id: 'carol' }, reason: '' },
    });
  });

  test('is used by one of many at the same time', async () => {
    const asked = asking();
    const id = await on.approved(asked);
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, at) =>
        at % 2 ? on.again(asked, id).then(({ body }) => body.decision) : on.check(asked, id).then(isAllow),
      ),
    );
    expect(answers.filter(Boolean)).toHaveLength(1);
  });

  test('is used as often as the policy says, at the same time too', async () => {
    const asked = asking({ resource: { type: 'series', id: 'weekly' } });
    const id = await on.approved(asked);
    const answers = await Promise.all(Array.from({ length: 12 }, () => on.again(asked, id)));
    expect(answers.filter(({ body }) => body.decision)).toHaveLength(3);
  });

  test('is not used by a decision that denies in spite of it', async () => {
    const asked = asking({ resource: { type: 'document', id: 'cold', properties: { frozen: true } } });
    const id = await on.approved(asked);
    expect((await on.again(asked, id)).body.context.outcome).toBe('deny');
    expect((await on.status(id)).body).toMatchObject({ task: { status: 'approved' } });
  });
});

const isAllow = ({ decision }: { decision: string }): boolean => decision === 'DECISION_ALLOW';

describe('its details swapped', () => {
  const swaps: [string, Asked][] = [
    ['another resource', { resource: { type: 'document', id: 'other', properties: { pages: 7 } } }],
    ['another type', { resource: { type: 'series', id: 'plan', properties: { pages: 7 } } }],
    ['other properties', { resource: { type: 'document', id: 'plan', properties: { pages: 8 } } }],
    ['more properties', { resource: { type: 'document', id: 'plan', properties: { pages: 7, x: null } } }],
    ['no properties', { resource: { type: 'document', id: 'plan' } }],
    ['properties of the action', { action: { name: 'document.publish', properties: { force: true } } }],
    ['another subject', { subject: { type: 'user', id: 'alice' } }],
    ['a subject of another class', { subject: { type: 'agent', id: 'research-agent' } }],
    ['properties of the subject', { subject: { type: 'user', id: 'bob', properties: { vip: true } } }],
    ['the context that is bound', { context: { ticket: 'T-2' } }],
    ['no context', { context: undefined }],
  ];
  test.each(swaps)('%s: it is of no use', async (_what, swap) => {
    const asked = {
      ...publishing,
      resource: { type: 'document', id: 'plan', properties: { pages: 7 } },
      context: { ticket: 'T-1' },
    };
    const { body } = await on.request(asked);
    await on.settle('Approve', body.task.id, { user: 'carol' });
    expect(said(await on.again({ ...asked, ...swap }, body.task.id))).toEqual(OTHER);
    expect(
      said(await on.again({ ...asked, context: { ticket: 'T-1', note: 'free' } }, body.task.id)),
    ).toEqual(ALLOWED);
  });

  test('another caller cannot tell it from none, and neither can it see or cancel it', async () => {
    const asked = asking();
    const id = await on.approved(asked);
    const other = { secret: mcp.secret };
    expect(said(await on.again(asked, id, other))).toEqual(UNKNOWN);
    expect(said(await on.again(asked, 'nowhere', other))).toEqual(UNKNOWN);
    const { status, body } = await on.status(id, other);
    expect([status, (await on.status('nowhere', other)).status]).toEqual([404, 404]);
    expect(body).toEqual((await on.status('nowhere', other)).body);
    expect((await on.cancel(id, other)).body).toMatchObject({
      type: 'urn:openid:authzen:access-request:error:unknown_task',
    });
    expect(said(await on.again(asked, id))).toEqual(ALLOWED);
  });

  test('another tenant has no such approval', async () => {
    const asked = asking();
    const id = await on.approved(asked);
    const elsewhere = { secret: secrets.globexMcp, tenant: 'globex' };
    const { body } = await on.again(asked, id, elsewhere);
    expect(body.context.reasons).toMatchObject([
      { code: 'principal_unknown' },
      { code: 'approval_unverifiable' },
    ]);
    expect((await on.status(id, elsewhere)).status).toBe(404);
    const asOperator = await on.settle('Approve', id, { tenant: 'globex' });
    expect(asOperator.body).toMatchObject({ code: 'not_found' });
  });

  test('a token of another agent, or with other facts, is another question', async () => {
    const { subject: _, ...asked } = asking();
    const token = await on.stage.granted();
    const by = { secret: mcp.secret, token };
    const id = await on.approved(asked, by);
    const alone = await on.stage.issuer.sign();
    expect(said(await on.again(asked, id, { ...by, token: alone }))).toEqual(OTHER);
    const other = await on.stage.granted({ may_act: 'agent:other-agent' });
    expect(said(await on.again(asked, id, { ...by, token: other }))).toEqual(OTHER);
    // The next token of the same is as good as the one before.
    expect(said(await on.again(asked, id, { ...by, token: await on.stage.granted() }))).toEqual(ALLOWED);
  });

  test('a caller who states it is refused, in every place where it could', async () => {
    const forged = { id: 'x', approver: { class: 'user', id: 'carol' } };
    const asked = asking();
    const plain = await on.check({ ...asked, context: { approval: forged } }, '');
    expect(plain).toMatchObject({ code: 'invalid_argument' });
    const { body } = await on.evaluate({ ...asked, context: { approval: forged } });
    expect(body).toMatchObject({ error: 'invalid_request' });
    const batch = await connect<{ results: { decision: string; reasons: { code: string }[] }[] }>(
      on.stage.server.data,
      'DecisionService/CheckBatch',
      { tenant: 'acme', items: [{ ...asked, context: { approval: forged } }] },
      bearer(secrets.api),
    );
    expect(batch.body.results).toMatchObject([
      { decision: 'DECISION_DENY', reasons: [{ code: 'invalid_request' }] },
    ]);
    const top = await on.evaluate({ ...asked, approval: forged });
    expect(said(top)).toEqual([false, undefined]);
  });
});
