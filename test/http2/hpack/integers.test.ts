import { describe, expect, test } from 'vitest';
import { hpack, integer, text } from '../wire.ts';
import { Decoding, hex } from './decoding.ts';

/** RFC 7541 section 5.1, by way of the fields that have integers in them. */

describe('RFC 7541 5.1: integers', () => {
  test.each([
    ['an index (7 bits)', 0xff],
    ['a name with indexing (6 bits)', 0x7f],
    ['a table size (5 bits)', 0x3f],
    ['a name without indexing (4 bits)', 0x0f],
    ['a name that is never indexed (4 bits)', 0x1f],
  ])('%s that does not end, is too large or is zeros without end is refused', (_what, first) => {
    for (const rest of [
      '',
      '80',
      'ff',
      'ffffff',
      '80808080',
      '8080808000',
      '80808080808080808000',
      'ffffffff07',
      'ffffffff0f',
      'ffffffffff7f',
      'ffffffffffffffffff01',
      '80808008'.padEnd(16, '0'),
      'ff'.repeat(200),
      '80'.repeat(60_000),
    ])
      expect([
        rest.slice(0, 40),
        new Decoding().refuses(Buffer.concat([Buffer.of(first), hex(rest)])),
      ]).toEqual([rest.slice(0, 40), true]);
  });

  test('one that ends behind its block is refused, though its bytes are there', () => {
    // `Decoding` has bytes behind the block that would end it.
    for (const first of [0xff, 0x7f, 0x3f, 0x0f, 0x1f])
      expect(new Decoding().refuses(Buffer.of(first))).toBe(true);
  });

  test('2^32 more than an index is not that index', () => {
    const wraps = integer(0x80, 7, 2 ** 32 + 2);
    expect(new Decoding().refuses(wraps)).toBe(true);
    expect(new Decoding().refuses(integer(0x80, 7, 2 ** 31 + 2))).toBe(true);
    expect(new Decoding().refuses(integer(0x80, 7, 2 ** 53))).toBe(true);
  });

  test('more bytes than are needed are taken, within reason', () => {
    // 15 + 2 as 0f 82 80 00: `accept-language` has index 17.
    expect(new Decoding().pairs(Buffer.concat([hex('0f828000'), text('de')]))).toEqual([
      ['accept-language', 'de'],
    ]);
  });

  test('the lengths of strings on both sides of each step', () => {
    for (const length of [0, 1, 126, 127, 128, 254, 255, 256, 16_383, 16_384, 16_510, 16_511]) {
      const value = 'v'.repeat(length);
      expect(new Decoding().pairs(hpack.plain('n', value))).toEqual([['n', value]]);
    }
  });
});

describe('RFC 7541 2.3.3: indexes', () => {
  test('0 is an error for a field', () => {
    expect(new Decoding().refuses('80')).toBe(true);
  });

  test('61 is the last of the static table, and 62 the newest of the dynamic one', () => {
    const decoding = new Decoding();
    expect(decoding.pairs(hpack.indexed(61))).toEqual([['www-authenticate', '']]);
    decoding.pairs(hpack.added('a', '1'));
    decoding.pairs(hpack.added('b', '2'));
    expect(decoding.pairs(Buffer.concat([hpack.indexed(62), hpack.indexed(63)]))).toEqual([
      ['b', '2'],
      ['a', '1'],
    ]);
  });

  test.each([hpack.indexed(62), hpack.plain(62, 'v'), hpack.added(62, 'v'), hpack.never(62, 'v')])(
    'one beyond both tables is an error: %#',
    (block) => {
      expect(new Decoding().refuses(block)).toBe(true);
      const decoding = new Decoding();
      decoding.pairs(hpack.added('a', '1'));
      expect(decoding.refuses(block)).toBe(false);
    },
  );

  test('an entry that has fallen out is an error', () => {
    const decoding = new Decoding();
    for (let at = 0; at < 3; at += 1) decoding.pairs(hpack.added('n', `${at}`.padEnd(2_000, 'v')));
    expect(decoding.refuses(hpack.indexed(64))).toBe(true);
  });
});

describe('RFC 7541 5.2: strings', () => {
  test('one that is longer than its block is refused, though there are bytes behind', () => {
    for (const block of [
      '00 05 6162',
      '00 01 61 05 6162',
      '00 01 61',
      '00',
      '40 01 61',
      '42',
      '00 81',
      '00 7f',
    ])
      expect([block, new Decoding().refuses(block)]).toEqual([block, true]);
  });

  test('any byte is in a value as it came, and a name that is none is told apart', () => {
    const all = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte));
    const fields = new Decoding().fields(Buffer.concat([Buffer.of(0), text('n'), text(all)]));
    expect(Buffer.from(fields.list[1] as string, 'latin1')).toEqual(all);
    expect(fields.isSound).toBe(false);
  });
});
