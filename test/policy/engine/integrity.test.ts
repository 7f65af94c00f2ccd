import { expect, test } from 'vitest';
import { Heap } from '../../../src/policy/engine/heap.ts';
import { Integrity } from '../../../src/policy/engine/integrity.ts';
import { wasm } from '../../../src/policy/engine/webassembly.ts';

const spans = [
  { start: 1_000, end: 20_000 },
  { start: 30_000, end: 60_000 },
];

test('finds one bit that was turned in what evaluations only read, within as many as it has to', () => {
  for (const at of [1_000, 19_999, 30_000, 59_999]) {
    const heap = new Heap(new wasm.Memory({ initial: 1 }));
    const integrity = new Integrity(heap, spans);
    expect(integrity.isWhole()).toBe(true);
    heap.view[at] = 1;
    expect(integrity.isWhole()).toBe(false);
    const looks = Array.from({ length: 1_000 }, () => integrity.holds());
    expect(looks.indexOf(false)).toBeGreaterThan(0);
  }
});

test('does not mind what evaluations write, nor a memory that grows', () => {
  const memory = new wasm.Memory({ initial: 1, maximum: 4 });
  const heap = new Heap(memory);
  const integrity = new Integrity(heap, spans);
  heap.view.fill(7, 0, 1_000);
  heap.view.fill(7, 20_000, 30_000);
  heap.view.fill(7, 60_000);
  (memory as unknown as { grow: (pages: number) => void }).grow(1);
  expect(Array.from({ length: 1_000 }, () => integrity.holds())).not.toContain(false);
});
