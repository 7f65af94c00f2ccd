import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseVkey, SignatureType, signWith, type VerifierKey, verifierKey } from '../../src/merkle/keys.ts';
import { cosignatureLine, isNoteOf, parseNote, signatureLine, signNote } from '../../src/merkle/note.ts';
import { newSigner } from './signers.ts';

/** C2SP signed-note; C2SP tlog-cosignature, "Ed25519 signed message". */

const text = 'This is an example message.\n';
const signature =
  '— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n';
const exampleKey = parseVkey('example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k');

const log = newSigner('log.example/a', SignatureType.ED25519);
const witness = newSigner('witness.example/w', SignatureType.COSIGNATURE);
const [, , base64 = ''] = signature.trimEnd().split(' ');

const isSigned = (source: string, key: VerifierKey) => isNoteOf(parseNote(source), key);

describe('C2SP signed-note: the examples', () => {
  test('of a note and its key', () => {
    const note = parseNote(`${text}\n${signature}`);
    expect(note.text).toBe(text);
    expect(note.signatures).toHaveLength(1);
    expect(isNoteOf(note, exampleKey)).toBe(true);
  });

  test('of a text with an empty line', () => {
    const poem =
      'Ognuno sta solo sul cuor della terra\ntrafitto da un raggio di sole:\n\ned è subito sera.\n';
    const line =
      '— quasimodo.example/salvatore NnugSzTjtVAewIS+Z/iJhUPeFDkO/5QQ2i5ddnGITLlC+EhfLW9oJKONrMouFSQU0xMcXxj99ihAQwaqP3ZekRwNtIc=\n';
    const note = parseNote(`${poem}\n${line}`);
    expect(note.text).toBe(poem);
    expect(
      note.signatures.map(({ name, id, bytes }) => [name, Buffer.from(id).toString('hex'), bytes.length]),
    ).toEqual([['quasimodo.example/salvatore', '367ba04b', 64]]);
    expect(isNoteOf(note, exampleKey)).toBe(false);
  });

  /** golang.org/x/mod, sumdb/note: ExampleSign and ExampleOpen. */
  test('of golang.org/x/mod', () => {
    const key = parseVkey('PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW');
    const source =
      "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n" +
      '\n— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n';
    expect(isSigned(source, key)).toBe(true);
    expect(() => isSigned(source.replace('think', 'thinK'), key)).toThrow(/PeterNeumann/);
  });
});

