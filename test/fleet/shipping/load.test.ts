import { expect, test } from 'vitest';
import { Load } from '../../../src/fleet/shipping/load.ts';
import { eventually } from '../../e2e/server.ts';

test('a thread is full from nine tenths of its time on, and no more below seven', () => {
  const load = new Load();
  const seen = new Load(load.shared);
  const steps = [0.5, 0.9, 0.95, 0.8, 0.71, 0.69, 0.85, 0.91, 0].map((part) => {
    load.tell(part);
    return seen.isFull;
  });
  expect(steps).toEqual([false, false, true, true, true, false, false, true, false]);
});

test('it is seen of the thread that looks, busy and at rest', async () => {
  const load = new Load();
  const seen = new Load(load.shared);
  using keeping = load.keep();
  let isBusy = true;
  const spin = (): void => {
    for (const end = performance.now() + 5; performance.now() < end; );
    if (isBusy) setImmediate(spin);
  };
  spin();
  await eventually(
    () => Promise.resolve(seen.isFull),
    (isFull) => isFull,
  );
  isBusy = false;
  await eventually(
    () => Promise.resolve(seen.isFull),
    (isFull) => !isFull,
  );
  load.tell(1);
  keeping[Symbol.dispose]();
  expect(seen.isFull).toBe(false);
});
