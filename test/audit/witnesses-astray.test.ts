import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { SignatureType } from '../../src/merkle/keys.ts';
import { cosignatureLine, signatureLine } from '../../src/merkle/note.ts';
import { eventually } from '../e2e/server.ts';
import { newSigner } from '../merkle/signers.ts';
import { behaving, failing, good, heardFaults, shownBy, stage } from './witnessed-store.ts';

/** Witnesses that do not do as they should: nothing of what they send is stored, and the others are heard. */

let heard: ReturnType<typeof heardFaults>;
beforeEach(() => {
  heard = heardFaults();
});
afterEach(() => heard[Symbol.dispose]());

/** Answers that are none; each with what is to be said of it. */
const nonsense: [string, Parameters<typeof behaving>[1], RegExp][] = [
  ['garbage', (_, response) => response.end('certainly\n'), /not its signature/],
  ['nothing', (_, response) => response.end(), /not its signature/],
  [
    'a byte that is no text',
    (_, response) => response.end(Buffer.of(0xe2, 0x80, 0x94, 0x20, 0xff)),
    /not its sig/,
  ],
  [
    'a line of its name that is none',
    (_, response, { name }) => response.end(`— ${name} ????\n`),
    /a line of the note is no signature/,
  ],
  [
    'the signature of another key by its name',
    ({ checkpoint }, response, { name }) =>
      response.end(cosignatureLine(checkpoint.note.text, newSigner(name, SignatureType.COSIGNATURE), 9n)),
    /not its signature/,
  ],
  [
    'the signature of another key by its name and id',
    ({ checkpoint }, response, { name, id }) => {
      const other = newSigner(name, SignatureType.COSIGNATURE);
      response.end(cosignatureLine(checkpoint.note.text, { ...other, id }, 9n));
    },
    /is not over this text/,
  ],
  [
    'its signature over another checkpoint',
    (_, response, key) => response.end(cosignatureLine('log.example/a\n1\nAAAA\n', key, 9n)),
    /is not over this text/,
  ],
  [
    'its signature with a time before all',
    ({ checkpoint }, response, key) => {
      const line = cosignatureLine(checkpoint.note.text, key, 9n);
      const bytes = Buffer.from(line.split(' ')[2] ?? '', 'base64');
      bytes[4] = 0x80;
      response.end(signatureLine(key, bytes.subarray(4)));
    },
    /is not over this text/,
  ],
  ['404', (_, response) => response.writeHead(404).end('no\n'), /it answers 404: no/],
  ['403', (_, response) => response.writeHead(403).end('no\n'), /it answers 403: no/],
  ['500', (_, response) => response.writeHead(500).end('<html>'), /it answers 500/],
  ['204', (_, response) => response.writeHead(204).end(), /it answers 204/],
  ['409 and nothing', (_, response) => response.writeHead(409).end(), /it answers 409/],
  ['409 and words', (_, response) => response.writeHead(409).end('three\n'), /it answers 409: three/],
  ['409 and no newline', (_, response) => response.writeHead(409).end('2'), /it answers 409: 2/],
  ['409 and less than nothing', (_, response) => response.writeHead(409).end('-1\n'), /it answers 409: -1/],
  [
    '409 and a number beyond all',
    (_, response) => response.writeHead(409).end(`${'9'.repeat(17)}\n`),
    /answers 409/,
  ],
  ['409 and what it was asked', ({ old }, response) => response.writeHead(409).end(`${old}\n`), /each time/],
  [
    'a redirect to one that signs',
    (_, response) => response.writeHead(307, { location: 'http://127.0.0.1:9/' }).end(),
    /redirect/,
  ],
  [
    'half an answer',
    (_, response) =>
      void response.writeHead(200, { 'content-length': 99 }).write('—', () => response.destroy()),
    /w\.example\/bad: /,
  ],
  ['no answer', (_, response) => response.destroy(), /w\.example\/bad: /],
  ['an answer without an end', (_, response) => flood(response), /answered more than 65536 bytes/],
];

