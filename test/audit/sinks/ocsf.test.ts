import { expect, test } from 'vitest';
import { buildRecord, type RecordDraft } from '../../../src/audit/record.ts';
import { formats } from '../../../src/audit/sinks/formats.ts';
import type { TenantNo } from '../../../src/storage/rows.ts';
import { draftOf } from '../../storage/store.ts';

/** What OCSF 1.6 requires of its classes, and what of a record stands where. */

interface Event {
  class_uid: number;
  category_uid: number;
  activity_id: number;
  type_uid: number;
  severity_id: number;
  status_id: number;
  time: number;
  raw_data: string;
  metadata: { version: string; product: object };
  [member: string]: unknown;
}

function eventOf(changes: Partial<RecordDraft>): Event {
  const { body } = buildRecord(draftOf(1 as TenantNo, changes));
  const outgoing = { tenant: 'acme', origin: 'm.example/t/acme/log/main', index: 7, body: Buffer.from(body) };
  const line = formats.ocsf.line(outgoing);
  expect(line).not.toContain('\n');
  const event = JSON.parse(line) as Event;
  expect(event.raw_data).toBe(body);
  expect(event.type_uid).toBe(event.class_uid * 100 + event.activity_id);
  expect(event.category_uid).toBe(Math.floor(event.class_uid / 1000));
  expect(event.metadata).toMatchObject({ version: '1.6.0', uid: 'acme/7', sequence: 7, tenant_uid: 'acme' });
  return event;
}

const inputOf = (input: object): string => JSON.stringify(input);

test('a decision is API Activity, with who acts, for whom, on what and why not', () => {
  const subject = { class: 'user', id: 'alice' };
  const actor = { class: 'agent', id: 'helper' };
  const event = eventOf({
    outcome: 'deny',
    members: ',"reasons":[{"code":"scope_insufficient","message":""}]',
    input: inputOf({
      subject,
      actors: [actor],
      action: { name: 'document.edit' },
      resource: { type: 'document', id: 'roadmap' },
    }),
  });
  expect(event).toMatchObject({
    class_uid: 6003,
    status_id: 2,
    action_id: 2,
    disposition_id: 2,
    severity_id: 2,
    status_detail: 'scope_insufficient',
    actor: { user: { uid: 'agent:helper', type: 'agent', type_id: 99 }, invoked_by: 'user:alice' },
    api: { operation: 'document.edit' },
    src_endpoint: { uid: 'service:docs-api' },
    resources: [{ uid: 'document:roadmap', type: 'document' }],
  });
});

test.each<[string, object, number]>([
  ['principal.disable', {}, 5],
  ['principal.enable', {}, 2],
  ['principal.change', { before: null, after: { roles: [] } }, 1],
  ['principal.change', { before: { roles: [] }, after: null }, 6],
  ['principal.change', { before: { roles: [] }, after: { roles: ['x'] } }, 99],
])('%s %o is Account Change', (name, detail, activity) => {
  const by = { class: 'operator', id: 'ann' };
  const target = { class: 'user', id: 'ben' };
  const event = eventOf({
    kind: 'administration',
    outcome: 'done',
    caller: 'operator:ann',
    members: `,"detail":${JSON.stringify(detail)}`,
    input: inputOf({ subject: by, target, action: { name }, resource: { type: 'tenant', id: 'acme' } }),
  });
  expect(event).toMatchObject({
    class_uid: 3001,
    activity_id: activity,
    status_id: 1,
    user: { uid: 'user:ben', type_id: 1 },
    actor: { user: { uid: 'operator:ann', type_id: 2 } },
  });
});

test('other administration is Entity Management, and who was not let in has an address', () => {
  const action = { action: { name: 'policy.activate' }, resource: { type: 'tenant', id: 'acme' } };
  const input = inputOf({ subject: null, target: null, ...action });
  expect(eventOf({ kind: 'administration', outcome: 'done', caller: 'start', input })).toMatchObject({
    class_uid: 3004,
    activity_id: 3,
    entity: { uid: 'acme' },
    comment: 'policy.activate',
  });
  const members = ',"detail":{"address":"192.0.2.7","credential":"sha256:00","count":3}';
  const refused = eventOf({
    kind: 'access',
    outcome: 'deny',
    caller: 'unknown',
    members,
    input: inputOf({ subject: null, action: { name: 'check' } }),
  });
  expect(refused).toMatchObject({ class_uid: 6003, src_endpoint: { ip: '192.0.2.7' }, status_id: 2 });
});
