import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Holding } from '../../src/http2/bounds/holding.ts';
import { Tally } from './echo.ts';

const STEP = 16 * 1024;

test('what is taken of a budget is what is held and little more, and all is given back', () => {
  const change = fc.oneof(fc.integer({ min: 1, max: 200_000 }), fc.integer({ min: 1, max: 40 }));
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.boolean(), change), { maxLength: 60 }),
      fc.integer({ min: 0, max: 1_000_000 }),
      fc.integer({ min: 0, max: 1_000_000 }),
      (changes, total, max) => {
        // It throws for what is given back and was not taken.
        const budget = new Tally(total);
        const holding = new Holding(budget, max);
        let held = 0;
        for (const [isMore, bytes] of changes) {
          const by = isMore ? bytes : -Math.min(bytes, held);
          const before = budget.held;
          if (holding.change(by)) held += by;
          else expect([isMore, budget.held]).toEqual([true, before]);
          expect(held).toBeLessThanOrEqual(Math.min(max, total));
          expect(budget.held).toBeGreaterThanOrEqual(held);
          expect(budget.held).toBeLessThanOrEqual(Math.ceil(held / STEP) * STEP + 4 * STEP);
          if (held === 0) expect(budget.held).toBe(0);
        }
        holding.release();
        expect(budget.held).toBe(0);
        holding.release();
        expect(budget.held).toBe(0);
      },
    ),
    { seed: 9_113, numRuns: 500 },
  );
});
