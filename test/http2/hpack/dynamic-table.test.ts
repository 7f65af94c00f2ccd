import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { hpack } from '../wire.ts';
import { Decoding, type Pair } from './decoding.ts';

const join = (...parts: Uint8Array[]): Buffer => Buffer.concat(parts);
/** A value that makes an entry of a one-letter name so many bytes. */
const entryOf = (size: number): string => 'v'.repeat(size - 33);

describe('RFC 7541 4.2 and 6.3: the size of the table', () => {
  test('an update is taken where a block begins, and two of them', () => {
    const decoding = new Decoding();
    decoding.pairs(hpack.added('a', '1'));
    const block = join(hpack.resize(0), hpack.resize(4_096), hpack.added('b', '2'), hpack.indexed(62));
    expect(decoding.pairs(block)).toEqual([
      ['b', '2'],
      ['b', '2'],
    ]);
    expect(decoding.held).toBe(34);
  });

  test.each([
    ['an indexed field', hpack.indexed(2)],
    ['a literal', hpack.plain('a', '1')],
    ['a literal with indexing', hpack.added('a', '1')],
    ['a literal that is never indexed', hpack.never('a', '1')],
  ])('an update after %s is an error', (_what, field) => {
    expect(new Decoding().refuses(join(field, hpack.resize(100)))).toBe(true);
    expect(new Decoding().refuses(join(hpack.resize(10), field, hpack.resize(100), field))).toBe(true);
  });

  test('a size of more than was allowed is an error, also for a moment', () => {
    expect(new Decoding().refuses(hpack.resize(4_097))).toBe(true);
    expect(new Decoding().refuses(hpack.resize(2 ** 24))).toBe(true);
    expect(new Decoding().refuses(join(hpack.resize(65_536), hpack.resize(0)))).toBe(true);
    expect(new Decoding().refuses(hpack.resize(4_096))).toBe(false);
  });

  test('a smaller size makes the oldest fall out, and a size of 0 all of them', () => {
    const decoding = new Decoding();
    for (const name of ['a', 'b', 'c']) decoding.pairs(hpack.added(name, entryOf(100)));
    decoding.pairs(hpack.resize(299));
    expect(decoding.held).toBe(200);
    expect(decoding.refuses(hpack.indexed(64))).toBe(true);
    decoding.pairs(hpack.resize(0));
    expect(decoding.held).toBe(0);
    decoding.pairs(hpack.added('d', ''));
    expect(decoding.held).toBe(0);
    expect(decoding.refuses(hpack.indexed(62))).toBe(true);
  });

  test('the size that was chosen stays for the blocks to come', () => {
    const decoding = new Decoding();
    decoding.pairs(hpack.resize(68));
    for (const name of ['a', 'b', 'c']) decoding.pairs(hpack.added(name, '1'));
    expect(decoding.held).toBe(68);
    expect(decoding.pairs(hpack.indexed(63))).toEqual([['b', '1']]);
  });

  test('a block of updates alone has no fields', () => {
    expect(new Decoding().pairs(join(hpack.resize(0), hpack.resize(10)))).toEqual([]);
  });
});

describe('RFC 7541 4.1 and 4.4: entries', () => {
  test('one as large as the table fits, and one of a byte more empties it and is no error', () => {
    const decoding = new Decoding();
    decoding.pairs(hpack.added('a', '1'));
    expect(decoding.pairs(hpack.added('b', entryOf(4_096)))).toHaveLength(1);
    expect(decoding.held).toBe(4_096);
    decoding.pairs(hpack.added('a', '1'));
    expect(decoding.held).toBe(34);
    expect(decoding.pairs(hpack.added('b', entryOf(4_097)))).toEqual([['b', entryOf(4_097)]]);
    expect(decoding.held).toBe(0);
  });

  test('the most entries that fit, without name or value, and each is found', () => {
    const decoding = new Decoding();
    for (let round = 0; round < 3; round += 1) {
      for (let at = 0; at < 128; at += 1) decoding.fields(hpack.added('', ''));
      expect(decoding.held).toBe(4_096);
      expect(decoding.refuses(hpack.indexed(61 + 128))).toBe(false);
      expect(decoding.refuses(hpack.indexed(61 + 129))).toBe(true);
    }
  });

  test('RFC 7541 4.4: the name of an entry that falls out for the new one is still its name', () => {
    const decoding = new Decoding();
    decoding.pairs(hpack.added('name', 'v'.repeat(4_000)));
    expect(decoding.pairs(hpack.added(62, 'w'.repeat(4_000)))).toEqual([['name', 'w'.repeat(4_000)]]);
    expect(decoding.pairs(hpack.indexed(62))).toEqual([['name', 'w'.repeat(4_000)]]);
  });

  test('bytes are counted, not characters: beyond ASCII too', () => {
    const decoding = new Decoding();
    decoding.pairs(hpack.added('n', '\xe4\xf6\xfc'));
    expect(decoding.held).toBe(36);
    expect(decoding.pairs(hpack.indexed(62))).toEqual([['n', '\xe4\xf6\xfc']]);
  });
});

