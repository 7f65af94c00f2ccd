import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseTilePath, type TileName, tilePath } from '../../src/merkle/tile-path.ts';

/** C2SP tlog-tiles, "Merkle Tree" and "Log entries". */

const known: readonly (readonly [string, TileName])[] = [
  ['tile/0/000', { level: 0, at: 0, width: 256 }],
  ['tile/0/x001/x234/067', { level: 0, at: 1_234_067, width: 256 }],
  ['tile/0/x001/x234/067.p/1', { level: 0, at: 1_234_067, width: 1 }],
  ['tile/entries/x001/x234/067', { level: 'entries', at: 1_234_067, width: 256 }],
  ['tile/entries/000.p/255', { level: 'entries', at: 0, width: 255 }],
  ['tile/0/273.p/112', { level: 0, at: 273, width: 112 }],
  ['tile/1/001.p/17', { level: 1, at: 1, width: 17 }],
  ['tile/2/000.p/1', { level: 2, at: 0, width: 1 }],
  ['tile/9/999', { level: 9, at: 999, width: 256 }],
  ['tile/10/x001/000', { level: 10, at: 1_000, width: 256 }],
  ['tile/63/x999/999', { level: 63, at: 999_999, width: 256 }],
  // The last of a log of 2^53 leaves.
  ['tile/0/x035/x184/x372/x088/831', { level: 0, at: 2 ** 45 - 1, width: 256 }],
];

describe('C2SP tlog-tiles: the path of a tile', () => {
  test.each(known)('%s', (path, name) => {
    expect(tilePath(name)).toBe(path);
    expect(parseTilePath(path)).toEqual(name);
  });

  test('any name leads to a path of its own, and back', () => {
    const names = fc.record<TileName>({
      level: fc.oneof(fc.integer({ min: 0, max: 63 }), fc.constant('entries' as const)),
      at: fc.oneof(fc.integer({ min: 0, max: 2_000 }), fc.integer({ min: 0, max: 2 ** 45 })),
      width: fc.integer({ min: 1, max: 256 }),
    });
    fc.assert(
      fc.property(names, (name) => {
        expect(parseTilePath(tilePath(name))).toEqual(name);
      }),
      { numRuns: 2_000 },
    );
  });
});

describe('C2SP tlog-tiles: a path in any other spelling is none', () => {
  test.each([
    '',
    '/',
    'tile',
    'tile/',
    'tile/0',
    'tile/0/',
    'tile/0/0',
    'tile/0/00',
    'tile/0/0000',
    'tile//000',
    'tile/00/000',
    'tile/01/000',
    'tile/+1/000',
    'tile/-1/000',
    'tile/64/000',
    'tile/99/000',
    'tile/100/000',
    'tile/data/000',
    'tile/Entries/000',
    'tile/ENTRIES/000',
    'Tile/0/000',
    'TILE/0/000',
    'tile/8/0/000',
    '/tile/0/000',
    './tile/0/000',
    '../tile/0/000',
    'tile/../tile/0/000',
    'tile/0/../0/000',
    'tile/0/..',
    'tile/0/.',
    'tile/0//000',
    'tile/0/000/',
    'tile/0/000 ',
    ' tile/0/000',
    'tile/0/000\n',
    '\ntile/0/000',
    'tile/0/000\0',
    'tile/0/000?',
    'tile/0/000#',
    'tile/0/%30%30%30',
    'tile\\0\\000',
    'tile/0/x000',
    'tile/0/x001',
    'tile/0/001/000',
    'tile/0/x000/000',
    'tile/0/x000/001',
    'tile/0/x000/x001/000',
    'tile/0/X001/000',
    'tile/0/x001/x000',
    'tile/0/x01/000',
    'tile/0/x0001/000',
    'tile/0/xx01/000',
    'tile/0/x001//000',
    'tile/0/x001/00',
    'tile/0/x001/0000',
    'tile/0/x-01/000',
    'tile/0/-01',
    'tile/0/1e3',
    'tile/0/0x1',
    'tile/0/٠٠٠',
    'tile/0/０００',
    'tile/0/x999/x999/x999/x999/x999/999',
    'tile/0/000.p',
    'tile/0/000.p/',
    'tile/0/000.p/0',
    'tile/0/000.p/00',
    'tile/0/000.p/01',
    'tile/0/000.p/001',
    'tile/0/000.p/256',
    'tile/0/000.p/257',
    'tile/0/000.p/300',
    'tile/0/000.p/999',
    'tile/0/000.p/1000',
    'tile/0/000.p/-1',
    'tile/0/000.p/+1',
    'tile/0/000.p/1.0',
    'tile/0/000.p/1/',
    'tile/0/000.p/1.p/1',
    'tile/0/000.p/1\n',
    'tile/0/000.P/1',
    'tile/0/000/p/1',
    'tile/0/000p/1',
    'tile/0/000..p/1',
    'tile/0/x001.p/1/000',
    'tile/0.p/1',
    'tile/entries',
    'tile/entries/',
    'tile/entries/0',
    'tile/entries/000.p/0',
    'tile/entries/000.p/256',
    'tile/entries/0/000',
    'checkpoint',
  ])('%j', (path) => {
    expect(parseTilePath(path)).toBeUndefined();
  });

  test('one that has a character more, less or other is none, or another one', () => {
    const paths = known.map(([path]) => path);
    const spelling = fc
      .tuple(
        fc.constantFrom(...paths),
        fc.nat(30),
        fc.integer({ min: 0, max: 2 }),
        fc.constantFrom(...'0159x./pPX -+\n%\0e'.split(''), ''),
      )
      .map(([path, at, less, more]) => `${path.slice(0, at)}${more}${path.slice(at + less)}`);
    fc.assert(
      fc.property(spelling, (path) => {
        const name = parseTilePath(path);
        if (!name) return;
        expect(tilePath(name)).toBe(path);
        expect(name.width >= 1 && name.width <= 256).toBe(true);
        expect(name.level === 'entries' || (name.level >= 0 && name.level <= 63)).toBe(true);
      }),
      { numRuns: 5_000 },
    );
  });
});
