import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Approving, type Asked, asking, said, type TaskJson } from '../delegation/approving.ts';
import { connect, request } from './requests.ts';
import { bearer, secrets } from './server.ts';

/** AuthZEN Access Request and Approval Profile, section 5.1: `requested_access`, and requests that are sent again. */

const APPROVAL = `package approval

default allow := false

allow if {
	"compliance" in input.approver.groups
	not input.request.requested_access.emergency
}

allow if {
	input.request.requested_access.emergency
	input.approver.id == "olga"
}
`;

let on: Approving;
let ahead = 0;
const clock = (): number => Date.now() + ahead;
const HOUR = 3_600_000;
beforeAll(async () => {
  on = await Approving.open({ clock, acmeFiles: { 'approval/approval.rego': APPROVAL } });
});
afterAll(() => on[Symbol.asyncDispose]());

const iso = (at: number): string => new Date(at).toISOString();
const justified = { context: { business_justification: 'the site is down' } };

interface By {
  readonly key?: string;
  readonly secret?: string;
  readonly token?: string;
}

/** Sends a submission as it is, with a key. */
async function send(body: object, { key, secret = secrets.api, token }: By = {}) {
  const url = `${on.stage.server.data}/t/acme/access/v1/requests`;
  const headers: Record<string, string> = {
    'content-type': 'application/json',
    authorization: bearer(secret),
    ...(key !== undefined && { 'idempotency-key': key }),
    ...(token !== undefined && { 'mandate-subject-token': token }),
  };
  const answer = await request<TaskJson & { text?: string }>(url, {
    method: 'POST',
    headers,
    body: JSON.stringify(body),
  });
  const isProblem = answer.headers.get('content-type') === 'application/problem+json';
  return isProblem
    ? { ...answer, body: JSON.parse(answer.body.text ?? '{}') as TaskJson & { detail: string } }
    : answer;
}

/** What is to be sent for a question that was denied. */
async function submission(asked: Asked, secret = secrets.api as string, more: object = {}): Promise<Asked> {
  const { context: _, ...question } = asked;
  const { body } = await on.evaluate(question, { secret });
  const { evaluation_id, access_request } = body.context;
  return { ...asked, denial: { evaluation_id, expires_at: access_request?.expires_at }, ...more };
}
const idOf = ({ body }: { body: TaskJson }) => body.task?.id;

describe('requested_access', () => {
  test('requested_until bounds the request and the approval, and is no more than the policy gives', async () => {
    const soon = clock() + 60_000;
    const asked = asking();
    const answer = await send(
      await submission(asked, secrets.api, { requested_access: { requested_until: iso(soon) } }),
    );
    expect(answer.status).toBe(202);
    expect(answer.body.task).toMatchObject({ expires_at: iso(soon) });
    const id = idOf(answer);
    await on.settle('Approve', id, { user: 'carol' });
    const { body } = await on.status(id);
    expect(body.result?.approval).toMatchObject({ approved_until: iso(soon) });
    const far = { requested_access: { requested_until: iso(clock() + 30 * HOUR) } };
    const bounded = idOf(await send(await submission(asking(), secrets.api, far)));
    const approved = await on.settle('Approve', bounded, { user: 'carol' });
    expect(Date.parse(String(approved.body.approval?.['approvedUntil']))).toBeLessThan(clock() + 601_000);
    ahead += 61_000;
    expect(said(await on.again(asked, id))).toEqual([false, 'approval_expired']);
  });

  test('emergency is for the policy to weigh, is shown to approvers, and in the record', async () => {
    const asked = { ...asking(), ...justified };
    const id = idOf(
      await send(await submission(asked, secrets.api, { requested_access: { emergency: true } })),
    );
    expect((await on.settle('Approve', id, { user: 'carol' })).status).toBe(403);
    const listed = await connect<{ approvals: { id: string; emergency?: boolean }[] }>(
      on.stage.server.admin,
      'ApprovalService/ListApprovals',
      { tenant: 'acme' },
      bearer(secrets.operator),
    );
    expect(listed.body.approvals.find((each) => each.id === id)).toMatchObject({ emergency: true });
    expect((await on.settle('Approve', id, { user: 'olga' })).status).toBe(200);
    const [opened] = await on.events(id);
    expect(opened?.detail['after']).toMatchObject({ requested_access: { emergency: true } });
  });

  test.each<[string, unknown]>([
    ['no object', 'until tomorrow'],
    ['another member', { role: 'admin' }],
    ['a time that is over', { requested_until: '2020-01-01T00:00:00Z' }],
    ['no time', { requested_until: 'tomorrow' }],
    ['a number', { requested_until: 4_102_444_800 }],
    ['an emergency that is no truth', { emergency: 'yes' }],
    ['an emergency without a word', { emergency: true }],
  ])('refused: %s', async (_, requested) => {
    const answer = await send(await submission(asking(), secrets.api, { requested_access: requested }));
    expect(answer.status).toBe(400);
    expect(answer.body).toMatchObject({ error: 'invalid_request' });
    expect(JSON.stringify(answer.body)).toContain('requested_access');
  });

  test('the same question with another requested_access does not pass for the one that goes on', async () => {
    const asked = asking();
    const first = await submission(asked);
    const id = idOf(await send(first));
    const until = { requested_access: { requested_until: iso(clock() + HOUR) } };
    const other = await send({ ...first, ...until });
    expect(other).toMatchObject({ status: 409, body: { code: 'duplicate_request' } });
    expect(idOf(await send(first))).toBe(id);
  });
});

