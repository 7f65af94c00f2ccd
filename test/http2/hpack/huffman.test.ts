import fc from 'fast-check';
import { expect, test } from 'vitest';
import { huffmanDecode } from '../../../src/http2/hpack/huffman.ts';
import { bitsOf, CODES, decodePlainly, EOS, packed } from './huffman-codes.ts';

/** As the decoder has it, with no more room than it says it needs; undefined for what is no string. */
function decode(bytes: Uint8Array): Buffer | undefined {
  const into = Buffer.alloc(Math.ceil((bytes.length * 8) / 5));
  const around = Buffer.concat([Buffer.of(0), bytes, Buffer.of(0)]);
  const length = huffmanDecode(around, 1, 1 + bytes.length, into);
  if (length > into.length) throw new Error(`${length} bytes of ${bytes.length}`);
  return length < 0 ? undefined : into.subarray(0, length);
}

test('RFC 7541 B: the table used here is a whole prefix code', () => {
  expect(CODES).toHaveLength(257);
  expect(CODES.reduce((sum, { bits }) => sum + 2 ** -bits, 0)).toBe(1);
});

test('RFC 7541 B: every symbol is decoded, alone and between others', () => {
  for (let symbol = 0; symbol < EOS; symbol += 1) {
    expect(decode(packed(bitsOf([symbol])))).toEqual(Buffer.of(symbol));
    const three = [0x61, symbol, 0x7a];
    expect(decode(packed(bitsOf(three)))).toEqual(Buffer.from(three));
  }
});

test('RFC 7541 B: every two symbols are decoded', () => {
  for (let one = 0; one < EOS; one += 1)
    for (let two = 0; two < EOS; two += 1) {
      const decoded = decode(packed(bitsOf([one, two])));
      if (decoded?.length !== 2 || decoded[0] !== one || decoded[1] !== two)
        expect.fail(`${one}, ${two}: ${decoded?.toString('hex')}`);
    }
});

test('RFC 7541 5.2: what is shorter than a code is padding if it is ones, of up to seven bits', () => {
  expect(decode(Buffer.of())).toEqual(Buffer.of());
  // `0` is 00000, `&` is 11111000.
  expect(decode(packed('00000111'))).toEqual(Buffer.from('0'));
  expect(decode(packed('11111000'))).toEqual(Buffer.from('&'));
  for (const bits of ['00000000', '00000110', '00000011', '11111110'])
    expect(decode(packed(bits))).toBe(undefined);
});

test('RFC 7541 5.2: padding of eight bits or more is an error', () => {
  for (const ones of [8, 16, 24, 29]) {
    expect(decode(packed('1'.repeat(ones)))).toBe(undefined);
    expect(decode(packed(`${bitsOf([0x61])}111${'1'.repeat(ones)}`))).toBe(undefined);
  }
  expect(decode(packed(`${bitsOf([0x26])}${'1'.repeat(8)}`))).toBe(undefined);
});

test('RFC 7541 5.2: EOS is an error wherever it comes', () => {
  expect(decode(packed(bitsOf([EOS])))).toBe(undefined);
  expect(decode(packed(bitsOf([0x61, EOS])))).toBe(undefined);
  expect(decode(packed(bitsOf([EOS, 0x61])))).toBe(undefined);
  expect(decode(packed(bitsOf([0x61, EOS, 0x61])))).toBe(undefined);
});

test('RFC 7541 5.2: padding that is not of ones is an error, after every symbol', () => {
  for (let symbol = 0; symbol < EOS; symbol += 1) {
    const bits = bitsOf([symbol]);
    // What zeros make of it may be another symbol; never may it be taken for padding.
    if (bits.length % 8 !== 0) expect(decode(packed(bits, '0'))).toEqual(decodePlainly(packed(bits, '0')));
  }
});

test('RFC 7541 5.2: every string of one and of two bytes is decoded as bit by bit', () => {
  for (let value = 0; value < 0x1_0000; value += 1) {
    const bytes = value < 0x100 ? [Buffer.of(value)] : [];
    for (const each of [...bytes, Buffer.of(value >>> 8, value & 0xff)]) {
      const [ours, theirs] = [decode(each), decodePlainly(each)];
      if (ours?.toString('hex') !== theirs?.toString('hex')) expect.fail(each.toString('hex'));
    }
  }
});

test('RFC 7541 5.2: any bytes are decoded as bit by bit, within 8/5 of their length', () => {
  // Mostly ones, which is where the long codes are.
  const byte = fc.oneof(fc.integer({ min: 0, max: 255 }), fc.constantFrom(0xff, 0xfe, 0xf8, 0xfc, 0x7f));
  fc.assert(
    fc.property(fc.array(byte, { maxLength: 40 }), (bytes) => {
      const all = Buffer.from(bytes);
      expect(decode(all)).toEqual(decodePlainly(all));
    }),
    { seed: 7_541, numRuns: 5_000 },
  );
});

test('RFC 7541 5.2: the longest that comes out of a block has room', () => {
  const bytes = packed('00000'.repeat((64 * 1024 * 8) / 5));
  expect(decode(bytes)?.length).toBe(Math.floor((64 * 1024 * 8) / 5));
});
