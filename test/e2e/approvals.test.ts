import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Approving, type Asked, publishing, said } from '../delegation/approving.ts';
import { Grpc } from './grpc.ts';
import { connect, postJson, request } from './requests.ts';
import { bearer, eventually, secrets } from './server.ts';

/** OpenID AuthZEN Access Request and Approval Profile 1.0, draft 1, as an enforcement point meets it. */

let on: Approving;
let ahead = 0;
beforeAll(async () => {
  on = await Approving.open({ clock: () => Date.now() + ahead });
});
afterAll(() => on[Symbol.asyncDispose]());

let serial = 0;
const asking = (more: Asked = {}): Asked => {
  serial += 1;
  return { ...publishing, resource: { type: 'document', id: `p-${serial}` }, ...more };
};
const at = (path: string) => `${on.stage.server.data}/t/acme/access/v1/${path}`;

describe('section 4, a requestable denial', () => {
  test('has access_request with its end, and what names the evaluation', async () => {
    const { status, body } = await on.evaluate(asking());
    expect([status, body.decision]).toEqual([200, false]);
    const { context } = body;
    expect(context).toMatchObject({
      reason: 'approval_required',
      evaluation_id: context['decision_id'],
      access_request: { endpoint: at('requests'), template: 'manager' },
    });
    const evaluatedAt = Date.parse(String(context['evaluated_at']));
    expect(Date.parse(context.access_request?.expires_at ?? '')).toBe(evaluatedAt + 600_000);
    expect(context).not.toHaveProperty('next_action');
  });

  test('is not there for an allow, another deny, or another challenge', async () => {
    const others: Asked[] = [
      { ...publishing, action: { name: 'document.read' } },
      {
        subject: { type: 'user', id: 'alice' },
        action: { name: 'document.delete' },
        resource: { type: 'document', id: 'd', properties: { owner: 'alice' } },
      },
    ];
    for (const other of others) {
      const { body } = await on.evaluate(other);
      for (const member of ['access_request', 'evaluation_id', 'reason'])
        expect(body.context).not.toHaveProperty(member);
    }
  });

  test('stands in a batch, too; an approval does not', async () => {
    const asked = asking();
    const id = await on.approved(asked);
    const items = [asked, { ...asked, context: { approval: { id } } }];
    const { body } = await postJson<{
      evaluations: { decision: boolean; context: Record<string, unknown> }[];
    }>(at('evaluations'), { evaluations: items }, bearer(secrets.api));
    expect(body.evaluations.map(({ decision }) => decision)).toEqual([false, false]);
    expect(body.evaluations[0]?.context).toHaveProperty('access_request');
    expect(body.evaluations[1]?.context).toMatchObject({ reasons: [{ code: 'invalid_request' }] });
    expect(said(await on.again(asked, id))).toEqual([true, undefined]);
  });
});

