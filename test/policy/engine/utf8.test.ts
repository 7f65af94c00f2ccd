import { expect, test, vi } from 'vitest';
import { bytesOf, decodeUtf8 } from '../../../src/policy/engine/values/utf8.ts';
import { compareText } from '../../../src/policy/engine/values/values.ts';

/** Bytes of a little of everything: ASCII, the first and later bytes of characters of each length, bytes of none. */
const alphabet = [
  0x00, 0x41, 0x7f, 0x80, 0x9f, 0xa0, 0xbf, 0xc0, 0xc2, 0xc3, 0xe0, 0xed, 0xef, 0xf0, 0xf4, 0xf8, 0xff,
];

function drawn(seed: number): Buffer {
  let state = seed;
  const next = (below: number): number => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return (state >>> 8) % below;
  };
  return Buffer.concat(
    Array.from({ length: next(12) }, () =>
      next(4) === 0
        ? Buffer.from(['é', '€', '🎉', '\u{10ffff}', '\ufffd'][next(5)] as string)
        : Buffer.of(alphabet[next(alphabet.length)] as number),
    ),
  );
}

const samples = Array.from({ length: 5_000 }, (_, index) => drawn(index + 1));

test('any bytes are a text and the same bytes again, and look as they would anywhere', () => {
  for (const bytes of samples) {
    const text = decodeUtf8(bytes);
    expect(bytesOf(text).equals(bytes), bytes.toString('hex')).toBe(true);
    if (!bytes.includes(0xff)) continue;
    const lone = text.replaceAll(/[\udc80-\udcff]/gu, '');
    expect(lone.isWellFormed()).toBe(true);
  }
});

test('texts are in the order of their bytes', () => {
  for (const [index, bytes] of samples.entries()) {
    const other = samples[(index * 7 + 1) % samples.length] as Buffer;
    const [a, b] = [Buffer.concat([other, bytes]), Buffer.concat([other, other, bytes])];
    const order = Math.sign(compareText(decodeUtf8(a), decodeUtf8(b)));
    expect(order, `${a.toString('hex')} ${b.toString('hex')}`).toBe(a.compare(b));
  }
});

test('a byte that is none of a text is not the reason to look at each by itself', () => {
  const decode = vi.spyOn(TextDecoder.prototype, 'decode');
  const from = vi.spyOn(Buffer, 'from');
  try {
    const bytes = new Uint8Array(10_000).fill(0x41);
    bytes[0] = 0xff;
    const text = decodeUtf8(bytes);
    bytesOf(text.replaceAll('A', '\udcff'));
    bytesOf(text);
    expect(decode.mock.calls.length + from.mock.calls.length).toBeLessThan(10);
  } finally {
    decode.mockRestore();
    from.mockRestore();
  }
});
