import { describe, expect, test } from 'vitest';
import { toBase64 } from '../../src/merkle/base64.ts';
import { checkpointText, parseCheckpoint } from '../../src/merkle/checkpoint.ts';
import { signNote } from '../../src/merkle/note.ts';
import { addCheckpointBody, parseAddCheckpoint } from '../../src/merkle/witness.ts';
import { noise } from './reference.ts';
import { log, witness } from './witnessed.ts';

/** C2SP tlog-witness: what is sent to `add-checkpoint`, and what only looks like it. */

const note = signNote(checkpointText({ origin: log.name, size: 3, root: noise('root') }), log);
const line = toBase64(noise(1));

describe('a request', () => {
  test('is read as it is written', () => {
    const checkpoint = parseCheckpoint(note);
    for (const proof of [[], [noise(1)], Array.from({ length: 63 }, (_, at) => noise(at))])
      for (const old of [0, 1, 20_852_014, Number.MAX_SAFE_INTEGER]) {
        const written = { old, proof, checkpoint };
        const read = parseAddCheckpoint(addCheckpointBody(written));
        expect({ ...read, proof: read.proof.map((hash) => Buffer.from(hash)) }).toEqual({
          ...written,
          proof: proof.map((hash) => Buffer.from(hash)),
        });
      }
    expect(addCheckpointBody({ old: 2, proof: [noise(1)], checkpoint })).toBe(`old 2\n${line}\n\n${note}`);
  });

  test.each([
    ['nothing', ''],
    ['an empty line alone', '\n\n'],
    ['a checkpoint alone', note],
    ['an empty line before it', `\nold 0\n\n${note}`],
    ['no empty line', `old 0\n${note}`],
    ['no old size', `${line}\n\n${note}`],
    ['the old size after the proof', `${line}\nold 1\n\n${note}`],
    ['two old sizes', `old 1\nold 1\n\n${note}`],
    ...['old', 'old ', 'old  1', ' old 1', 'old 1 ', 'old\t1', 'Old 1', 'OLD 1', 'size 1', 'old: 1', '1'].map(
      (first): [string, string] => [`the first line ${JSON.stringify(first)}`, `${first}\n\n${note}`],
    ),
    ...[
      '01',
      '00',
      '-1',
      '-0',
      '+1',
      '1.0',
      '1e1',
      '0x1',
      '1_0',
      '١',
      '9007199254740992',
      '1'.repeat(400),
    ].map((size): [string, string] => [`the old size ${size.slice(0, 20)}`, `old ${size}\n\n${note}`]),
    ['CRLF', `old 1\r\n${line}\r\n\r\n${note}`],
    ['CRLF before the checkpoint alone', `old 1\r\n${line}\r\n\n${note}`],
    ['a byte order mark', `\ufeffold 0\n\n${note}`],
    ['64 lines of a proof', `old 1\n${`${line}\n`.repeat(64)}\n${note}`],
    ...[
      line.slice(0, -1),
      `${line}=`,
      ` ${line}`,
      `${line} `,
      // With a bit set that no byte has.
      line.replace(/.(?==$)/, (last) => String.fromCharCode(last.charCodeAt(0) + 1)),
      Buffer.alloc(31).toString('base64'),
      Buffer.alloc(33).toString('base64'),
      Buffer.alloc(32, 0xff).toString('base64url'),
      Buffer.from(noise(1)).toString('hex'),
      `${line}${line}`,
      '!',
      'A===',
    ].map((bad): [string, string] => [`a line of the proof that is ${bad}`, `old 1\n${bad}\n\n${note}`]),
    ['no checkpoint', `old 0\n\n`],
    ['garbage for a checkpoint', `old 0\n\nnothing to see\n`],
    ['a checkpoint without signatures', `old 0\n\n${checkpointText(parseCheckpoint(note))}`],
    ['a checkpoint without its last newline', `old 0\n\n${note.trimEnd()}`],
    ['something after the checkpoint', `old 0\n\n${note}x`],
    ['an empty line more before the checkpoint', `old 0\n\n\n${note}`],
    ['a size of the checkpoint with a leading zero', `old 0\n\n${note.replace('\n3\n', '\n03\n')}`],
    ['a signature that is no base64', `old 0\n\n${note}— x ????\n`],
    ['a character that none has', `old 0\n\n${note.replace('log.', 'log\ufffd')}`],
  ])('with %s is refused with 400', (_what, body) => {
    expect(() => parseAddCheckpoint(body)).toThrow();
    const answer = witness().add(body);
    expect(answer).toMatchObject({ status: 400, type: 'text/plain; charset=utf-8' });
    expect(answer.body).toMatch(/^[^\n]+\n$/);
  });
});
