import { expect, test, vi } from 'vitest';
import { ServiceError } from '../../../src/errors.ts';
import { FrameReader } from '../../../src/server/grpc/frames.ts';
import { Gather, type Room } from '../../../src/server/intake/gather.ts';
import { Uploads } from '../../../src/server/intake/uploads.ts';

const tooLarge = (): ServiceError => new ServiceError('payload_too_large', 'too large');
const ANY: Room = { need: () => undefined, giveBack: () => undefined };
const A_BYTE = Uint8Array.of(7);

test('gathers pieces into what they are together, and begins anew', () => {
  const gather = new Gather(100_000, tooLarge, ANY);
  for (const round of [1, 2]) {
    for (let each = 0; each < 30_000; each += 1) gather.add(Uint8Array.of(each % 251));
    const taken = gather.take();
    expect(taken.length, String(round)).toBe(30_000);
    expect(taken.every((byte, at) => byte === at % 251)).toBe(true);
    expect(gather.length).toBe(0);
  }
});

test('what is taken is not written to again', () => {
  const gather = new Gather(10, tooLarge, ANY);
  gather.add(A_BYTE);
  const taken = gather.take();
  gather.add(Uint8Array.of(9));
  expect([...taken]).toEqual([7]);
});

test('refuses one byte too many, and a message of nothing but small pieces', () => {
  const gather = new Gather(3, tooLarge, ANY);
  gather.add(Uint8Array.of(1, 2, 3));
  expect(() => gather.add(A_BYTE)).toThrow(/too large/);
  const slow = new Gather(1 << 22, tooLarge, ANY);
  let pieces = 0;
  expect(() => {
    for (; pieces < 1 << 20; pieces += 1) slow.add(A_BYTE);
  }).toThrow(/too many small pieces/);
  expect(pieces).toBeLessThan(40_000);
});

test('bytes that have come are moved a constant number of times, however small the pieces', () => {
  // A frame of 4 MiB, of which all but a few thousand bytes come at once: each of those used to move all before it.
  const size = 4 * 1024 * 1024;
  const prefix = Buffer.from([0, 0, 0, 0, 0]);
  prefix.writeUInt32BE(size, 1);
  const reader = new FrameReader(ANY);
  const rest = 20_000;
  const moves = vi.spyOn(Uint8Array.prototype, 'set');
  let moved = 0;
  try {
    expect([...reader.push(prefix), ...reader.push(Buffer.alloc(size - rest, 1))]).toEqual([]);
    const messages: Uint8Array[] = [];
    for (let each = 0; each < rest; each += 1) messages.push(...reader.push(A_BYTE));
    expect(messages.map(({ length }) => length)).toEqual([size]);
  } finally {
    for (const [source] of moves.mock.calls) moved += source.length;
    moves.mockRestore();
  }
  expect(moved).toBeGreaterThan(size);
  expect(moved).toBeLessThan(3 * size);
});

test('a claim makes no room', () => {
  const before = process.memoryUsage().arrayBuffers;
  const readers = Array.from({ length: 500 }, () => new FrameReader(ANY));
  for (const reader of readers) expect([...reader.push(Buffer.from([0, 0, 0x3f, 0xff, 0xff]))]).toEqual([]);
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(8 * 1024 * 1024);
  expect(readers.every(({ whole }) => !whole)).toBe(true);
});

test('what is held is counted, for each and for all, until it is taken', () => {
  const uploads = new Uploads();
  const mib = Buffer.alloc(1 << 20);
  const begin = (whom: string): Gather => new Gather(4 << 20, tooLarge, uploads.roomOf(whom));
  const fill = (gather: Gather): void => {
    for (let each = 0; each < 4; each += 1) gather.add(mib);
  };
  const held: Gather[] = [];
  const fillAll = (whom: string): void => {
    for (let each = 0; each < 200; each += 1) {
      held.push(begin(whom));
      fill(held.at(-1) as Gather);
    }
  };
  expect(() => fillAll('a')).toThrow(/unfinished/);
  expect(uploads.held).toBe(256 << 20);
  // Another still has room, until nobody has.
  expect(() => fillAll('b')).toThrow(/unfinished/);
  expect(() => fill(begin('c'))).toThrow(/unfinished/);
  for (const gather of held) gather.take();
  expect(uploads.held).toBe(0);
  fill(begin('c'));
});