describe('C2SP signed-note: what is no note', () => {
  test.each([
    ['nothing', ''],
    ['a newline', '\n'],
    ['two newlines', '\n\n'],
    ['three newlines', '\n\n\n'],
    ['a text alone', text],
    ['a text and an empty line', `${text}\n`],
    ['a text and two empty lines', `${text}\n\n`],
    ['signatures alone', signature],
    ['a signature without the empty line', `${text}${signature}`],
    ['no newline at the end', `${text}\n${signature.trimEnd()}`],
    ['an empty line at the end', `${text}\n${signature}\n`],
    ['a line behind the signatures', `${text}\n${signature}more\n`],
    ['a line before the signatures', `${text}\nmore\n${signature}`],
    ['a carriage return at line ends', `${text}\n${signature}`.replaceAll('\n', '\r\n')],
    ['a hyphen for the dash', `${text}\n${signature.replace('—', '-')}`],
    ['another dash', `${text}\n${signature.replace('—', '–')}`],
    ['no dash', `${text}\n${signature.replace('— ', '')}`],
    ['two spaces', `${text}\n${signature.replace('— ', '—  ')}`],
    ['a space at the end', `${text}\n${signature.replace('\n', ' \n')}`],
    ['a space before', `${text}\n ${signature}`],
    ['a space of another kind', `${text}\n${signature.replace('— ', '—\u00a0')}`],
    ['no name', `${text}\n— ${base64}\n`],
    ['an empty name', `${text}\n—  ${base64}\n`],
    ['a name with +', `${text}\n— example.com+foo ${base64}\n`],
    ['a name with a space', `${text}\n— example.com foo ${base64}\n`],
    ['a name with a space of another kind', `${text}\n— example.com\u2003foo ${base64}\n`],
    ['no signature in a line', `${text}\n— example.com/foo\n`],
    ['an empty signature', `${text}\n— example.com/foo \n`],
    ['bad base64', `${text}\n— example.com/foo ${base64.replace('U', '!')}\n`],
    ['base64 without padding', `${text}\n— example.com/foo ${base64.replace('=', '')}\n`],
    ['base64 with too much padding', `${text}\n— example.com/foo ${base64}=\n`],
    ['base64 with a bit that is of nothing', `${text}\n— example.com/foo ${base64.replace('M=', 'N=')}\n`],
    ['base64 for URLs', `${text}\n— example.com/foo ${Buffer.alloc(68, 0xff).toString('base64url')}=\n`],
    ['an id alone', `${text}\n— example.com/foo ${Buffer.alloc(4).toString('base64')}\n`],
    ['less than an id', `${text}\n— example.com/foo ${Buffer.alloc(3).toString('base64')}\n`],
  ])('%s', (_what, source) => {
    expect(() => parseNote(source)).toThrow(Error);
  });

  test('one with a control character, wherever it is', () => {
    for (let code = 0; code < 0x20; code += 1) {
      if (code === 0x0a) continue;
      const control = String.fromCharCode(code);
      expect(() => parseNote(`a${control}b\n\n${signature}`)).toThrow(Error);
      expect(() => parseNote(`${text}\n— exam${control}ple.com/foo ${base64}\n`)).toThrow(Error);
      expect(() => parseNote(`${control}${text}\n${signature}`)).toThrow(Error);
    }
  });

  test('one that is no UTF-8', () => {
    const bytes = Buffer.concat([Buffer.of(0xff), Buffer.from(`${text}\n${signature}`)]);
    expect(() => parseNote(bytes.toString())).toThrow(Error);
    expect(() => parseNote(`\ud800${text}\n${signature}`)).toThrow(Error);
    expect(() => parseNote(`${text}\n${signature}`.replace('foo', 'foo\udc00'))).toThrow(Error);
  });

  test('what is above U+001F is no control character of a note', () => {
    // C2SP signed-note names those below U+0020, and so does golang.org/x/mod.
    for (const code of [0x7f, 0x80, 0x9f, 0xa0, 0xfeff, 0x2028]) {
      const odd = `a${String.fromCharCode(code)}b\n`;
      expect(isSigned(signNote(odd, log), log)).toBe(true);
    }
  });

  test('the last empty line is where the text ends', () => {
    const note = parseNote(`${text}\n${signature}\n${signature}`);
    expect(note.text).toBe(`${text}\n${signature}`);
    expect(note.signatures).toHaveLength(1);
    expect(() => isNoteOf(note, exampleKey)).toThrow(/not over this text/);
  });

  test('one with too many signatures, or too long', () => {
    const many = (count: number) => `${text}\n${signature.repeat(count)}`;
    for (const count of [16, 64]) expect(parseNote(many(count)).signatures).toHaveLength(count);
    for (const count of [65, 1_000]) expect(() => parseNote(many(count))).toThrow(Error);
    expect(() => parseNote(`${'a'.repeat(4_000_000)}\n\n${signature}`)).toThrow(Error);
  });

  test('sixteen signatures of a later time are not too many: 5 kB each', () => {
    const line = signatureLine(log, Buffer.alloc(5_000, 1)).replace(log.name, 'later.example/q');
    const source = signNote(text, log) + line.repeat(15);
    expect(isSigned(source, log)).toBe(true);
  });
});

describe('C2SP signed-note: who signed', () => {
  const note = signNote(text, log);

  test('a note that is signed is what parses, and what the key verifies', () => {
    const line = fc.stringMatching(/^[^\p{Cc}\ufffd]*$/u).filter((one) => one.isWellFormed());
    fc.assert(
      fc.property(fc.array(line, { minLength: 1, maxLength: 5 }), (lines) => {
        const body = `${lines.join('\n')}\n`;
        const parsed = parseNote(signNote(body, log));
        expect(parsed.text).toBe(body);
        expect(isNoteOf(parsed, log)).toBe(true);
        expect(isNoteOf(parsed, exampleKey)).toBe(false);
      }),
    );
  });

  test('each other text, and each other bit of the signature, is refused', () => {
    const [body = '', line = ''] = note.split('\n\n');
    const bytes = Buffer.from(line.trimEnd().split(' ')[2] ?? '', 'base64');
    for (let bit = 0; bit < bytes.length * 8; bit += 1) {
      const changed = Buffer.from(bytes);
      changed[bit >> 3] = (changed[bit >> 3] as number) ^ (1 << (bit & 7));
      const source = `${body}\n\n— ${log.name} ${changed.toString('base64')}\n`;
      // In the id it is of a key that is not known.
      if (bit < 32) expect(isSigned(source, log)).toBe(false);
      else expect(() => isSigned(source, log)).toThrow(/not over this text/);
    }
    for (const other of [`${body}.`, `${body} `, `\n${body}`, body.slice(1), body.toUpperCase()])
      expect(() => isSigned(`${other}\n\n${line}`, log)).toThrow(/not over this text/);
  });

  test('a signature of another length is refused, and costs nothing else', () => {
    for (const length of [1, 8, 63, 65, 72, 128])
      for (const key of [log, witness])
        expect(() => isSigned(`${text}\n${signatureLine(key, Buffer.alloc(length))}`, key)).toThrow(
          /not over this text/,
        );
  });

  test('unknown keys are left out, even of the same name, or of the same id', () => {
    const sameName = newSigner(log.name, SignatureType.ED25519);
    const sameId = `— other.example ${Buffer.concat([log.id, Buffer.alloc(64)]).toString('base64')}\n`;
    const others = `${signNote(text, sameName).split('\n\n')[1]}${sameId}`;
    expect(isSigned(`${note}${others}`, log)).toBe(true);
    expect(isSigned(`${text}\n${others}${note.split('\n\n')[1]}`, log)).toBe(true);
    expect(isSigned(`${text}\n${others}`, log)).toBe(false);
  });

  test('a bad signature of a known key refuses the note, though there is a good one', () => {
    const bad = signatureLine(log, Buffer.alloc(64));
    const good = note.split('\n\n')[1] ?? '';
    for (const lines of [bad, bad + good, good + bad])
      expect(() => isSigned(`${text}\n${lines}`, log)).toThrow(/not over this text/);
  });

  test('the same signature twice is one', () => {
    expect(isSigned(note + (note.split('\n\n')[1] ?? ''), log)).toBe(true);
  });

  test('what would be no note, or another one, is not signed', () => {
    for (const body of [
      '',
      'no newline',
      'a\rb\n',
      'a\0\n',
      '\ud800\n',
      'a\ufffd\n',
      `${'a'.repeat(4_000_000)}\n`,
    ])
      expect(() => signNote(body, log)).toThrow(Error);
    expect(() => signNote(text, witness)).toThrow(Error);
  });
});

