import { expect, test } from 'vitest';
import { tenantId } from '../../../src/ids.ts';
import { KnownPeer, type KnownTenant } from '../../../src/server/accepting/credentials.ts';
import type { Caller } from '../../../src/tenancy/callers.ts';
import type { Tenant } from '../../../src/tenancy/tenants.ts';

/** What a thread remembers of who asks: never more than it may, and never of somebody else. */

const caller: Caller = { id: 'service:a', principal: undefined, may: new Set(), audiences: 'stated' };
const tenantOf = (id: string): KnownTenant => ({ tenant: { id: tenantId(id) } as Tenant });
const peerOf = (): KnownPeer => new KnownPeer(1, { loopback: false, certified: undefined });

/** A thread's clock, its tenants and how often something has ended. */
function thread() {
  const tenants = new Map([['acme', tenantOf('acme')]]);
  const now = { ms: 0, ends: 0 };
  return { tenants, now, parts: { tenants, ends: () => now.ends, now: () => now.ms } };
}

test('a ticket is for one credential on one connection, and for one tenant', () => {
  const { tenants, parts } = thread();
  tenants.set('globex', tenantOf('globex'));
  const [peer, other] = [peerOf(), peerOf()];
  const credential = peer.credential('Bearer a');
  const asked = credential.wants('acme', parts);
  credential.settle('acme', asked, caller, 1_000, tenants.get('acme'));
  expect(credential.find('acme', parts)?.caller).toBe(caller);
  expect(credential.find('globex', parts)).toBeUndefined();
  expect(peer.credential('Bearer b').find('acme', parts)).toBeUndefined();
  expect(peer.credential(undefined).find('acme', parts)).toBeUndefined();
  expect(other.credential('Bearer a').find('acme', parts)).toBeUndefined();
});

test('a ticket holds no more once its time is over, something ended, or its tenant is another', () => {
  const { tenants, now, parts } = thread();
  const credential = peerOf().credential('Bearer a');
  const settled = (): void =>
    credential.settle('acme', credential.wants('acme', parts), caller, 100, tenants.get('acme'));
  settled();
  now.ms = 100;
  expect(credential.find('acme', parts)).toBeUndefined();
  settled();
  now.ends = 1;
  expect(credential.find('acme', parts)).toBeUndefined();
  settled();
  tenants.set('acme', tenantOf('acme'));
  expect(credential.find('acme', parts)).toBeUndefined();
  settled();
  tenants.delete('acme');
  expect(credential.find('acme', parts)).toBeUndefined();
});

test('an answer to an earlier question says nothing of what ended before the later one', () => {
  const { tenants, now, parts } = thread();
  const credential = peerOf().credential('Bearer a');
  const first = credential.wants('acme', parts);
  // Main is slow, and the credential is killed meanwhile.
  now.ms = 1_000;
  now.ends = 1;
  const second = credential.wants('acme', parts);
  credential.settle('acme', first, caller, 1_000, tenants.get('acme'));
  expect(credential.find('acme', parts)).toBeUndefined();
  credential.settle('acme', second, undefined, 1_000, tenants.get('acme'));
  expect(credential.find('acme', parts)).toBeUndefined();
});

test('an answer that comes late for one credential is not taken for the same one that is new', () => {
  const { tenants, parts } = thread();
  const peer = peerOf();
  const asked = peer.credential('Bearer a').wants('acme', parts);
  for (let at = 0; at < 300; at += 1) peer.credential(`Bearer ${at}`);
  peer.credential('Bearer a').wants('acme', parts);
  peer.find('Bearer a')?.settle('acme', asked, caller, 1_000, tenants.get('acme'));
  expect(peer.credential('Bearer a').find('acme', parts)).toBeUndefined();
});

test('main is asked of no tenant by a name that none can have, however long', () => {
  const { parts } = thread();
  const credential = peerOf().credential('Bearer a');
  for (const name of ['', 'ACME', 'a'.repeat(64), 'a'.repeat(1_000_000), '__proto__', 'a b'])
    expect(credential.wants(name, parts)).toBeUndefined();
  expect(credential.wants('a'.repeat(63), parts)).toBeDefined();
});

test('long credentials are not remembered by the hundred', () => {
  const peer = peerOf();
  const long = (at: number): string => `Bearer ${at} ${'x'.repeat(30_000)}`;
  for (let at = 0; at < 100; at += 1) peer.credential(long(at));
  const remembered = Array.from({ length: 100 }, (_, at) => peer.find(long(at))).filter(Boolean);
  expect(remembered.length).toBeLessThanOrEqual(3);
});

test('a connection has room for so many tickets, whatever credentials they are for', () => {
  const { tenants, parts } = thread();
  const peer = peerOf();
  const first = peer.credential('Bearer first');
  first.settle('acme', first.wants('acme', parts), caller, 1_000, tenants.get('acme'));
  for (let at = 0; at < 8_192; at += 1) {
    const credential = peer.credential(`Bearer ${at % 100}`);
    credential.settle(`t${at}`, credential.wants(`t${at}`, parts), undefined, 1_000, undefined);
  }
  expect(first.find('acme', parts)).toBeUndefined();
});

test('what a connection has forgotten asks for no more tickets', () => {
  const { parts } = thread();
  const peer = peerOf();
  const streaming = peer.credential('Bearer a');
  for (let at = 0; at < 300; at += 1) peer.credential(`Bearer ${at}`);
  expect(peer.find('Bearer a')).toBeUndefined();
  expect(streaming.wants('acme', parts)).toBeUndefined();
});

test('who was refused is forgotten', () => {
  const peer = peerOf();
  const refused = peer.credential('Bearer a');
  peer.forget(refused);
  expect(peer.find('Bearer a')).toBeUndefined();
  expect(peer.credential('Bearer a')).not.toBe(refused);
});
