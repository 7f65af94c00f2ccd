import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Admission } from '../../src/decision/admission.ts';
import { OwnCounts, SharedCounts, sharedLedgers } from '../../src/decision/ledger.ts';
import type { TenantNo } from '../../src/storage/rows.ts';
import type { Tenant } from '../../src/tenancy/tenants.ts';

/** What is counted by one thread, and by several together. */

const no = (at: number): TenantNo => at as TenantNo;

function sharedBy(threads: number, monotonic?: () => bigint) {
  const ledgers = sharedLedgers(threads);
  return { ledgers, counts: ledgers.map((ledger) => new SharedCounts(ledger, monotonic)) };
}

interface Step {
  readonly what: 'take' | 'giveBack' | 'pay' | 'wait';
  readonly of: number;
  readonly count: number;
}

const steps = fc.array(
  fc.record<Step>({
    what: fc.constantFrom('take', 'giveBack', 'pay', 'pay', 'wait'),
    of: fc.integer({ min: 0, max: 2 }),
    count: fc.integer({ min: 1, max: 30 }),
  }),
  { maxLength: 200 },
);

/** Of each tenant: they divide a second, so that none is rounded. */
const RATES = [1, 8, 100];

describe('counts that are shared', () => {
  test('are those of one thread, where one thread counts', () => {
    fc.assert(
      fc.property(steps, (all) => {
        let ms = 1_000;
        const own = new OwnCounts(() => ms);
        const [shared] = sharedBy(1, () => BigInt(ms) * 1_000_000n).counts as [SharedCounts];
        const taken = [0, 0, 0];
        for (const { what, of, count } of all) {
          const before = taken[of] ?? 0;
          if (what === 'wait') ms += count * 5;
          else if (what === 'pay') {
            const rate = RATES[of] ?? 1;
            const [theirs, ours] = [shared.pay(no(of), rate, count), own.pay(no(of), rate, count)];
            // One counts parts of a decision, the other nanoseconds.
            expect(Math.abs(theirs - ours)).toBeLessThanOrEqual(1);
            if ((theirs === 0) !== (ours === 0)) return;
          } else {
            const many = what === 'take' ? count : Math.min(count, before);
            if (many === 0) continue;
            taken[of] = before + (what === 'take' ? many : -many);
            own[what](no(of), many);
            shared[what](no(of), many);
          }
          expect([shared.open, shared.busy, shared.openOf(no(of))]).toEqual([
            own.open,
            own.busy,
            own.openOf(no(of)),
          ]);
        }
      }),
    );
  });

  test('are the sums of what several threads have taken, and give back what one had that ended', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(1), fc.nat(2), fc.integer({ min: 1, max: 9 }))), (all) => {
        const { ledgers, counts } = sharedBy(2);
        const [main, other] = counts as [SharedCounts, SharedCounts];
        const sums = [0, 0, 0];
        const mains = [0, 0, 0];
        for (const [by, of, count] of all) {
          counts[by]?.take(no(of), count);
          sums[of] = (sums[of] ?? 0) + count;
          if (by === 0) mains[of] = (mains[of] ?? 0) + count;
        }
        const seen = ({ open, busy }: SharedCounts) => [open, busy];
        const expected = (of: readonly number[]) => [
          of.reduce((sum, each) => sum + each, 0),
          of.filter((each) => each > 0).length,
        ];
        expect([seen(main), seen(other)]).toEqual([expected(sums), expected(sums)]);
        // By whoever sees its end, and once: its places are another's then.
        const ended = ledgers[1];
        if (ended) for (let time = 0; time < 2; time += 1) new SharedCounts(ended).release();
        expect(seen(main)).toEqual(expected(mains));
        expect(sums.map((_, of) => main.openOf(no(of)))).toEqual(mains);
      }),
    );
  });

  test('a rate is one for all threads, and its bucket holds a second’s worth', () => {
    let ns = 1_000_000_000n;
    const { counts } = sharedBy(3, () => ns);
    const paid = (): number => {
      let sum = 0;
      for (let round = 0; round < 20; round += 1)
        for (const each of counts) if (each.pay(no(7), 10, 1) === 0) sum += 1;
      return sum;
    };
    expect(paid()).toBe(10);
    ns += 300_000_000n;
    expect(paid()).toBe(3);
    ns += 3_600_000_000_000n;
    expect(paid()).toBe(10);
  });
});

describe('admission in two threads', () => {
  const tenant = (at: number, limits = {}): Tenant =>
    ({ no: no(at), id: `t${at}`, manifest: { limits } }) as unknown as Tenant;
  const two = (bound: number): Admission[] =>
    sharedBy(2).counts.map((counts) => new Admission(() => 0, bound, counts));

  test('a tenant that has more than its share is refused by both, and another is not', () => {
    const [a, b] = two(8) as [Admission, Admission];
    a.enter(tenant(1), 3);
    b.enter(tenant(1), 2);
    // Of eight, four are half; with one tenant busy its share is that half.
    for (const each of [a, b]) expect(() => each.enter(tenant(1), 1)).toThrow('too many decisions');
    b.enter(tenant(2), 1);
    for (const each of [a, b]) expect(() => each.enter(tenant(1), 1)).toThrow('too many decisions');
  });

  test('the bound is one for both, and what one gives back the other may take', () => {
    const [a, b] = two(4) as [Admission, Admission];
    const shares = [1, 2, 3, 4].map((at) => (at % 2 ? a : b).enter(tenant(at), 1));
    for (const each of [a, b]) expect(() => each.enter(tenant(5), 1)).toThrow('too many decisions');
    expect([a.open, b.open]).toEqual([4, 4]);
    const [first] = shares;
    if (first) a.leave(first, 1);
    b.enter(tenant(5), 1);
    expect(() => a.enter(tenant(6), 1)).toThrow('too many decisions');
  });
});