describe('C2SP tlog-cosignature: Ed25519', () => {
  const body = 'example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n';
  const signed = signNote(body, log);
  const seconds = 1_679_315_147n;

  test('the example has the time that it says', () => {
    const { signatures } = parseNote(
      `${body}\n— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n`,
    );
    const last = Buffer.from(signatures[1]?.bytes ?? []);
    expect(last.length).toBe(72);
    expect(last.readBigUInt64BE()).toBe(seconds);
  });

  test('a witness signs the header, the time and the text', () => {
    const line = cosignatureLine(body, witness, seconds);
    expect(isSigned(signed + line, witness)).toBe(true);
    const bytes = Buffer.from(line.trimEnd().split(' ')[2] ?? '', 'base64');
    const message = `cosignature/v1\ntime 1679315147\n${body}`;
    expect(bytes.subarray(12)).toEqual(Buffer.from(signWith(witness, Buffer.from(message))));
    expect(bytes.subarray(4, 12).toString('hex')).toBe('00000000641850cb');
  });

  test('another time, text or key is refused', () => {
    const line = cosignatureLine(body, witness, seconds);
    const bytes = Buffer.from(line.trimEnd().split(' ')[2] ?? '', 'base64');
    for (let at = 4; at < bytes.length; at += 1) {
      const changed = Buffer.from(bytes);
      changed[at] = (changed[at] as number) ^ 1;
      const other = `— ${witness.name} ${changed.toString('base64')}\n`;
      expect(() => isSigned(signed + other, witness)).toThrow(/not over this text/);
    }
    expect(() => isSigned(signNote(body.replace('20852163', '20852164'), log) + line, witness)).toThrow(
      /not over this text/,
    );
  });

  test('a note signature is no cosignature, and the other way round, though the key is the same', () => {
    const twin = {
      ...verifierKey(log.name, SignatureType.COSIGNATURE, log.publicKey),
      privateKey: log.privateKey,
    };
    expect(isSigned(signed, twin)).toBe(false);
    expect(isSigned(`${body}\n${cosignatureLine(body, twin, seconds)}`, log)).toBe(false);
    const disguised = signatureLine(twin, signWith(log, Buffer.from(body)));
    expect(() => isSigned(`${body}\n${disguised}`, twin)).toThrow(/not over this text/);
  });

  test('a log has no time to sign, so that its key makes no cosignature', () => {
    expect(() => cosignatureLine(body, log, seconds)).toThrow(Error);
  });

  test('the time goes to 2^63 - 1 and no further', () => {
    expect(isSigned(signed + cosignatureLine(body, witness, 0n), witness)).toBe(true);
    const last = 2n ** 63n - 1n;
    expect(isSigned(signed + cosignatureLine(body, witness, last), witness)).toBe(true);
    const time = Buffer.alloc(8);
    time.writeBigUInt64BE(last + 1n);
    const message = Buffer.from(`cosignature/v1\ntime ${last + 1n}\n${body}`);
    const line = signatureLine(witness, Buffer.concat([time, signWith(witness, message)]));
    expect(() => isSigned(signed + line, witness)).toThrow(Error);
    expect(() => cosignatureLine(body, witness, last + 1n)).toThrow(Error);
    expect(() => cosignatureLine(body, witness, -1n)).toThrow(Error);
  });

  test('two cosignatures of a witness at two times are both looked at', () => {
    const lines = [1n, 2n].map((at) => cosignatureLine(body, witness, at));
    expect(isSigned(signed + lines.join(''), witness)).toBe(true);
    const later = cosignatureLine(`${body}more\n`, witness, 3n);
    expect(() => isSigned(signed + lines.join('') + later, witness)).toThrow(/not over this text/);
  });
});
