import fc from 'fast-check';
import { expect, test } from 'vitest';
import { masked, maskFailed, readMask } from '../../../src/audit/privacy/masking.ts';
import { parsePointer, pointerText, valueAt } from '../../../src/audit/privacy/pointer.ts';
import { buildRecord, type RecordDraft } from '../../../src/audit/record.ts';
import type { TenantNo } from '../../../src/storage/rows.ts';
import { faultOf } from '../../e2e/record-schema.ts';
import { draftOf } from '../../storage/store.ts';

/** Masks over any record: what may be kept out is gone, what identifies the answer is what it was. */

const properties = fc
  .uuid()
  .map((id) => ({ note: `text ${id}`, list: [`text of ${id}`, 7], __proto__x: { deep: `text in ${id}` } }));

const principal = properties.map((own) => ({
  class: 'user',
  type: 'user',
  id: 'ann',
  properties: own,
  groups: [`text group ${own.note.slice(5)}`],
  roles: ['reader'],
  status: 'active',
}));

const drafts: fc.Arbitrary<RecordDraft> = fc
  .record({
    subject: principal,
    actors: fc.array(principal, { maxLength: 2 }),
    action: properties,
    resource: properties,
    context: properties,
  })
  .map(({ subject, actors, action, resource, context }) =>
    draftOf(1 as TenantNo, {
      grantId: '0190',
      reason: 'not_allowed',
      members:
        ',"revision":"sha256:0","cost":12,"rules":["authz.allow"],"reasons":[{"code":"not_allowed","message":"text said"}],"grant_id":"0190"',
      input: JSON.stringify({
        now: '2026-01-01T00:00:00.000Z',
        tenant: { id: 'acme' },
        subject,
        actors,
        action: { name: 'read', properties: action },
        resource: { type: 'document', id: 'roadmap', properties: resource },
        context,
        grant: {
          id: '0190',
          scope: ['a'],
          audience: 'b',
          authorization_details: ['text detail'],
          depth: 1,
          expires_at: '',
        },
      }),
    }),
  );

interface Body {
  readonly input: {
    readonly subject: Named;
    readonly actors: readonly Named[];
    readonly action: { readonly name: string };
    readonly resource: { readonly type: string; readonly id: string };
    readonly grant: { readonly id: string; readonly scope: readonly string[] };
  } & Record<string, unknown>;
  readonly reasons: readonly { readonly code: string }[];
  readonly [member: string]: unknown;
}
interface Named {
  readonly class: string;
  readonly id: string;
  readonly status: string;
}

const bodyOf = (draft: RecordDraft): Body => JSON.parse(buildRecord(draft).body) as Body;

/** What finds and identifies a record. */
function identity({ input, reasons, ...rest }: Body): unknown {
  const { v, kind, time, decision_id, outcome, caller, revision, cost, rules, grant_id } = rest;
  const { now, tenant, subject, actors, action, resource, grant } = input;
  const named = ({ class: cls, id, status }: Named) => [cls, id, status];
  return [
    [v, kind, time, decision_id, outcome, caller, revision, cost, rules, grant_id, now, tenant],
    [named(subject), actors.map(named), action.name, resource.type, resource.id, grant.id, grant.scope],
    reasons.map(({ code }) => code),
  ];
}

const placesIn = (value: unknown, at: readonly string[] = []): string[][] =>
  typeof value === 'object' && value !== null
    ? Object.entries(value).flatMap(([name, inner]) => [[...at, name], ...placesIn(inner, [...at, name])])
    : [];

const textsAt = (value: unknown): string[] => JSON.stringify(value ?? null).match(/text [^"]+/g) ?? [];

test('what identifies the answer is as it was, whatever is named; of what may go nothing is left', () => {
  const cases = drafts.chain((draft) => {
    const body = bodyOf(draft);
    const operation = fc
      .record({
        path: fc.constantFrom(...placesIn(body).map(pointerText)),
        how: fc.constantFrom('text', 'remove', 'upsert'),
      })
      .map(({ path, how }) =>
        how === 'text'
          ? path
          : how === 'remove'
            ? { op: 'remove', path }
            : { op: 'upsert', path, value: 'instead' },
      );
    return fc.record({ draft: fc.constant(draft), mask: fc.array(operation, { maxLength: 8 }) });
  });
  fc.assert(
    fc.property(cases, fc.constantFrom('full', 'brief'), ({ draft, mask }, detail) => {
      const read = readMask({ mask, detail });
      if (!read) throw new Error('it is a mask');
      const before = bodyOf(draft);
      const row = buildRecord(masked(draft, read));
      const after = JSON.parse(row.body) as Body;
      expect(identity(after)).toEqual(identity(before));
      expect(faultOf(row.body)).toBeUndefined();
      const { body: _, ...found } = buildRecord(draft);
      expect(row).toMatchObject(found);
      const told = new Set([
        ...((after['masked'] ?? []) as string[]),
        ...((after['mask_refused'] ?? []) as string[]),
      ]);
      const paths = mask.map((each) => (typeof each === 'string' ? each : each.path));
      // Of what lies in what is gone already there is nothing to tell.
      for (const path of paths)
        expect(told.has(path) || paths.some((other) => path.startsWith(`${other}/`)), path).toBe(true);
      for (const path of (after['masked'] ?? []) as string[])
        for (const text of textsAt(valueAt(before, parsePointer(path) ?? [])))
          expect(row.body).not.toContain(`"${text}"`);
      if (detail === 'brief') expect(textsAt(after)).toEqual([]);
    }),
    { numRuns: 200 },
  );
});

test('where it failed, nothing is left that may be kept out, and the record says why', () => {
  fc.assert(
    fc.property(drafts, (draft) => {
      const row = buildRecord(maskFailed(draft, 'policy_failed'));
      const after = JSON.parse(row.body) as Body;
      expect(identity(after)).toEqual(identity(bodyOf(draft)));
      expect(after['mask_failed']).toBe('policy_failed');
      expect(textsAt(after)).toEqual([]);
      expect(faultOf(row.body)).toBeUndefined();
    }),
  );
});

test.each([
  undefined,
  null,
  'full',
  { mask: [], detail: 'less' },
  { mask: [] },
  { mask: {}, detail: 'full' },
  { mask: [1], detail: 'full' },
  { mask: [null], detail: 'full' },
  { mask: [['/input/context']], detail: 'full' },
  { mask: ['input/context'], detail: 'full' },
  { mask: [{ op: 'upsert', path: '/input/context/a' }], detail: 'full' },
  { mask: [{ op: 'remove', path: '/input/context/a', value: 1 }], detail: 'full' },
  { mask: [{ path: '/input/context/a' }], detail: 'full' },
  { mask: Array.from({ length: 65 }, (_, at) => `/input/context/${at}`), detail: 'full' },
  { malformed: true },
])('%j is no answer that anybody could go by', (result) => {
  expect(readMask(result)).toBeUndefined();
});

test.each([
  ['/input/context', 'a text', undefined],
  ['/input/context', null, undefined],
  ['/input/context', [], undefined],
  ['/input/context', { kept: true }, { kept: true }],
])('%s is replaced by %j, or but taken out where that cannot stand there', (path, value, after) => {
  const draft = draftOf(1 as TenantNo, {
    members: ',"reasons":[]',
    input: '{"subject":null,"context":{"note":"text"}}',
  });
  const mask = readMask({ mask: [{ op: 'upsert', path, value }], detail: 'full' });
  if (!mask) throw new Error('it is a mask');
  const body = bodyOf(masked(draft, mask));
  expect(body.input['context']).toEqual(after);
  expect(body['masked']).toEqual([path]);
});
