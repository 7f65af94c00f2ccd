import { describe, expect, test } from 'vitest';
import { Lifetimes } from '../../src/delegation/lifetimes.ts';
import type { GrantId } from '../../src/ids.ts';
import type { GrantRow } from '../../src/storage/rows.ts';

const NOW = 1_767_225_600_000;
const HOUR = 3_600_000;

const grant = (id: string): GrantRow => ({
  id: id as GrantId,
  parentId: null,
  depth: 1,
  subject: { class: 'user', id: 'alice' },
  actors: [{ class: 'agent', id: 'research-agent' }],
  scopes: ['docs.read'],
  use: 'act',
  details: [],
  audience: 'docs-mcp',
  moreAudiences: [],
  mayAct: null,
  jkt: null,
  x5tS256: null,
  task: null,
  authentication: {},
  issuedAt: NOW,
  expiresAt: NOW + 300_000,
  issuer: 'https://login.acme.example',
  revokedAt: null,
});

describe('how long a grant lasts', () => {
  test('to the millisecond, by a clock that runs as it should', () => {
    const clock = { ticks: 5 };
    const lifetimes = new Lifetimes(() => clock.ticks);
    expect(lifetimes.lasts(grant('a'), NOW)).toBe(true);
    clock.ticks += 299_999;
    expect(lifetimes.lasts(grant('a'), NOW + 299_999)).toBe(true);
    expect(lifetimes.lasts(grant('a'), NOW + 300_000)).toBe(false);
  });

  test('no longer where the clock is set back while it lives, once or again and again', () => {
    const clock = { ticks: 5 };
    const lifetimes = new Lifetimes(() => clock.ticks);
    expect(lifetimes.lasts(grant('a'), NOW)).toBe(true);
    for (let round = 1; round <= 10; round += 1) {
      clock.ticks += 30_000;
      // Set back each time to just after it was issued.
      expect(lifetimes.lasts(grant('a'), NOW + 1)).toBe(round < 10);
    }
    clock.ticks += HOUR;
    expect(lifetimes.lasts(grant('a'), NOW + 1)).toBe(false);
  });

  test('no longer than what a cap leaves of it, where the clock is set back then', () => {
    const clock = { ticks: 5 };
    const lifetimes = new Lifetimes(() => clock.ticks);
    expect(lifetimes.lasts(grant('a'), NOW)).toBe(true);
    const capped = { ...grant('a'), expiresAt: NOW + 60_000 };
    clock.ticks += 59_999;
    expect(lifetimes.lasts(capped, NOW + 1)).toBe(true);
    clock.ticks += 1;
    expect(lifetimes.lasts(capped, NOW + 1)).toBe(false);
  });

  test('not at all where it was issued in the future, as it seems after a restart under a clock set back', () => {
    const lifetimes = new Lifetimes(() => 5);
    expect(lifetimes.lasts(grant('a'), NOW - HOUR)).toBe(false);
    expect(lifetimes.lasts(grant('a'), NOW - 30_001)).toBe(false);
    // Another node's clock may be off by as much as an issuer's.
    expect(lifetimes.lasts(grant('a'), NOW - 30_000)).toBe(true);
  });
});
