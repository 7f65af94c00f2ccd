import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { HeaderBlock, HpackEncoder } from '../../../src/http2/hpack/encoder.ts';
import { STATIC_TABLE } from '../../../src/http2/hpack/static-table.ts';
import { Decoding, type Pair } from './decoding.ts';

const GRPC: Pair[] = [
  [':status', '200'],
  ['content-type', 'application/grpc+proto'],
];
const DONE: Pair[] = [['grpc-status', '0']];

describe('RFC 9113 8.2.1: a header block that is made for answers', () => {
  test.each([
    ['capitals in a name', 'Name', 'v'],
    ['no name', '', 'v'],
    ['a colon alone', ':', 'v'],
    ['a blank in a name', 'a b', 'v'],
    ['a name beyond ASCII', 'n\xe4me', 'v'],
    ['a newline behind a name', 'name\n', 'v'],
    ['a new line in a value', 'n', 'a\r\nb: c'],
    ['a newline behind a value', 'n', 'v\n'],
    ['a NUL', 'n', '\0'],
    ['DEL', 'n', '\x7f'],
    ['a character that is no byte', 'n', '\u0101'],
    ['half a character', 'n', '\ud800'],
  ])('takes none with %s', (_what, name, value) => {
    expect(() => new HeaderBlock([[name, value]])).toThrow(TypeError);
  });

  test('takes off blanks and tabs at both ends of a value, which it may not have', () => {
    expect(new HeaderBlock([['n', ' \ta b\t ']]).pairs).toEqual(['n', 'a b']);
  });

  test('leaves every other byte of a value: 0xa0 is half of a character in UTF-8, and no blank', () => {
    const utf8 = Buffer.from('voilà', 'utf8').toString('latin1');
    expect(new HeaderBlock([['n', utf8]]).pairs).toEqual(['n', utf8]);
    expect(new HeaderBlock([['n', '\x85a\xa0']]).pairs).toEqual(['n', '\x85a\xa0']);
  });

  test('tells its status', () => {
    expect(new HeaderBlock(GRPC).status).toBe('200');
    expect(new HeaderBlock(DONE).status).toBe(undefined);
  });
});

describe('RFC 7541 6: the encoder of answers', () => {
  const values = ['0', '12', '200', '404', '599', 'application/grpc+proto', 'text/plain', '', '\xe4', 'a, b'];
  const name = fc.oneof(
    fc.constantFrom('content-type', 'grpc-status', 'grpc-message', 'server', 'set-cookie', ':status'),
    fc.constantFrom(...STATIC_TABLE.filter((_, at) => at % 2 === 0)),
    fc.stringMatching(/^[a-z-]{1,200}$/),
  );
  const value = fc.oneof(
    fc.constantFrom(...values, ...STATIC_TABLE.filter((_, at) => at % 2 === 1)),
    fc.stringMatching(/^[!-~\xa1-\xff]{0,300}$/),
  );
  const list = fc.array(fc.oneof(fc.tuple(name, value), fc.constantFrom(...GRPC, ...DONE)), {
    maxLength: 12,
  });

  test('any answers on one connection, decoded as they were', () => {
    fc.assert(
      fc.property(fc.array(list, { maxLength: 8 }), fc.nat(8), fc.nat(5_000), (lists, at, size) => {
        const encoder = new HpackEncoder();
        const decoding = new Decoding();
        for (const [turn, each] of lists.entries()) {
          if (turn === at) encoder.limit(size);
          expect(decoding.pairs(encoder.of(new HeaderBlock(each)))).toEqual(each);
          if (turn >= at && size < 4_096) expect(decoding.held).toBe(0);
        }
      }),
      { seed: 7_541, numRuns: 300 },
    );
  });

  test('each gRPC answer after the first is a few bytes', () => {
    const encoder = new HpackEncoder();
    encoder.of(new HeaderBlock(GRPC));
    encoder.of(new HeaderBlock(DONE));
    expect(encoder.of(new HeaderBlock(GRPC))).toHaveLength(2);
    expect(encoder.of(new HeaderBlock(DONE))).toHaveLength(1);
  });

  test('RFC 7541 4.2: a table that became smaller is told of once, where the next block begins, and not used', () => {
    const encoder = new HpackEncoder();
    const block = new HeaderBlock([...GRPC, ...DONE]);
    encoder.of(block);
    encoder.limit(4_095);
    encoder.limit(0);
    encoder.limit(65_536);
    const [after, next] = [encoder.of(block), encoder.of(block)];
    expect(after[0]).toBe(0x20);
    expect(Buffer.from(next)).toEqual(Buffer.from(after.subarray(1)));
  });
});