describe('sections 5 and 6, a task', () => {
  test('is accepted, pending, then approved with what to evaluate with', async () => {
    const asked = asking();
    const answer = await on.request(asked);
    const { task } = answer.body;
    expect([answer.status, answer.headers.get('location')]).toEqual([202, task.status_endpoint]);
    expect(answer.headers.get('retry-after')).toBe('5');
    expect(task).toMatchObject({
      status: 'pending',
      status_endpoint: at(`requests/${task.id}`),
      links: { cancel: at(`requests/${task.id}/cancel`) },
    });
    expect(answer.body.result).toBeUndefined();
    await on.settle('Approve', task.id, { user: 'carol' });
    const { body } = await on.status(task.id);
    expect(body).toMatchObject({
      task: { id: task.id, status: 'approved' },
      result: { mode: 'reevaluate', approval: { id: task.id, approved_until: expect.any(String) as string } },
    });
    expect(body.task).not.toHaveProperty('links');
    // Section 8: the approval object as it was given.
    const approval = body.result?.approval;
    const done = await on.evaluate({ ...asked, context: { approval } });
    expect(done.body).toMatchObject({
      decision: true,
      context: { approval: { id: task.id, approved_until: approval?.['approved_until'] } },
    });
    expect((await on.request(asked)).body.task.id).not.toBe(task.id);
  });

  test('that is settled is told as made; a rejected one as denied', async () => {
    const asked = asking();
    const id = await on.approved(asked);
    const again = await on.request(asked);
    expect([again.status, again.body.task.id]).toEqual([201, id]);
    const rejected = await on.opened(asking());
    await on.settle('Reject', rejected, { user: 'carol' });
    const { body } = await on.status(rejected);
    expect([body.task.status, body.result]).toEqual(['denied', undefined]);
  });

  test('is cancelled with a comment or without, by POST alone', async () => {
    const [one, two] = [await on.opened(asking()), await on.opened(asking())];
    const bare = await request(at(`requests/${one}/cancel`), {
      method: 'POST',
      headers: { authorization: bearer(secrets.api) },
    });
    expect(bare).toMatchObject({ status: 200, body: { task: { status: 'cancelled' } } });
    const url = at(`requests/${two}/cancel`);
    const wrong = await postJson(url, { reason: 'x', why: 'y' }, bearer(secrets.api));
    expect(wrong).toMatchObject({ status: 400, body: { error: 'invalid_request' } });
    const { status } = await postJson(url, { reason: 'obsolete', comment: 'by hand' }, bearer(secrets.api));
    expect(status).toBe(200);
    expect((await on.events(two)).at(-1)?.detail).toMatchObject({
      before: { state: 'pending' },
      after: { state: 'cancelled', note: 'obsolete: by hand' },
    });
  });

  test('takes a caller who may check, and says nothing to others', async () => {
    const id = await on.opened(asking());
    for (const headers of [{}, { authorization: bearer(secrets.agent) }] as Record<string, string>[]) {
      const { status, body } = await request(at(`requests/${id}`), { headers });
      // Under --dev whoever has no credential is nobody in particular, and has asked for nothing.
      expect([403, 404]).toContain(status);
      expect(JSON.stringify(body)).not.toContain('pending');
    }
  });
});

describe('section 8, what to do next', () => {
  test('is said with a denial that an approval was presented for', async () => {
    const asked = asking();
    const id = await on.opened(asked);
    expect((await on.again(asked, id)).body.context).toMatchObject({
      reason: 'approval_pending',
      next_action: 'retry',
      retry_after: 5,
    });
    await on.settle('Approve', id, { user: 'carol' });
    expect((await on.again(asking(), id)).body.context).toMatchObject({
      reason: 'out_of_scope',
      next_action: 'request',
      access_request: { template: 'manager' },
    });
    const frozen = asking({ resource: { type: 'document', id: 'f', properties: { frozen: true } } });
    const denied = await on.again(frozen, await on.approved(frozen));
    expect(denied.body.context).not.toHaveProperty('next_action');
    const unknown = { ...publishing, action: { name: 'document.read' } };
    expect((await on.again(unknown, 'x')).body.context).toMatchObject({
      reason: 'approval_unverifiable',
      next_action: 'none',
    });
  });

  test('of an approval object that is none, nothing', async () => {
    for (const approval of ['x', 7, [], {}, { id: '' }, { id: 'x', approver: 'me' }])
      expect((await on.evaluate({ ...asking(), context: { approval } })).status).toBe(400);
  });
});

describe('obligations profile, section 4', () => {
  test('an obligation has an id, a type and properties; one of no type of the profile is custom', async () => {
    await using stage = await Approving.open({
      acmeFiles: {
        'authz/obliging.rego': `package authz

obligations contains {"type": "notification", "properties": {"to": "a", "body": "b"}} if input.action.name == "oblige"

obligations contains {"type": "watermark", "text": "w"} if input.action.name == "oblige"

allow if input.action.name == "oblige"
`,
      },
    });
    const { body } = await stage.evaluate({ ...publishing, action: { name: 'oblige' } });
    expect(body.context['obligations']).toEqual([
      { id: 'obl-1', type: 'notification', properties: { to: 'a', body: 'b' } },
      { id: 'obl-2', type: 'custom', properties: { type: 'watermark', text: 'w' } },
    ]);
  });
});

