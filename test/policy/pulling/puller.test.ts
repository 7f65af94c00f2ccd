import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { tenantId } from '../../../src/ids.ts';
import { Puller, type PullerParts } from '../../../src/policy/pulling/puller.ts';
import { Memory } from '../../../src/policy/pulling/remembered.ts';
import { type BundleSource, NotPulled } from '../../../src/policy/pulling/source.ts';

/** When a source is looked at again. What is done with what it has is tested end to end. */

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const ACME = tenantId('acme');

/** Of a tenant that has a policy. `share`: what is drawn at random, of all that there is. */
const partsFor = (memory: Memory, share: number): PullerParts => {
  const random = (): Uint8Array => {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32BE(Math.floor(share * (2 ** 32 - 1)));
    return bytes;
  };
  const tenant = { id: ACME, no: 1, manifest: { actions: {}, entrypoints: [] } };
  const active = { revision: 'sha256:1', rejected: [] };
  return {
    tenants: { find: () => tenant },
    policies: { of: () => active, reject: () => undefined },
    releases: { take: async () => true, goOn: async () => false },
    store: { policy: () => ({ active: active.revision, folder: 'f', shadow: '', staged: '', share: '' }) },
    administration: { recordRefusedPolicy: async () => undefined },
    memory,
    random,
  } as unknown as PullerParts;
};

/** The gaps between looks, in milliseconds, of what answers so. */
async function gaps(
  answer: BundleSource['pull'],
  looks: number,
  share: number,
  polling = { minMs: 60_000, maxMs: 120_000 },
): Promise<number[]> {
  const times: number[] = [];
  const source: BundleSource = {
    name: 'test',
    pull: (...asked) => {
      times.push(Date.now());
      return answer(...asked);
    },
  };
  using puller = new Puller(ACME, source, polling, partsFor(new Memory('/nowhere/at/all'), share));
  await puller.now({ caller: 'test', isAsked: false }).catch(() => undefined);
  while (times.length < looks) await vi.advanceTimersToNextTimerAsync();
  return times.slice(1).map((time, at) => time - (times[at] ?? 0));
}

const failing = (waitMs?: number) => (): Promise<never> => Promise.reject(new NotPulled('away', { waitMs }));
const unchanged = (waited: boolean) => async () => ({ files: undefined, waited }) as const;

test.each([
  [0, [500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]],
  [1, [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 64_000, 120_000, 120_000]],
])('after failures it waits twice as long each time, with a share of chance: %d', async (share, expected) => {
  const met = await gaps(failing(), expected.length + 1, share);
  for (const [at, gap] of met.entries()) expect(Math.abs(gap - (expected[at] ?? 0))).toBeLessThanOrEqual(1);
});

test('as long as the server asks for, where that is longer', async () => {
  expect(await gaps(failing(300_000), 3, 0)).toEqual([300_000, 300_000]);
});

test.each([
  [0, 60_000],
  [1, 120_000],
])('else between min and max, at random: %d', async (share, expected) => {
  for (const gap of await gaps(unchanged(false), 4, share))
    expect(Math.abs(gap - expected)).toBeLessThanOrEqual(1);
});

test('at once where the server held the request', async () => {
  for (const gap of await gaps(unchanged(true), 4, 1)) expect(gap).toBeLessThanOrEqual(100);
});

test('one look at a time, the one that is held gives way, and of many at once the last is enough', async () => {
  vi.useRealTimers();
  let [open, most, begun] = [0, 0, 0];
  const held: BundleSource['pull'] = (_etag, signal) => {
    [open, begun] = [open + 1, begun + 1];
    most = Math.max(most, open);
    return new Promise((_resolve, reject) => {
      signal.addEventListener('abort', () => {
        open -= 1;
        reject(new NotPulled('aborted'));
      });
    });
  };
  const source = { name: 'test', pull: held };
  const memory = new Memory('/nowhere/at/all');
  using puller = new Puller(ACME, source, { minMs: 1_000, maxMs: 1_000 }, partsFor(memory, 0));
  const look = (): void => void puller.now({ caller: 'test', isAsked: false }).catch(() => undefined);
  look();
  await vi.waitFor(() => expect(begun).toBe(1), 90_000);
  for (let each = 0; each < 5; each += 1) look();
  await vi.waitFor(() => expect(begun).toBe(2), 90_000);
  await delay(100);
  expect([begun, most, open]).toEqual([2, 1, 1]);
  // What was given up is no failure of the source's.
  expect(puller.problem).toBe('');
});

test('what is remembered is what was written, and damage is nothing', async () => {
  const folder = await mkdtemp(path.join(tmpdir(), 'mandate-memory-'));
  try {
    const memory = new Memory(path.join(folder, 'bundles'));
    const kept = { source: 's', etag: '"one"', taken: 'x', manifest: 'y' };
    expect(await memory.read(ACME)).toBeUndefined();
    await memory.write(ACME, kept);
    expect(await memory.read(ACME)).toEqual(kept);
    for (const damage of ['', '{', '[]', '{"source":1}', JSON.stringify({ ...kept, more: 1 })]) {
      await writeFile(path.join(folder, 'bundles/acme.json'), damage);
      expect(await memory.read(ACME)).toBeUndefined();
    }
    await memory.write(ACME, undefined);
    expect(await memory.read(ACME)).toBeUndefined();
  } finally {
    await rm(folder, { recursive: true });
  }
});
