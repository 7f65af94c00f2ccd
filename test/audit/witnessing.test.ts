import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { verifyConsistency } from '../../src/merkle/proofs.ts';
import { noise } from '../merkle/reference.ts';
import { log, MemoryState } from '../merkle/witnessed.ts';
import { behaving, failing, good, heardFaults, type Peer, shownBy, stage } from './witnessed-store.ts';

/** Checkpoints before witnesses: what good ones sign is stored with them, whatever the others do. */

let heard: ReturnType<typeof heardFaults>;
beforeEach(() => {
  heard = heardFaults();
});
afterEach(() => heard[Symbol.dispose]());

describe('witnesses that do as they should', () => {
  test('sign each checkpoint, from the one before it, with one request', async () => {
    await using one = await good('w.example/1');
    await using two = await good('w.example/2');
    await using logged = await stage([one, two]);
    const sizes: number[] = [];
    for (const count of [3, 1, 300]) {
      const size = await logged.grow(count);
      sizes.push(size);
      await shownBy(logged, [one, two], (names, shown) => names.length === 2 && shown === size);
    }
    expect(sizes).toEqual([3, 4, 304]);
    for (const { asked } of [one, two]) {
      expect(asked.map(({ old, checkpoint }) => [old, checkpoint.size])).toEqual([
        [0, 3],
        [3, 4],
        [4, 304],
      ]);
      for (const [at, { old, proof, checkpoint }] of asked.entries())
        if (at > 0)
          expect(
            verifyConsistency(
              old,
              checkpoint.size,
              asked[at - 1]?.checkpoint.root ?? noise(0),
              checkpoint.root,
              proof,
            ),
          ).toBe(true);
    }
    expect([logged.failures, heard.faults]).toEqual([[], []]);
  });

  test('of many checkpoints at once the newest is signed', async () => {
    await using one = await good('w.example/1');
    await using logged = await stage([one], 300);
    for (let turn = 0; turn < 10; turn += 1) await logged.grow(1);
    await shownBy(logged, [one], (names, size) => names.length === 1 && size === 10);
    expect(one.asked).toHaveLength(1);
  });

  test('one that has seen less than is known here is brought on from there', async () => {
    const state = new MemoryState();
    await using one = await good('w.example/1', state);
    await using logged = await stage([one]);
    await logged.grow(3);
    await shownBy(logged, [one], (names) => names.length === 1);
    // As after a restart of the server, which does not know any more what was signed.
    await using again = await logged.again();
    await again.grow(5);
    await shownBy(again, [one], (names, size) => names.length === 1 && size === 8);
    expect(one.asked.map(({ old, proof }) => [old, proof.length > 0])).toEqual([
      [0, false],
      [0, false],
      [3, true],
    ]);
    expect([again.failures, heard.faults]).toEqual([[], []]);
  });

  test('what was signed by one that was there is signed by the other when it is back', async () => {
    await using one = await good('w.example/1');
    await using two = await good('w.example/2');
    await two.stop();
    await using logged = await stage([one, two]);
    await logged.grow(3);
    expect(await shownBy(logged, [one, two], (names) => names.length > 0)).toEqual(['w.example/1']);
    expect((await failing(logged))[0]).toMatch(/^unavailable: w\.example\/2: /);
    await two.begin();
    expect(await shownBy(logged, [one, two], (names) => names.length === 2)).toHaveLength(2);
    expect([heard.faults, logged.witnessing.disputes]).toEqual([[], []]);
  });
});

describe('a witness that has seen another log of that name: the store was put back', () => {
  /** A good witness that signed so many leaves of what is no part of this log. */
  async function seen(size: number): Promise<Peer> {
    const state = new MemoryState();
    state.update(log.name, () => ({ size, root: noise('before') }));
    return good('w.example/1', state);
  }

  test('larger than it: nothing is signed, and the operator is told', async () => {
    await using one = await seen(9);
    await using logged = await stage([one]);
    await logged.grow(3);
    const [said] = await failing(logged);
    expect(said).toBe('unavailable: w.example/1: it has seen 9 entries of this log');
    expect(logged.witnessing.disputes).toEqual([
      {
        tenantNo: logged.no,
        text: 'its log is not the one of its checkpoint of 9 records: w.example/1 has seen that one, and the store ends with 3',
      },
    ]);
    expect(heard.faults).toEqual([]);
    expect(await shownBy(logged, [one], () => true)).toEqual([]);
  });

  test.each([2, 5])('of %i entries, where the log has grown beyond it since', async (size) => {
    await using one = await seen(size);
    await using logged = await stage([one]);
    await logged.grow(5);
    await failing(logged);
    expect(logged.witnessing.disputes).toMatchObject([
      {
        tenantNo: logged.no,
        text: `its log is not the one of its checkpoint of ${size} records: w.example/1 has seen another one`,
      },
    ]);
    expect(await shownBy(logged, [one], () => true)).toEqual([]);
  });

  test('one that refuses what it was never shown says nothing of the store', async () => {
    await using bad = await behaving('w.example/bad', (_, response) => response.writeHead(422).end('no\n'));
    await using logged = await stage([bad]);
    await logged.grow(5);
    expect((await failing(logged))[0]).toMatch(/it answers 422: no/);
    expect([heard.faults, logged.witnessing.disputes]).toEqual([[], []]);
  });
});
