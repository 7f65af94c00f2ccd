import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { TenantNo } from '../../../src/storage/rows.ts';
import { temporaryFolder } from '../store.ts';
import { Stage } from './stage.ts';

/** Whatever was committed, filed, failed or killed: each log is read, searched and proved as if there were no journal. */

const TENANTS = 40;
/** By turns of almost all tenants and of a few, some of which have most of the records, as it is. */
const commit = fc
  .record({
    count: fc.integer({ min: 1, max: 250 }),
    skew: fc.constantFrom(1, 1, 1.5, 6),
    seed: fc.integer({ min: 1, max: 1e6 }),
  })
  .map(({ count, skew, seed }) =>
    Array.from({ length: count }, (_, at) => {
      const x = ((seed * (at + 7919) * 2_654_435_761) % 4_294_967_291) / 4_294_967_291;
      return (1 + Math.floor(x ** skew * TENANTS)) as TenantNo;
    }),
  );
const step = fc.oneof(
  { weight: 8, arbitrary: commit.map((tenants) => ({ name: 'commit' as const, tenants })) },
  { weight: 1, arbitrary: fc.constant({ name: 'file' as const }) },
  { weight: 1, arbitrary: fc.constant({ name: 'kill' as const }) },
  { weight: 2, arbitrary: commit.map((tenants) => ({ name: 'not persisted' as const, tenants })) },
  { weight: 2, arbitrary: commit.map((tenants) => ({ name: 'persisted' as const, tenants })) },
);

test('a log is the same before its records are filed and after', async () => {
  let most = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 4, maxLength: 16, size: 'max' }), async (steps) => {
      await using place = await temporaryFolder();
      // So little that commits file what others brought.
      using stage = new Stage(place.folder, TENANTS, 100_000);
      for (const each of steps) {
        if (each.name === 'commit') stage.commit(each.tenants);
        else if (each.name === 'file') stage.file();
        else if (each.name === 'kill') stage.reopen();
        else {
          const { indexes, bodies } = stage.begin(each.tenants);
          stage.log.write();
          stage.db.exec(each.name === 'persisted' ? 'COMMIT' : 'ROLLBACK');
          stage.log.forget();
          if (each.name === 'persisted') stage.keep(bodies, indexes);
        }
        most = Math.max(most, stage.journalRows);
        expect(stage.differences()).toEqual([]);
      }
      expect(stage.differences(stage.db)).toEqual([]);
      stage.file();
      expect(stage.journalRows).toBe(0);
      expect(stage.differences()).toEqual([]);
    }),
    { numRuns: 6 },
  );
  expect(most).toBeGreaterThan(1);
});
