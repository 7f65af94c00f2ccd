import { afterAll, beforeAll, expect, test } from 'vitest';
import { at } from '../cli/run.ts';
import { Approving, asking } from '../delegation/approving.ts';
import { connect } from './requests.ts';
import { bearer, secrets } from './server.ts';

/** Why somebody might decide a request for approval, or might not: from its record alone, under the revision that decided. */

const APPROVAL = `package approval

default allow := false

allow if {
	"compliance" in input.approver.groups
	input.request.resource.properties.pages < 10
	rand.intn("x", 1000000) >= 0
}

deny contains {"code": "too_many_pages"} if input.request.resource.properties.pages >= 100
`;

let on: Approving;
beforeAll(async () => {
  on = await Approving.open({
    acmeFiles: { 'approval/approval.rego': APPROVAL },
    acme: (manifest) => {
      manifest.audit = { sealed: [{ path: '/subject/properties/clearance' }, { path: '/context/secret' }] };
    },
  });
});
afterAll(() => on[Symbol.asyncDispose]());

interface Explained {
  recordedOutcome: string;
  outcome: string;
  reasons?: string[];
  recordedReasons?: string[];
  recorded: string;
  missing?: string[];
  explanation: { entryPoint: string; agreement: string; rules: { name: string; bodies?: object[] }[] };
}
const explain = (index: unknown, authorization?: string) =>
  connect<Explained>(on.stage.server.admin, 'AuditService/Explain', { tenant: 'acme', index }, authorization);
const newest = async () => {
  const [record] = await on.stage.records({ kind: 'approval', pageSize: 1 });
  return record ?? {};
};
const sized = (pages: number) =>
  asking({ resource: { type: 'document', id: `d-${pages}`, properties: { pages } } });

test('who was let approve, and whom the policy kept from it, are explained as they were recorded', async () => {
  const id = await on.opened(sized(7));
  const refused = await on.settle('Approve', id, { user: 'alice' });
  expect(refused.status).toBe(403);
  const { status, body } = await explain((await newest())['index']);
  expect({ status, body }).toMatchObject({
    status: 200,
    body: { recordedOutcome: 'deny', outcome: 'deny', recordedReasons: ['not_allowed'] },
  });
  expect(body.explanation).toMatchObject({ entryPoint: 'mandate/approval', agreement: 'same' });
  const allow = body.explanation.rules.find(({ name }) => name === 'approval.allow');
  expect(JSON.stringify(allow)).toContain('input.approver.groups');
  await on.settle('Approve', id, { user: 'carol' });
  const approved = await explain((await newest())['index']);
  expect(approved.body).toMatchObject({ recordedOutcome: 'allow', outcome: 'allow', recorded: 'same' });
  await on.settle('Reject', id, { user: 'carol' });
  expect((await explain((await newest())['index'])).body).toMatchObject({
    outcome: 'allow',
    recorded: 'same',
  });
});

test('what is sealed is in no record of it, and is named as missing', async () => {
  const id = await on.opened(sized(8));
  await on.settle('Approve', id, { user: 'carol' });
  const record = await newest();
  const body = Buffer.from(String(record['body']), 'base64').toString();
  expect(body).not.toContain('"clearance"');
  expect((await explain(record['index'])).body.missing).toEqual(
    expect.arrayContaining(['/approver/properties/clearance']),
  );
});

test('steps that no policy decided are said to be so', async () => {
  const id = await on.opened(sized(9));
  const opened = await explain((await newest())['index']);
  expect(opened.status).toBe(400);
  // Nobody decides for himself: the policy is not asked.
  expect((await on.settle('Approve', id, { user: 'bob' })).status).toBe(403);
  const own = await explain((await newest())['index']);
  expect(own.status).toBe(400);
  expect(JSON.stringify(own.body)).toContain('mandate.core');
});

test('mandate audit explain tells it on a terminal', async () => {
  const id = await on.opened(sized(200));
  await on.settle('Approve', id, { user: 'carol' });
  const { stdout, code, stderr } = await at(on.stage.server)(
    'audit',
    'explain',
    String((await newest())['index']),
    '-t',
    'acme',
  );
  expect(code, stderr).toBe(0);
  expect(stderr).toContain('/approver/properties/clearance');
  expect(stdout).toMatch(/^deny\n/);
  expect(stdout).toContain('too_many_pages');
  expect(stdout).toContain('approval/approval.rego');
});

test('takes the right to read policies, too', async () => {
  await on.opened(sized(6));
  expect((await explain(0, bearer(secrets.api))).status).toBe(403);
});