describe('over gRPC', () => {
  test('an approval is presented in a field, in a stream too; never in the context', async () => {
    const asked = asking();
    const id = await on.approved(asked);
    using grpc = new Grpc(on.stage.server.data, secrets.api);
    const message = { tenant: 'acme', ...grpcForm(asked) };
    const answer = await grpc.call<{ decision: string }>('DecisionService', 'Check', {
      ...message,
      approval: id,
    });
    expect(answer.decision).toBe('DECISION_ALLOW');
    const spent = await grpc.checkByStream<{ reasons: { code: string }[] }>({ ...message, approval: id });
    expect(spent.reasons.map(({ code }) => code)).toContain('approval_expired');
  });
});

/** The loader of protos takes a Struct by its fields. */
const grpcForm = ({ subject, action, resource }: Asked): Asked => ({ subject, action, resource });

describe('with decision threads', () => {
  test('calls with an approval are decided by main, and used once however they come', async () => {
    await using threaded = await Approving.open({ overrides: { decision_threads: 2 } });
    const { data, mandate } = threaded.stage.server;
    using grpc = new Grpc(data, secrets.api);
    const asked = { tenant: 'acme', ...grpcForm(asking()) };
    const ask = (more: object = {}) => grpc.checkByStream<{ decision: string }>({ ...asked, ...more });
    // What comes by a stream is the threads' to decide.
    const { offload } = mandate.services;
    await eventually(
      () => ask().then(() => offload?.answered ?? 0),
      (answered) => answered > 0,
    );
    const { tenant: _, ...question } = asked;
    const id = await threaded.approved(question);
    const before = offload?.answered;
    const answers = await Promise.all(Array.from({ length: 30 }, () => ask({ approval: id })));
    expect(offload?.answered).toBe(before);
    expect(answers.filter(({ decision }) => decision === 'DECISION_ALLOW')).toHaveLength(1);
  });
});

describe('where members are sealed', () => {
  test('approvers and the store do not see them, and the approval is for them all the same', async () => {
    await using sealed = await Approving.open({
      acme: (manifest) => {
        manifest.audit = {
          sealed: [{ path: '/resource/properties/patient' }, { path: '/subject/properties/ward' }],
        };
      },
    });
    const asked: Asked = {
      ...publishing,
      subject: { type: 'user', id: 'bob', properties: { ward: 'w-7' } },
      resource: { type: 'document', id: 'plan', properties: { patient: 'p-1234', pages: 7 } },
    };
    const id = await sealed.opened(asked);
    const { body } = await connect<{ approval: object }>(
      sealed.stage.server.admin,
      'ApprovalService/GetApproval',
      { tenant: 'acme', id },
      bearer(secrets.operator),
    );
    expect(body.approval).toMatchObject({ resource: { properties: { pages: 7 } } });
    expect(JSON.stringify(body)).not.toMatch(/p-1234|w-7/);
    await sealed.settle('Approve', id, { user: 'carol' });
    const swapped = {
      ...asked,
      resource: { type: 'document', id: 'plan', properties: { patient: 'p-9', pages: 7 } },
    };
    expect(said(await sealed.again(swapped, id))).toEqual([false, 'approval_out_of_scope']);
    expect(said(await sealed.again(asked, id))).toEqual([true, undefined]);
  });
});

describe('a policy', () => {
  const answerOf = async (challenge: string) => {
    const rego = `package authz\n\nchallenge := ${challenge} if input.action.name == "document.publish"\n`;
    await using odd = await Approving.open({ acmeFiles: { 'authz/publishing.rego': rego } });
    return (await odd.evaluate(publishing)).body.context;
  };

  test('whose terms cannot be read lets nobody ask', async () => {
    const context = await answerOf('{"type": "approval", "uses": 0}');
    expect(context.outcome).toBe('challenge');
    expect(context).not.toHaveProperty('access_request');
  });
});