describe('Idempotency-Key', () => {
  test('is the same request, whatever became of it, also after a restart', async () => {
    const body = await submission(asking());
    const key = '"7b8d0f0d-65a1-4af1-9fd3-a684f08a5d13"';
    const opened = await send(body, { key });
    expect(opened.status).toBe(202);
    const id = idOf(opened);
    // Members in another order, and without the quotes that few send.
    const reordered = Object.fromEntries(Object.entries(body).toReversed());
    expect(idOf(await send(reordered, { key: key.slice(1, -1) }))).toBe(id);
    await on.settle('Reject', id, { user: 'carol' });
    await on.stage.restart();
    // Without the key it would be a new one, as the rejected one is over; with it, even once the denial is too old.
    ahead += 11 * 60_000;
    const again = await send(body, { key });
    expect([again.status, again.body.task]).toMatchObject([201, { id, status: 'denied' }]);
    expect(again.body.task.status_endpoint).toBe(again.headers.get('location'));
  });

  test('with something else is refused, and opens nothing', async () => {
    const [one, other] = [await submission(asking()), await submission(asking())];
    const key = '"k-2"';
    await send(one, { key });
    const answer = await send(other, { key });
    expect(answer).toMatchObject({
      status: 409,
      body: { type: 'urn:openid:authzen:access-request:error:duplicate_request', code: 'duplicate_request' },
    });
    const { body: fresh } = await send(other, { key: '"k-3"' });
    expect(fresh.task.status).toBe('pending');
    const changed = { ...one, ...justified };
    expect((await send(changed, { key })).status).toBe(409);
  });

  test('is each caller’s own', async () => {
    const key = '"shared"';
    const asked = asking();
    const mine = idOf(await send(await submission(asked), { key }));
    const theirs = await send(await submission(asked, secrets.mcp), { key, secret: secrets.mcp });
    expect(theirs.status).toBe(202);
    expect(idOf(theirs)).not.toBe(mine);
  });

  test('many at once open one request', async () => {
    const body = await submission(asking());
    const answers = await Promise.all(Array.from({ length: 12 }, () => send(body, { key: '"at-once"' })));
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([202]));
    expect(new Set(answers.map(idOf)).size).toBe(1);
  });

  test('a second key for a request that goes on is known, too, after that is over', async () => {
    const body = await submission(asking());
    const id = idOf(await send(body, { key: '"first"' }));
    expect(idOf(await send(body, { key: '"second"' }))).toBe(id);
    await on.cancel(id);
    expect(idOf(await send(body, { key: '"second"' }))).toBe(id);
    expect(idOf(await send(body))).not.toBe(id);
  });

  test('names who a token is of: the next token of the same is as good, somebody else’s is not', async () => {
    const token = (sub: string) => on.stage.issuer.sign({ sub, aud: 'https://mandate.acme.example' });
    const { subject: _, ...question } = asking();
    const secret = secrets.mcp;
    const denied = await on.evaluate(question, { secret, token: await token('bob') });
    const { evaluation_id, access_request } = denied.body.context ?? {};
    if (!access_request) throw new Error(JSON.stringify(denied.body));
    const body = { ...question, denial: { evaluation_id, expires_at: access_request.expires_at } };
    const key = '"by-token"';
    const opened = await send(body, { key, secret, token: await token('bob') });
    expect(opened.status).toBe(202);
    expect(idOf(await send(body, { key, secret, token: await token('bob') }))).toBe(idOf(opened));
    expect((await send(body, { key, secret, token: await token('carol') })).status).toBe(409);
  });

  test.each(['', '""', `"${'x'.repeat(256)}"`, '"a\\n"', 'a b', '"é"', '"open'])(
    'refused: %j',
    async (key) => {
      const answer = await send(await submission(asking()), { key }).catch(() => ({ status: 400 }));
      expect(answer.status).toBe(400);
    },
  );
});
