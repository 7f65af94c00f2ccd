import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { readRecord } from '../../src/audit/read.ts';
import { buildRecord, MAX_RECORD_BYTES } from '../../src/audit/record.ts';
import type { TenantNo } from '../../src/storage/rows.ts';
import { draftOf } from '../storage/store.ts';

const NO = 1 as TenantNo;
const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');
const read = (body: string) => readRecord({ index: 0, body: Buffer.from(body) });

const inputWith = (padding: string) =>
  JSON.stringify({
    subject: { class: 'user', id: 'alice', properties: { padding } },
    actors: [{ class: 'agent', id: 'a' }],
    action: { name: 'document.read', properties: { padding } },
    resource: { type: 'document', id: 'd', properties: { padding } },
    context: { padding },
  });

describe('a record', () => {
  test('holds the input exactly as it was evaluated, so that it replays', () => {
    const input = inputWith('ünïcode ☃ \\u0000 "');
    const { body } = buildRecord(draftOf(NO, { input, members: ',"cost":12' }));
    expect(body.endsWith(`,"cost":12,"input":${input}}`)).toBe(true);
    expect(read(body)).toMatchObject({
      subject: { class: 'user', id: 'alice' },
      actors: [{ class: 'agent', id: 'a' }],
      action: 'document.read',
      resource: { type: 'document', id: 'd' },
      cost: 12,
    });
  });

  test('C2SP tlog-tiles: beyond 65,535 bytes it keeps a digest of the input, and who did what', () => {
    for (const padding of ['x'.repeat(40_000), '☃'.repeat(20_000), 'x'.repeat(1_000_000)]) {
      const input = inputWith(padding);
      const { body } = buildRecord(draftOf(NO, { input }));
      expect(Buffer.byteLength(body)).toBeLessThanOrEqual(MAX_RECORD_BYTES);
      expect(JSON.parse(body)).toMatchObject({
        input_sha256: sha256(input),
        input_bytes: Buffer.byteLength(input),
      });
      expect(read(body)).toMatchObject({
        subject: { class: 'user', id: 'alice' },
        actors: [{ class: 'agent', id: 'a' }],
        action: 'document.read',
        resource: { id: 'd' },
      });
    }
  });

  test('a policy that gives very long reasons does not make it longer: they are bound by a digest', () => {
    const members = `,"reasons":${JSON.stringify([{ code: 'x', message: 'y'.repeat(100_000) }])}`;
    const { body } = buildRecord(draftOf(NO, { input: inputWith('x'.repeat(50_000)), members }));
    expect(Buffer.byteLength(body)).toBeLessThanOrEqual(MAX_RECORD_BYTES);
    expect(JSON.parse(body)).toMatchObject({ members_sha256: sha256(members) });
  });

  test('what it is about is not lost with what is too long: target, grant and reason', () => {
    const input = JSON.stringify({
      ...(JSON.parse(inputWith('x'.repeat(50_000))) as object),
      subject: null,
      target: { class: 'user', id: 'bob', properties: {} },
    });
    const members = `,"detail":"${'y'.repeat(100_000)}"`;
    const { body } = buildRecord(
      draftOf(NO, { kind: 'administration', input, members, grantId: 'gr_1', reason: 'principal_disabled' }),
    );
    expect(Buffer.byteLength(body)).toBeLessThanOrEqual(MAX_RECORD_BYTES);
    const record = read(body);
    expect(record).toMatchObject({ target: { class: 'user', id: 'bob' }, grantId: 'gr_1' });
    expect(record.reasons).toMatchObject([{ code: 'principal_disabled' }]);
  });

  test('is never longer than an entry may be, and is JSON, whatever the request held', () => {
    const text = fc.oneof(
      fc.string({ unit: 'binary', maxLength: 300 }),
      fc.constantFrom('x', '"', '☃', '\\').map((c) => c.repeat(30_000)),
    );
    fc.assert(
      fc.property(
        text,
        text,
        text,
        fc.string({ unit: 'binary', maxLength: 256 }),
        (padding, reason, caller, id) => {
          const subject = { class: 'user', id } as const;
          const input = JSON.stringify({ ...(JSON.parse(inputWith(padding)) as object), subject });
          const members = `,"reasons":${JSON.stringify([{ code: 'c', message: reason }])}`;
          const { body } = buildRecord(
            draftOf(NO, { input, members, caller: caller.slice(0, 256), subject }),
          );
          expect(Buffer.byteLength(body)).toBeLessThanOrEqual(MAX_RECORD_BYTES);
          expect(read(body).subject?.id).toBe((JSON.parse(JSON.stringify(id)) as string).toWellFormed());
        },
      ),
      { numRuns: 300 },
    );
  });
});
