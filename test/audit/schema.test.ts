import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { recordKinds, recordOutcomes } from '../../src/audit/record.ts';
import type { TenantNo } from '../../src/storage/rows.ts';
import { faultOf } from '../e2e/record-schema.ts';
import { rowOf, T0 } from '../storage/store.ts';

/** docs/record.schema.json. Each server of the end-to-end tests shows its records to it when it stops (server.ts). */

const schema = JSON.parse(
  readFileSync(path.join(import.meta.dirname, '../../docs/record.schema.json'), 'utf8'),
) as { properties: { kind: { enum: string[] }; outcome: { enum: string[] } } };

const sound = (): Record<string, unknown> =>
  JSON.parse(
    rowOf(1 as TenantNo, { time: T0, members: ',"revision":"r","cost":1,"rules":[],"reasons":[]' }).body,
  ) as Record<string, unknown>;

describe('the schema of records', () => {
  test('knows the kinds and outcomes that there are', () => {
    expect(schema.properties.kind.enum).toEqual([...recordKinds]);
    expect(schema.properties.outcome.enum).toEqual([...recordOutcomes]);
    expect(faultOf(JSON.stringify(sound()))).toBeUndefined();
  });

  test.each<[string, object]>([
    ['a member that it does not describe', { surplus: 1 }],
    ['another version', { v: 2 }],
    ['a time that is not UTC', { time: '2026-01-01T00:00:00+01:00' }],
    ['an id that is no UUID of version 7', { decision_id: '00000000-0000-4000-8000-000000000000' }],
    ['an outcome of another kind', { outcome: 'done' }],
    ['no input', { input: undefined }],
    ['an input both whole and cut', { input_sha256: '0'.repeat(64), input_bytes: 1, input_kept: {} }],
    ['a reason without a code', { reasons: [{ message: 'x' }] }],
    ['a decision that nothing made', { rules: undefined }],
    ['access without where it came from', { kind: 'access', outcome: 'deny', detail: {} }],
  ])('refuses %s', (_what, change) => {
    expect(faultOf(JSON.stringify({ ...sound(), ...change }))).toBeDefined();
  });

  test('takes what was too long to keep whole', () => {
    const long = JSON.stringify({ subject: { class: 'user', id: 'a' }, context: { x: 'x'.repeat(70_000) } });
    const members = ',"rules":[],"reasons":[]';
    expect(faultOf(rowOf(1 as TenantNo, { input: long, members }).body)).toBeUndefined();
    const reasons = `,"reasons":${JSON.stringify([{ code: 'x', message: 'y'.repeat(70_000) }])}`;
    expect(
      faultOf(rowOf(1 as TenantNo, { input: long, members: reasons, reason: 'x' }).body),
    ).toBeUndefined();
  });
});
