import { describe, expect, test } from 'vitest';
import { hpack } from '../wire.ts';
import { Decoding, hex, type Pair } from './decoding.ts';

/** RFC 7541 Appendix C, typed from there. */

describe('RFC 7541 C.1: integers', () => {
  test('RFC 7541 C.1.1: 10 with a 5-bit prefix, as a table of 10 bytes that holds nothing', () => {
    const decoding = new Decoding();
    decoding.pairs(Buffer.concat([hex('2a'), hpack.added('', '')]));
    expect(decoding.held).toBe(0);
  });

  test('RFC 7541 C.1.2: 1337 with a 5-bit prefix, as a table of that many bytes', () => {
    const decoding = new Decoding();
    const fits = hpack.added('n', 'v'.repeat(1337 - 33));
    decoding.pairs(Buffer.concat([hex('3f9a0a'), fits]));
    expect(decoding.held).toBe(1337);
    decoding.pairs(hpack.added('n', 'v'.repeat(1337 - 32)));
    expect(decoding.held).toBe(0);
  });

  test('RFC 7541 C.1.3: 42 where an octet begins, in one byte, as an index', () => {
    expect(new Decoding().pairs(Buffer.of(0x80 | 0x2a))).toEqual([['if-range', '']]);
  });
});

describe('RFC 7541 C.2: fields', () => {
  test('RFC 7541 C.2.1: a literal field with indexing', () => {
    const decoding = new Decoding();
    expect(decoding.pairs('400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572')).toEqual([
      ['custom-key', 'custom-header'],
    ]);
    expect(decoding.held).toBe(55);
  });

  test('RFC 7541 C.2.2: a literal field without indexing', () => {
    const decoding = new Decoding();
    expect(decoding.pairs('040c 2f73 616d 706c 652f 7061 7468')).toEqual([[':path', '/sample/path']]);
    expect(decoding.held).toBe(0);
  });

  test('RFC 7541 C.2.3: a literal field that is never indexed', () => {
    const decoding = new Decoding();
    expect(decoding.pairs('1008 7061 7373 776f 7264 0673 6563 7265 74')).toEqual([['password', 'secret']]);
    expect(decoding.held).toBe(0);
  });

  test('RFC 7541 C.2.4: an indexed field', () => {
    expect(new Decoding().pairs('82')).toEqual([[':method', 'GET']]);
  });
});

const first: Pair[] = [
  [':method', 'GET'],
  [':scheme', 'http'],
  [':path', '/'],
  [':authority', 'www.example.com'],
];
const requests: readonly Pair[][] = [
  first,
  [...first, ['cache-control', 'no-cache']],
  [
    [':method', 'GET'],
    [':scheme', 'https'],
    [':path', '/index.html'],
    [':authority', 'www.example.com'],
    ['custom-key', 'custom-value'],
  ],
];

const later: Pair[] = [
  ['cache-control', 'private'],
  ['date', 'Mon, 21 Oct 2013 20:13:21 GMT'],
  ['location', 'https://www.example.com'],
];
const responses: readonly Pair[][] = [
  [[':status', '302'], ...later],
  [[':status', '307'], ...later],
  [
    [':status', '200'],
    ['cache-control', 'private'],
    ['date', 'Mon, 21 Oct 2013 20:13:22 GMT'],
    ['location', 'https://www.example.com'],
    ['content-encoding', 'gzip'],
    ['set-cookie', 'foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1'],
  ],
];

/** Each section's blocks go through one decoder; beside each is the size of the table after it. */
const sections: readonly {
  name: string;
  lists: readonly Pair[][];
  max?: string;
  blocks: [string, number][];
}[] = [
  {
    name: 'RFC 7541 C.3: requests without Huffman coding',
    lists: requests,
    blocks: [
      ['8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d', 57],
      ['8286 84be 5808 6e6f 2d63 6163 6865', 110],
      ['8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65', 164],
    ],
  },
  {
    name: 'RFC 7541 C.4: requests with Huffman coding',
    lists: requests,
    blocks: [
      ['8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff', 57],
      ['8286 84be 5886 a8eb 1064 9cbf', 110],
      ['8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf', 164],
    ],
  },
  {
    name: 'RFC 7541 C.5: responses without Huffman coding, in a table of 256 bytes',
    lists: responses,
    max: '3fe101',
    blocks: [
      [
        `4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32
         3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d`,
        222,
      ],
      ['4803 3330 37c1 c0bf', 222],
      [
        `88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04 677a 6970
         7738 666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49 553b 206d 6178 2d61
         6765 3d33 3630 303b 2076 6572 7369 6f6e 3d31`,
        215,
      ],
    ],
  },
  {
    name: 'RFC 7541 C.6: responses with Huffman coding, in a table of 256 bytes',
    lists: responses,
    max: '3fe101',
    blocks: [
      [
        `4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad
         1718 63c7 8f0b 97c8 e9ae 82ae 43d3`,
        222,
      ],
      ['4883 640e ffc1 c0bf', 222],
      [
        `88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2
         e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07`,
        215,
      ],
    ],
  },
];

describe.each(sections)('$name', ({ name, lists, max, blocks }) => {
  const [section = ''] = name.split(':');
  test.each(blocks.map(([, held], at) => [`${section}.${at + 1}`, held, at] as const))(
    '%s: its fields, and %i bytes in the table',
    (_section, held, last) => {
      const decoding = new Decoding();
      if (max !== undefined) decoding.pairs(max);
      const decoded = blocks.slice(0, last + 1).map(([block]) => decoding.pairs(block));
      expect(decoded[last]).toEqual(lists[last]);
      expect(decoding.held).toBe(held);
    },
  );
});
