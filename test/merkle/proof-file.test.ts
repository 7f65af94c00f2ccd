import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { checkpointText, parseCheckpoint } from '../../src/merkle/checkpoint.ts';
import { leafHash } from '../../src/merkle/hashes.ts';
import { SignatureType } from '../../src/merkle/keys.ts';
import { signNote } from '../../src/merkle/note.ts';
import { isProofOf, type ProofFile, parseProof, proofText } from '../../src/merkle/proof-file.ts';
import { ReferenceTree } from './reference.ts';
import { newSigner } from './signers.ts';

/** C2SP tlog-proof, "Format". */

const log = newSigner('log.example/a', SignatureType.ED25519);
const entry = (at: number): Buffer => Buffer.from(`entry ${at}`);
const tree = new ReferenceTree(Array.from({ length: 300 }, (_, at) => leafHash(entry(at))));

function proofOf(index: number, size: number, extra?: Uint8Array): ProofFile {
  const text = checkpointText({ origin: log.name, size, root: tree.mth(0, size) });
  return { extra, index, path: tree.path(index, 0, size), checkpoint: parseCheckpoint(signNote(text, log)) };
}

describe('C2SP tlog-proof', () => {
  test('the lines of one', () => {
    const proof = proofOf(1, 3, Buffer.from('more'));
    const [one, two] = proof.path.map((hash) => Buffer.from(hash).toString('base64'));
    expect(proofText(proof)).toBe(
      `c2sp.org/tlog-proof@v1\nextra bW9yZQ==\nindex 1\n${one}\n${two}\n\n${proof.checkpoint.source}`,
    );
    expect(proofText(proofOf(0, 1))).toBe(
      `c2sp.org/tlog-proof@v1\nindex 0\n\n${proofOf(0, 1).checkpoint.source}`,
    );
  });

  test('what is written is what is read, and proves its entry and no other', () => {
    const places = fc
      .integer({ min: 1, max: 300 })
      .chain((size) => fc.tuple(fc.integer({ min: 0, max: size - 1 }), fc.constant(size)));
    const extras = fc.option(fc.uint8Array({ maxLength: 200 }), { nil: undefined });
    fc.assert(
      fc.property(places, extras, ([index, size], extra) => {
        const text = proofText(proofOf(index, size, extra));
        const proof = parseProof(text);
        expect(proof.index).toBe(index);
        expect(proof.extra === undefined).toBe(extra === undefined);
        if (extra) expect(Buffer.from(proof.extra ?? [])).toEqual(Buffer.from(extra));
        expect(proofText(proof)).toBe(text);
        expect(isProofOf(proof, entry(index))).toBe(true);
        expect(isProofOf(proof, entry(index + 1))).toBe(false);
        expect(isProofOf(proof, Buffer.concat([entry(index), Buffer.of(0)]))).toBe(false);
        expect(isProofOf({ ...proof, index: index + 1 }, entry(index))).toBe(false);
      }),
    );
  });

  test('an index beyond the tree proves nothing', () => {
    const proof = proofOf(2, 3);
    for (const index of [3, 4, 300]) expect(isProofOf({ ...proof, index }, entry(2))).toBe(false);
  });

  const whole = proofText(proofOf(5, 300));
  const [head = '', indexLine = '', first = '', ...others] = whole.split('\n');
  const withLines = (...lines: readonly string[]) => [...lines, ...others].join('\n');
  const { source } = proofOf(5, 300).checkpoint;

  test('these parts make it', () => {
    expect(withLines(head, indexLine, first)).toBe(whole);
    expect(isProofOf(parseProof(withLines(head, 'extra ', indexLine, first)), entry(5))).toBe(true);
  });

  test('a path is as long as that of the largest tree, and no longer', () => {
    const longest = (length: number) => withLines(head, indexLine, ...Array.from({ length }, () => first));
    const rest = others.indexOf('');
    expect(parseProof(longest(53 - rest)).path).toHaveLength(53);
    expect(() => parseProof(longest(54 - rest))).toThrow(Error);
  });

  test.each([
    ['nothing', ''],
    ['a checkpoint alone', source],
    ['an empty line and a checkpoint', `\n\n${source}`],
    ['a head alone', head],
    ['a head and a checkpoint', `${head}\n\n${source}`],
    ['another version', whole.replace('@v1', '@v2')],
    ['a head in capitals', whole.replace('c2sp', 'C2SP')],
    ['a space behind the head', withLines(`${head} `, indexLine, first)],
    ['a line before the head', `\n${whole}`],
    ['a byte order mark', `\ufeff${whole}`],
    ['lines that end in carriage returns', whole.replaceAll('\n', '\r\n')],
    ['no index', withLines(head, first)],
    ['two indexes', withLines(head, indexLine, indexLine, first)],
    ['an index behind the path', withLines(head, first, indexLine)],
    ['an empty index', withLines(head, 'index ', first)],
    ['an index without its space', withLines(head, 'index5', first)],
    ['an index with two spaces', withLines(head, 'index  5', first)],
    ['an index with a leading zero', withLines(head, 'index 05', first)],
    ['an index of zeros', withLines(head, 'index 00', first)],
    ['a negative index', withLines(head, 'index -5', first)],
    ['an index with a sign', withLines(head, 'index +5', first)],
    ['an index with a space behind it', withLines(head, 'index 5 ', first)],
    ['an index with an exponent', withLines(head, 'index 5e0', first)],
    ['an index in hex', withLines(head, 'index 0x5', first)],
    ['an index in capitals', withLines(head, 'Index 5', first)],
    ['an index that no number tells', withLines(head, 'index 9007199254740993', first)],
    ['an index of 2^53', withLines(head, 'index 9007199254740992', first)],
    ['an index of 64 bits', withLines(head, 'index 18446744073709551615', first)],
    ['extra behind the index', withLines(head, indexLine, 'extra bW9yZQ==', first)],
    ['extra behind the path', withLines(head, indexLine, first, 'extra bW9yZQ==')],
    ['extra twice', withLines(head, 'extra bW9yZQ==', 'extra bW9yZQ==', indexLine, first)],
    ['extra without a space', withLines(head, 'extra', indexLine, first)],
    ['extra in capitals', withLines(head, 'EXTRA bW9yZQ==', indexLine, first)],
    ['extra with two spaces', withLines(head, 'extra  bW9yZQ==', indexLine, first)],
    ['extra without padding', withLines(head, 'extra bW9yZQ', indexLine, first)],
    ['extra with a bit that is of nothing', withLines(head, 'extra bW9yZR==', indexLine, first)],
    ['extra that is no base64', withLines(head, 'extra more!', indexLine, first)],
    ['a hash of 31 bytes', withLines(head, indexLine, Buffer.alloc(31).toString('base64'))],
    ['a hash of 33 bytes', withLines(head, indexLine, Buffer.alloc(33).toString('base64'))],
    ['a hash in hex', withLines(head, indexLine, Buffer.alloc(32).toString('hex'))],
    ['a hash without padding', withLines(head, indexLine, first.replace('=', ''))],
    ['a hash with a space before it', withLines(head, indexLine, ` ${first}`)],
    ['a hash with a space behind it', withLines(head, indexLine, `${first} `)],
    ['a line that is no hash', withLines(head, indexLine, 'hash', first)],
    ['a path longer than any', withLines(head, indexLine, ...Array.from({ length: 60 }, () => first))],
    ['no empty line before the checkpoint', whole.replace('\n\n', '\n')],
    ['two empty lines before the checkpoint', whole.replace('\n\n', '\n\n\n')],
    ['an empty line in the path', withLines(head, indexLine, '', first)],
    ['no checkpoint', whole.slice(0, whole.indexOf('\n\n') + 2)],
    ['a checkpoint without signatures', whole.slice(0, whole.indexOf('\n\n— '))],
    ['a checkpoint with a line behind it', `${whole}\n`],
    ['what is no checkpoint', whole.replace(source, signNote('no checkpoint\n', log))],
  ])('%s makes none', (_what, text) => {
    expect(() => parseProof(text)).toThrow(Error);
  });
});