describe('RFC 9113 8.2.1: what is no field', () => {
  test('makes each request malformed that uses it from the table, and no other', () => {
    const decoding = new Decoding();
    expect(decoding.fields(hpack.added('Name', 'v')).isSound).toBe(false);
    expect(decoding.fields(hpack.indexed(62)).isSound).toBe(false);
    expect(decoding.fields(hpack.plain(62, 'v')).isSound).toBe(false);
    expect(decoding.fields(hpack.added('name', 'a\r\nb')).isSound).toBe(false);
    expect(decoding.fields(hpack.indexed(62)).isSound).toBe(false);
    expect(decoding.fields(hpack.plain(62, 'v')).isSound).toBe(true);
    expect(decoding.fields(hpack.added(62, 'v')).isSound).toBe(true);
    expect(decoding.fields(hpack.indexed(62)).isSound).toBe(true);
    expect(decoding.fields(hpack.indexed(2)).isSound).toBe(true);
  });
});

/** The table as RFC 7541 section 2.3.2 describes it, in an array. */
class Model {
  entries: Pair[] = [];
  max = 4_096;

  get size(): number {
    return this.entries.reduce((sum, [name, value]) => sum + name.length + value.length + 32, 0);
  }

  add(pair: Pair): void {
    this.entries.unshift(pair);
    this.fit();
  }

  fit(): void {
    while (this.size > this.max) this.entries.pop();
  }
}

describe('RFC 7541 2.3: any fields, as a plain table has them', () => {
  const name = fc.stringMatching(/^[a-z-]{1,12}$/);
  const value = fc.oneof(
    fc.stringMatching(/^[!-~]{0,20}$/),
    fc.integer({ min: 0, max: 5_000 }).map((length) => 'v'.repeat(length)),
  );
  const step = fc.oneof(
    { weight: 4, arbitrary: fc.record({ kind: fc.constant('added' as const), name, value }) },
    {
      weight: 1,
      arbitrary: fc.record({ kind: fc.constantFrom('plain' as const, 'never' as const), name, value }),
    },
    { weight: 4, arbitrary: fc.record({ kind: fc.constant('indexed' as const), index: fc.nat(200) }) },
    {
      weight: 2,
      arbitrary: fc.record({
        kind: fc.constantFrom('renamed' as const, 'kept' as const),
        index: fc.nat(200),
        value,
      }),
    },
    { weight: 1, arbitrary: fc.record({ size: fc.nat(4_096) }) },
  );

  test('block after block', () => {
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 80 }), (steps) => {
        const decoding = new Decoding();
        const model = new Model();
        for (const each of steps) {
          const count = model.entries.length;
          if ('size' in each) {
            model.max = each.size;
            model.fit();
            expect(decoding.pairs(hpack.resize(each.size))).toEqual([]);
          } else if ('name' in each) {
            const pair: Pair = [each.name, each.value];
            expect(decoding.pairs(hpack[each.kind](...pair))).toEqual([pair]);
            if (each.kind === 'added') model.add(pair);
          } else if (count > 0) {
            const entry = each.index % count;
            const [name, value] = model.entries[entry] as Pair;
            const pair: Pair = [name, 'value' in each ? each.value : value];
            const block = {
              indexed: hpack.indexed(62 + entry),
              renamed: hpack.plain(62 + entry, pair[1]),
              kept: hpack.added(62 + entry, pair[1]),
            }[each.kind];
            expect(decoding.pairs(block)).toEqual([pair]);
            if (each.kind === 'kept') model.add(pair);
          }
          expect(decoding.held).toBe(model.size);
        }
      }),
      { seed: 7_541, numRuns: 150 },
    );
  });
});
