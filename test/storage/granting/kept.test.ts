import { expect, test } from 'vitest';
import { Kept } from '../../../src/storage/granting/kept.ts';

test('what was kept is gone once something ended, and what was read before that is not kept', () => {
  const kept = new Kept<string>(1_000);
  expect(kept.get('a', 1)).toBeUndefined();
  kept.set('a', 'alive', 10, 1);
  expect(kept.get('a', 1)).toBe('alive');
  expect(kept.get('a', 2)).toBeUndefined();
  kept.set('a', 'alive before', 10, 1);
  expect(kept.get('a', 2)).toBeUndefined();
  expect(kept.get('a', 1)).toBeUndefined();
});

test('it holds no more than its bytes, and what came last', () => {
  const kept = new Kept<number>(1_000);
  kept.get('', 0);
  for (let each = 0; each < 500; each += 1) kept.set(String(each), each, 100, 0);
  const held = Array.from({ length: 500 }, (_, each) => kept.get(String(each), 0)).filter(
    (each) => each !== undefined,
  );
  expect(held.length).toBeLessThanOrEqual(10);
  expect(held.at(-1)).toBe(499);
});
