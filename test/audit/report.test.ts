import { expect, test } from 'vitest';
import { type AuditRecord, readRecord } from '../../src/audit/read.ts';
import { buildRecord, type RecordDraft } from '../../src/audit/record.ts';
import { reportPage } from '../../src/audit/report/html.ts';
import { Reporter } from '../../src/audit/report/report.ts';
import type { TenantNo } from '../../src/storage/rows.ts';
import { draftOf, T0 } from '../storage/store.ts';

const DAY = 86_400_000;
const alice = { class: 'user', id: 'alice' };
const helper = { class: 'agent', id: 'helper' };

function record(changes: Partial<RecordDraft>, input: object, members = ''): AuditRecord {
  const draft = draftOf(1 as TenantNo, { ...changes, input: JSON.stringify(input), members });
  return readRecord({ index: 0, body: Buffer.from(buildRecord(draft).body) });
}

const decision = (day: number, outcome: 'allow' | 'deny', more: object = {}, members = ''): AuditRecord =>
  record(
    { time: T0 + day * DAY, outcome },
    { subject: alice, actors: [], action: { name: 'read' }, resource: { type: 'd', id: '1' }, ...more },
    members,
  );

test('counts what the records say, and finds who and what is not seen any more', () => {
  const reporter = new Reporter();
  const why = ',"reasons":[{"code":"not_allowed","message":""}]';
  const grant = ',"grant_id":"g1"';
  for (const each of [
    decision(0, 'allow', { subject: { class: 'user', id: 'gone by' }, action: { name: 'write it' } }),
    decision(20, 'deny', {}, why),
    decision(20, 'deny', {}, why),
    decision(21, 'allow', { actors: [helper] }, grant),
    record(
      { kind: 'exchange', time: T0 + 5 * DAY },
      { subject: alice, actors: [helper] },
      ',"grant_id":"g2"',
    ),
  ])
    reporter.add(each);
  const report = reporter.report('acme', 14);
  expect(report).toMatchObject({
    records: 5,
    from: T0,
    to: T0 + 21 * DAY,
    denials: [{ name: 'not_allowed', count: 2 }],
    agents: [{ name: 'agent:helper', allowed: 1, denied: 0 }],
    dormant: [{ principal: 'user:gone by', last: T0 }],
    unused: [{ principal: 'user:gone by', action: 'write it', last: T0 }],
  });
  expect(report.days).toEqual([
    { day: '2026-01-01', allowed: 1, denied: 0 },
    { day: '2026-01-21', allowed: 0, denied: 2 },
    { day: '2026-01-22', allowed: 1, denied: 0 },
  ]);
  // One that was used and not made in this time, and one the other way round.
  expect(report.grants).toMatchObject([
    { name: 'g1', actor: 'agent:helper', subject: 'user:alice', allowed: 1, made: undefined },
    { name: 'g2', allowed: 0, last: 0, made: T0 + 5 * DAY },
  ]);
});

test('a page holds what callers called things as text alone', () => {
  const reporter = new Reporter();
  const evil = '"><script>alert(1)</script>';
  reporter.add(
    decision(
      1,
      'deny',
      { subject: { class: 'user', id: evil } },
      `,"reasons":[{"code":${JSON.stringify(evil)}}]`,
    ),
  );
  reporter.add(decision(30, 'allow', { actors: [{ class: 'agent', id: evil }] }));
  const page = reportPage(reporter.report(evil, 5));
  expect(page).not.toContain('<script');
  expect(page).toContain('&#60;script&#62;');
  expect(page).toContain("default-src 'none'");
});

test('of nothing it is a page too', () => {
  expect(reportPage(new Reporter().report('acme', 14))).toContain('0 records');
});
