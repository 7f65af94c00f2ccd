import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { checkpointText, parseCheckpoint } from '../../src/merkle/checkpoint.ts';
import { EMPTY_ROOT } from '../../src/merkle/hashes.ts';
import { SignatureType } from '../../src/merkle/keys.ts';
import { isNoteOf, signNote } from '../../src/merkle/note.ts';
import { noise } from './reference.ts';
import { newSigner } from './signers.ts';

/** C2SP tlog-checkpoint, "Note text". */

const log = newSigner('log.example/a', SignatureType.ED25519);
const root = 'CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=';

/** Signed by a log that signs anything. */
const signed = (...lines: readonly string[]): string => signNote(`${lines.join('\n')}\n`, log);

describe('C2SP tlog-checkpoint', () => {
  test('the example', () => {
    const source =
      `example.com/behind-the-sofa\n20852163\n${root}\n` +
      '\n— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n';
    const checkpoint = parseCheckpoint(source);
    expect(checkpoint.origin).toBe('example.com/behind-the-sofa');
    expect(checkpoint.size).toBe(20_852_163);
    expect(Buffer.from(checkpoint.root).toString('base64')).toBe(root);
    expect(checkpoint.source).toBe(source);
    expect(checkpointText(checkpoint)).toBe(checkpoint.note.text);
  });

  test('what is written is what is read', () => {
    const origin = fc.stringMatching(/^[^\p{Cc}\ufffd]+$/u).filter((one) => one.isWellFormed());
    const size = fc.oneof(fc.maxSafeNat(), fc.constantFrom(0, 1, Number.MAX_SAFE_INTEGER));
    fc.assert(
      fc.property(origin, size, fc.nat(), (name, n, seed) => {
        const checkpoint = { origin: name, size: n, root: noise(seed) };
        const parsed = parseCheckpoint(signNote(checkpointText(checkpoint), log));
        expect(parsed).toMatchObject({ origin: name, size: n });
        expect(Buffer.from(parsed.root)).toEqual(Buffer.from(checkpoint.root));
        expect(isNoteOf(parsed.note, log)).toBe(true);
      }),
    );
  });

  test('the tree without leaves', () => {
    const text = checkpointText({ origin: 'log', size: 0, root: EMPTY_ROOT });
    expect(text).toBe('log\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n');
    expect(parseCheckpoint(signNote(text, log)).size).toBe(0);
  });

  test('extension lines are passed over, and are part of what is signed', () => {
    const checkpoint = parseCheckpoint(signed('log', '7', root, 'one', 'and another'));
    expect(checkpoint).toMatchObject({ origin: 'log', size: 7 });
    expect(checkpoint.note.text).toBe(`log\n7\n${root}\none\nand another\n`);
    expect(isNoteOf(checkpoint.note, log)).toBe(true);
  });

  test.each([
    ['no root', ['log', '7']],
    ['an origin alone', ['log']],
    ['an empty origin', ['', '7', root]],
    ['an empty line first', ['', 'log', '7', root]],
    ['an empty size', ['log', '', root]],
    ['an empty root', ['log', '7', '']],
    ['an empty extension line', ['log', '7', root, '']],
    ['an empty extension line between two', ['log', '7', root, 'one', '', 'two']],
    ['a size with a leading zero', ['log', '07', root]],
    ['zero twice', ['log', '00', root]],
    ['a negative size', ['log', '-7', root]],
    ['minus zero', ['log', '-0', root]],
    ['a size with a sign', ['log', '+7', root]],
    ['a size with a fraction', ['log', '7.0', root]],
    ['a size with an exponent', ['log', '1e3', root]],
    ['a size in hex', ['log', '0x7', root]],
    ['a size with a space before it', ['log', ' 7', root]],
    ['a size with a space behind it', ['log', '7 ', root]],
    ['a size with commas', ['log', '7,000', root]],
    ['a size in other digits', ['log', '٧', root]],
    ['a size that no number tells', ['log', '9007199254740992', root]],
    ['a size that would be rounded', ['log', '9007199254740993', root]],
    ['a size of 64 bits', ['log', '18446744073709551615', root]],
    ['a size of a thousand digits', ['log', '9'.repeat(1_000), root]],
    ['a root of 31 bytes', ['log', '7', Buffer.alloc(31).toString('base64')]],
    ['a root of 33 bytes', ['log', '7', Buffer.alloc(33).toString('base64')]],
    ['a root in hex', ['log', '7', Buffer.alloc(32).toString('hex')]],
    ['a root without padding', ['log', '7', root.replace('=', '')]],
    ['a root with a bit that is of nothing', ['log', '7', root.replace('I=', 'J=')]],
    ['a root with a space behind it', ['log', '7', `${root} `]],
    ['a root for URLs', ['log', '7', Buffer.alloc(32, 0xff).toString('base64url')]],
    ['the lines in another order', ['7', 'log', root]],
  ])('%s makes none', (_what, lines) => {
    expect(() => parseCheckpoint(signed(...lines))).toThrow('the note is no checkpoint');
  });

  test('what is no note is none', () => {
    const text = checkpointText({ origin: 'log', size: 1, root: noise(1) });
    for (const source of ['', text, `${text}\n`, signed('log', '7', root).trimEnd()])
      expect(() => parseCheckpoint(source)).toThrow(Error);
  });

  test('what would be read as none, or as another, is not written', () => {
    const checkpoint = { origin: 'log', size: 1, root: noise(1) };
    for (const origin of ['', 'log\n9', 'log\n', '\n'])
      expect(() => checkpointText({ ...checkpoint, origin })).toThrow(Error);
    for (const size of [-1, 0.5, Number.NaN, 2 ** 53, 1e21, Number.POSITIVE_INFINITY])
      expect(() => checkpointText({ ...checkpoint, size })).toThrow(Error);
    for (const length of [0, 31, 33])
      expect(() => checkpointText({ ...checkpoint, root: Buffer.alloc(length) })).toThrow(Error);
  });
});