function flood(response: Parameters<Parameters<typeof behaving>[1]>[1]): void {
  const more = (): void => void (response.destroyed || response.write('x'.repeat(9_000), more));
  more();
}

describe('a witness that answers', () => {
  test.each(nonsense)('%s is passed by, named, and asked again', async (_what, behaviour, words) => {
    await using bad = await behaving('w.example/bad', behaviour);
    await using fine = await good('w.example/good');
    await using logged = await stage([bad, fine]);
    const size = await logged.grow(3);
    const names = await shownBy(logged, [bad, fine], (signers) => signers.length > 0);
    expect(names).toEqual(['w.example/good']);
    const { note, source } = logged.proofs.shown(logged.no);
    expect([note.signatures.length, source.includes('w.example/bad'), size]).toEqual([2, false, 3]);
    const [failure, again] = await failing(logged, 2);
    for (const each of [failure, again]) {
      expect(each).toMatch(/^unavailable: w\.example\/bad: /);
      expect(each).toMatch(words);
    }
    expect(heard.faults).toEqual([]);
  });

  test('its signature and much else has its signature stored, once', async () => {
    const stranger = newSigner('w.example/stranger', SignatureType.COSIGNATURE);
    await using much = await behaving('w.example/much', ({ checkpoint }, response, key) => {
      const { text } = checkpoint.note;
      const second = newSigner(key.name, SignatureType.COSIGNATURE);
      const others = [stranger, second].map((each) => cosignatureLine(text, each, 9n));
      response.end([...others, cosignatureLine(text, key, 9n).repeat(50), 'and more\n'].join(''));
    });
    const peers = [await good('w.example/good'), much, await good('w.example/best')];
    await using logged = await stage(peers);
    await logged.grow(3);
    expect(await shownBy(logged, peers, (signers) => signers.length === 3)).toHaveLength(3);
    expect(logged.proofs.shown(logged.no).note.signatures).toHaveLength(4);
    for (const peer of peers) await peer.stop();
  });

  test('so often that no note holds it, the log is shown nevertheless', async () => {
    await using much = await behaving('w.example/much', ({ checkpoint }, response, key) => {
      response.end(cosignatureLine(checkpoint.note.text, key, 9n).repeat(63));
    });
    await using fine = await good('w.example/good');
    await using logged = await stage([much, fine]);
    await logged.grow(3);
    expect(await shownBy(logged, [much, fine], (signers) => signers.length === 2)).toHaveLength(2);
    expect(heard.faults).toEqual([]);
  });

  test('nothing at all is not waited for for ever, and the other signs', async () => {
    await using slow = await behaving('w.example/slow', () => undefined);
    await using fine = await good('w.example/good');
    await using logged = await stage([slow, fine]);
    await logged.grow(3);
    expect(await shownBy(logged, [slow, fine], (signers) => signers.length > 0)).toEqual(['w.example/good']);
  });

  test('nothing at all does not hold the end of the server', async () => {
    await using slow = await behaving('w.example/slow', () => undefined);
    const logged = await stage([slow]);
    await logged.grow(3);
    await eventually(
      () => Promise.resolve(slow.asked.length),
      (count) => count > 0,
    );
    const began = performance.now();
    await logged[Symbol.asyncDispose]();
    // Who asks gives up after five seconds.
    expect(performance.now() - began).toBeLessThan(4_500);
  });

  test('that nobody answers for is left out for a while, and the others are heard', async () => {
    // Long enough that it is asked once in this test.
    await using other = await good('other.example/w');
    const gone = { key: newSigner('gone.example/w', SignatureType.COSIGNATURE), url: 'http://127.0.0.1:9' };
    await using logged = await stage([gone, other], 300);
    for (let turn = 0; turn < 2; turn += 1) {
      const size = await logged.grow(1);
      await shownBy(logged, [other], (names, shown) => names.length === 1 && shown === size);
    }
    expect(logged.failures.filter((said) => said.includes('gone.example'))).toHaveLength(1);
  });
});
