import { beforeEach, describe, expect, test } from 'vitest';
import { Credential, KnownPeer, type KnownTenant } from '../../../src/server/accepting/credentials.ts';
import type { Peer } from '../../../src/server/peer.ts';
import type { Caller } from '../../../src/tenancy/callers.ts';
import type { Tenant } from '../../../src/tenancy/tenants.ts';

/** Whom a thread knows, for how long, and what of it a change takes away. */

const caller = { id: 'service:pep' } as Caller;
const FOR_MS = 1_000;

let now: number;
let ends: number;
let tenants: Map<string, KnownTenant>;
let known: KnownTenant;
let credential: Credential;
const parts = () => ({ tenants, ends: () => ends, now: () => now });
const found = () => credential.find('acme', parts())?.caller;
const wants = () => credential.wants('acme', parts());
const settle = (ask: number | undefined, said: Caller | null = caller): void =>
  credential.settle('acme', ask ?? -1, { caller: said ?? undefined, forMs: FOR_MS, known });

beforeEach(() => {
  [now, ends] = [10_000, 0];
  known = { tenant: { id: 'acme' } as Tenant };
  tenants = new Map([['acme', known]]);
  credential = new Credential('Bearer secret');
});

describe('what main has said', () => {
  test('holds from when it was asked, for as long as it said', () => {
    const ask = wants();
    now += 400;
    settle(ask);
    expect(found()).toBe(caller);
    now += 599;
    expect(found()).toBe(caller);
    now += 1;
    expect(found()).toBeUndefined();
    expect(wants()).toBeDefined();
  });

  test('holds no more once anything of the tenant changed, or may have ended', () => {
    settle(wants());
    tenants.set('acme', { tenant: known.tenant });
    expect(found()).toBeUndefined();
    tenants.set('acme', known);
    expect(found()).toBe(caller);
    ends += 1;
    expect(found()).toBeUndefined();
    expect(wants()).toBeDefined();
  });

  test('does not hold where something ended while it was asked', () => {
    const ask = wants();
    ends += 1;
    settle(ask);
    expect(found()).toBeUndefined();
  });

  test('is no answer to a question that was asked anew after something had ended', () => {
    const late = wants();
    now += 1_000;
    ends += 1;
    const anew = wants();
    // It was said before that, and comes only now.
    settle(late);
    expect(found()).toBeUndefined();
    settle(anew, null);
    expect(found()).toBeUndefined();
    expect(wants()).toBeUndefined();
  });

  test('of somebody unknown is not asked again before its time', () => {
    settle(wants(), null);
    expect([found(), wants()]).toEqual([undefined, undefined]);
    now += FOR_MS;
    expect(wants()).toBeDefined();
  });
});

describe('who is remembered', () => {
  const peer: Peer = { loopback: true, certified: undefined };

  test('is asked about once, until the answer is late', () => {
    expect(wants()).toBeDefined();
    expect(wants()).toBeUndefined();
    now += 1_000;
    expect(wants()).toBeDefined();
  });

  test('is not whoever says what cannot be a tenant', () => {
    for (const name of ['', 'Acme', 'x'.repeat(64), 'x'.repeat(1_000_000)])
      expect(credential.wants(name, parts())).toBeUndefined();
  });

  test('is one credential of many on a connection, and nobody who was turned away', () => {
    const one = new KnownPeer(1, peer);
    const first = one.credential('Bearer a');
    expect(one.credential('Bearer b')).not.toBe(first);
    expect(one.credential('Bearer a')).toBe(first);
    expect(one.find('Bearer a')).toBe(first);
    one.forget(first);
    expect(one.find('Bearer a')).toBeUndefined();
    expect(one.credential('Bearer a')).not.toBe(first);
  });

  test('is what the last of them asked with, however many came', () => {
    const one = new KnownPeer(1, peer);
    for (let at = 0; at < 1_000; at += 1) {
      const each = one.credential(`Bearer ${at}`);
      expect(one.find(`Bearer ${at}`)).toBe(each);
    }
  });
});
