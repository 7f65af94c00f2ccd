import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ConnectionError, ErrorCode } from '../../../src/http2/errors.ts';
import { hpack, integer } from '../wire.ts';
import { Decoding } from './decoding.ts';
import { bitsOf, packed } from './huffman-codes.ts';

/** Whatever comes: fields within the limit or a COMPRESSION_ERROR, and never more in the table than was allowed. */
function take(decoding: Decoding, block: Uint8Array, limit: number): boolean {
  try {
    const { list, isWhole, size } = decoding.fields(block, limit);
    const kept = list.reduce((sum, part) => sum + part.length + 16, 0);
    expect(list.length % 2).toBe(0);
    expect(kept).toBeLessThanOrEqual(limit);
    expect(isWhole).toBe(size === kept);
    return true;
  } catch (error) {
    if (!(error instanceof ConnectionError)) throw error;
    expect(error.code).toBe(ErrorCode.COMPRESSION_ERROR);
    return false;
  } finally {
    expect(decoding.held).toBeLessThanOrEqual(4_096);
    expect(decoding.held).toBeGreaterThanOrEqual(0);
  }
}

const limit = fc.constantFrom(0, 32, 33, 100, 1_000, 32 * 1024);

test('RFC 7541: any bytes, block after block until one is refused', () => {
  const block = fc.uint8Array({ maxLength: 300 });
  fc.assert(
    fc.property(fc.array(block, { maxLength: 6 }), limit, (blocks, limit) => {
      const decoding = new Decoding();
      for (const each of blocks) if (!take(decoding, each, limit)) break;
    }),
    { seed: 7_541, numRuns: 4_000 },
  );
});

const text = fc.stringMatching(/^[ -~]{0,40}$/);
const huffman = text.map((value) => {
  const bytes = packed(bitsOf(Buffer.from(value, 'latin1')));
  return Buffer.concat([integer(0x80, 7, bytes.length), bytes]);
});
const field = fc.oneof(
  fc.tuple(text, text).map((pair) => hpack.added(...pair)),
  fc.tuple(text, text).map((pair) => hpack.plain(...pair)),
  fc.nat(80).map(hpack.indexed),
  fc.tuple(fc.integer({ min: 1, max: 80 }), text).map((pair) => hpack.added(...pair)),
  fc
    .tuple(fc.integer({ min: 1, max: 61 }), huffman)
    .map(([index, value]) => Buffer.concat([integer(0x40, 6, index), value])),
  fc.nat(5_000).map(hpack.resize),
);
const block = fc.array(field, { maxLength: 12 }).map((fields) => Buffer.concat(fields));

const edit = fc.record({
  at: fc.double({ min: 0, max: 0.999, noNaN: true }),
  kind: fc.constantFrom('set', 'cut', 'insert', 'remove', 'flip'),
  byte: fc.nat(255),
});

function edited(bytes: Buffer, { at, kind, byte }: { at: number; kind: string; byte: number }): Buffer {
  const copy = Buffer.from(bytes);
  const index = Math.floor(at * copy.length);
  if (kind === 'cut') return copy.subarray(0, index);
  if (kind === 'insert')
    return Buffer.concat([copy.subarray(0, index), Buffer.of(byte), copy.subarray(index)]);
  if (kind === 'remove') return Buffer.concat([copy.subarray(0, index), copy.subarray(index + 1)]);
  if (copy.length > 0) copy[index] = kind === 'set' ? byte : (copy[index] as number) ^ (1 << (byte % 8));
  return copy;
}

test('RFC 7541: blocks of fields with a few bytes changed, cut, put in or taken out', () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(block, fc.array(edit, { maxLength: 3 })), { maxLength: 6 }),
      limit,
      (all, limit) => {
        const decoding = new Decoding();
        for (const [bytes, edits] of all) if (!take(decoding, edits.reduce(edited, bytes), limit)) break;
      },
    ),
    { seed: 7_541, numRuns: 4_000 },
  );
});

test('RFC 7541 7.3: what is beyond the limit is counted and not kept, and the table goes on', () => {
  const decoding = new Decoding();
  decoding.fields(hpack.added('large', 'v'.repeat(4_000)));
  const bomb = Buffer.alloc(60_000, hpack.indexed(62));
  const { list, size, isWhole } = decoding.fields(bomb);
  expect(size).toBe(60_000 * (4_000 + 5 + 32));
  expect(list).toHaveLength(2 * 8);
  expect(isWhole).toBe(false);
  decoding.fields(Buffer.concat([bomb, hpack.added('late', 'entry')]));
  expect(decoding.pairs(hpack.indexed(62))).toEqual([['late', 'entry']]);
});
