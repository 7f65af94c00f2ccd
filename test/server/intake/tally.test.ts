import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Places } from '../../../src/server/intake/places.ts';
import { sharedTallies, Tally } from '../../../src/server/intake/tally.ts';

/** Places that several threads give away. */

const MOST = { total: 6, each: 3 };
const WHOM = ['192.0.2.1', '192.0.2.2', '192.0.2.3'];

const tallies = (threads: number): { tallies: Tally[]; release: (at: number) => void } => {
  const shared = sharedTallies(threads);
  return {
    tallies: shared.map((each) => new Tally(each)),
    release: (at) => {
      const each = shared[at];
      if (each) new Tally(each).release();
    },
  };
};

test('nobody gets more than there is, of all threads together and of each, whatever is given back between', () => {
  const step = fc.record({
    thread: fc.nat(1),
    whom: fc.nat(2),
    count: fc.integer({ min: 1, max: 3 }),
    gives: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(step), (steps) => {
      const { tallies: both } = tallies(2);
      const taken = both.map(() => WHOM.map(() => 0));
      const sum = (at: number): number => taken.reduce((all, each) => all + (each[at] ?? 0), 0);
      for (const { thread, whom, count, gives } of steps) {
        const [tally, own, name] = [both[thread], taken[thread], WHOM[whom]];
        if (!tally || !own || name === undefined) continue;
        if (gives) {
          if ((own[whom] ?? 0) < count) continue;
          tally.giveBack(name, count);
          own[whom] = (own[whom] ?? 0) - count;
          continue;
        }
        const all = WHOM.reduce((total, _, at) => total + sum(at), 0);
        const fits = sum(whom) + count <= MOST.each && all + count <= MOST.total;
        expect(tally.tryTake(name, count, MOST)).toBe(fits);
        if (fits) own[whom] = (own[whom] ?? 0) + count;
      }
    }),
  );
});

test('what a thread had is free once it has ended, and the other keeps its own', () => {
  const { tallies: both, release } = tallies(2);
  const [main, other] = both as [Tally, Tally];
  expect(main.tryTake('a', 1, MOST)).toBe(true);
  expect(other.tryTake('a', 2, MOST)).toBe(true);
  expect(other.tryTake('b', 3, MOST)).toBe(true);
  expect(main.tryTake('c', 1, MOST)).toBe(false);
  release(1);
  release(1);
  expect(main.tryTake('a', 3, MOST)).toBe(false);
  expect(main.tryTake('a', 2, MOST)).toBe(true);
  expect(main.tryTake('c', 3, MOST)).toBe(true);
  expect(main.tryTake('c', 1, MOST)).toBe(false);
});

test('places that are shared are bounded for all, and given back to all', () => {
  const [one, two] = sharedTallies(2).map((shared) => new Places({ ...MOST, full: 'full' }, shared));
  expect(one?.tryTake('a', 2)).toBe(true);
  expect(two?.tryTake('a', 2)).toBe(false);
  expect(two?.tryTake('a', 1)).toBe(true);
  expect(two?.taken).toBe(1);
  one?.giveBack('a', 2);
  expect(two?.tryTake('a', 2)).toBe(true);
});

test('addresses of different tables do not meet in the same cells', () => {
  const names = Array.from({ length: 3_000 }, (_, at) => `10.0.${at >> 8}.${at & 255}`);
  const alone = { total: 1_000_000, each: 1 };
  // Who is refused shares a cell with one before it.
  const refused = (): string[] => {
    const [tally] = tallies(1).tallies;
    return names.filter((name) => !tally?.tryTake(name, 1, alone));
  };
  const [first, second] = [refused(), refused()];
  expect(first.length).toBeGreaterThan(0);
  expect(first.length).toBeLessThan(300);
  expect(second).not.toEqual(first);
});
