import type { Socket } from 'node:net';
import { expect, test } from 'vitest';
import { Output } from '../../src/http2/wire/output.ts';

/** A socket whose peer reads nothing, and then all. */
function deaf() {
  const written: Buffer[] = [];
  let taken: (() => void) | undefined;
  const write = (bytes: Uint8Array, done: () => void): boolean => {
    written.push(Buffer.from(bytes));
    taken = done;
    return false;
  };
  return {
    socket: { writable: true, write, end: () => undefined } as unknown as Socket,
    written,
    take: () => taken?.(),
  };
}

test('what waits for a peer that does not read takes about what it is, in however many turns it came', () => {
  const { socket, written, take } = deaf();
  const nothing = (): void => undefined;
  const output = new Output(socket, nothing, nothing);
  output.isHeld = true;
  const before = process.memoryUsage().arrayBuffers;
  for (let turn = 0; turn < 5_000; turn += 1) {
    output.frame(0, 6, 1, turn);
    output.flush();
  }
  // A buffer of 64 KiB for each turn would be 320 MiB.
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(2 * 1024 * 1024);
  for (let round = 0; round < 5; round += 1) take();
  expect(Buffer.concat(written)).toHaveLength(5_000 * 9);
});
