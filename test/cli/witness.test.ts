import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { parseCheckpoint } from '../../src/merkle/checkpoint.ts';
import { parseVkey, SignatureType } from '../../src/merkle/keys.ts';
import { isNoteOf } from '../../src/merkle/note.ts';
import { noise } from '../merkle/reference.ts';
import { bodyOf, log } from '../merkle/witnessed.ts';
import { mandate } from './run.ts';
import { NAME, send, witnessArguments, witnessProcess } from './witness-process.ts';

/** `mandate audit witness`, as a shell runs it: what it signed it remembers, however it ended. */

let folder: string;
let state: string;
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'mandate-witness-'));
  state = path.join(folder, 'witness');
});
afterEach(() => rm(folder, { recursive: true, force: true }));

/** The checkpoint of a request, with what a witness answered. */
const signed = (body: string, lines: string) =>
  parseCheckpoint(`${body.slice(body.indexOf('\n\n') + 2)}${lines}`);

test('it prints its key, where it serves and whom it knows, and signs by that key', async () => {
  await using witness = await witnessProcess(state);
  expect(witness.said).toEqual([
    `mandate: witness ${witness.vkey}`,
    expect.stringMatching(/^mandate: serves {2}http:\/\/127\.0\.0\.1:\d+$/) as string,
    `mandate: knows   ${log.name}`,
  ]);
  const key = parseVkey(witness.vkey);
  expect([key.name, key.type]).toEqual([NAME, SignatureType.COSIGNATURE]);
  const answer = await send(witness, bodyOf(0, 3));
  expect(answer).toMatchObject({ status: 200, type: 'text/plain; charset=utf-8' });
  expect(isNoteOf(signed(bodyOf(0, 3), answer.text).note, key)).toBe(true);
  expect(await send(witness, bodyOf(2, 5))).toEqual({ status: 409, type: 'text/x.tlog.size', text: '3\n' });
  expect((await stat(state)).mode & 0o777).toBe(0o700);
  for (const name of await readdir(state))
    expect([name, (await stat(path.join(state, name))).mode & 0o777]).toEqual([name, 0o600]);
});

test('after a restart it is the same witness, and neither rolls back nor signs a fork', async () => {
  const first = await witnessProcess(state);
  expect((await send(first, bodyOf(0, 200))).status).toBe(200);
  expect(await first.end('SIGTERM')).toEqual({ code: 0, signal: null });
  await using again = await witnessProcess(state);
  expect(again.vkey).toBe(first.vkey);
  expect(await send(again, bodyOf(0, 100))).toMatchObject({ status: 409, text: '200\n' });
  expect(await send(again, bodyOf(0, 250))).toMatchObject({ status: 409, text: '200\n' });
  expect((await send(again, bodyOf(200, 250, { root: noise('fork') }))).status).toBe(422);
  expect((await send(again, bodyOf(200, 200, { root: noise('fork') }))).status).toBe(422);
  expect((await send(again, bodyOf(200, 250))).status).toBe(200);
  // Of what it did not sign its operator hears.
  expect(again.stderr()).toBe(
    'mandate: not signed: it is not proved that the log was only appended to\n'.repeat(2),
  );
});

test('two on one folder: the second ends with words, the first goes on', async () => {
  await using first = await witnessProcess(state);
  expect((await send(first, bodyOf(0, 3))).status).toBe(200);
  const second = await mandate(witnessArguments(state));
  expect(second).toMatchObject({ code: 2, stdout: '' });
  expect(second.stderr).toContain('another witness runs on it');
  expect((await send(first, bodyOf(3, 5))).status).toBe(200);
  expect(await first.end('SIGINT')).toEqual({ code: 0, signal: null });
  await using third = await witnessProcess(state);
  expect((await send(third, bodyOf(5, 9))).status).toBe(200);
});

test('two that begin on one new folder are one witness, or one of them ends', async () => {
  const both = await Promise.allSettled([witnessProcess(state), witnessProcess(state)]);
  const running = both.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []));
  expect(running).toHaveLength(1);
  const [one] = running;
  expect((await one?.end('SIGTERM'))?.code).toBe(0);
  await using again = await witnessProcess(state);
  expect(again.vkey).toBe(one?.vkey);
});

test('SIGKILL at any moment loses nothing that it signed', async () => {
  let last = 0;
  for (const [before, after] of [
    [3, 5],
    [9, 20],
    [60, 61],
  ] as const) {
    const witness = await witnessProcess(state);
    expect((await send(witness, bodyOf(last, before))).status).toBe(200);
    // One more is under way when it is killed.
    const underWay = send(witness, bodyOf(before, after)).catch(() => undefined);
    await new Promise((resolve) => setTimeout(resolve, last % 5));
    await witness.end('SIGKILL');
    const isSigned = (await underWay)?.status === 200;
    await using again = await witnessProcess(state);
    const { status, text } = await send(again, bodyOf(1, after));
    expect(status).toBe(409);
    expect(isSigned ? [after] : [before, after]).toContain(Number(text));
    last = Number(text);
    await again.end('SIGKILL');
  }
});

describe('what it does not start with', () => {
  const args = (changes: Record<string, string[]>): string[] => {
    const given: Record<string, string[]> = { name: [NAME], key: [log.name], state: [state], ...changes };
    return [
      'audit',
      'witness',
      ...Object.entries(given).flatMap(([name, [value]]) =>
        value === undefined ? [] : [`--${name}`, value],
      ),
    ];
  };
  const vkey = witnessArguments('')[5] as string;

  test.each([
    ['no key', { key: [] }, 'name what to trust'],
    ['a key that is none', { key: ['abc'] }, 'neither a file nor a verifier key'],
    ['a name with a space', { key: [vkey], name: ['a witness'] }, 'no spaces'],
    ['no port', { key: [vkey], listen: ['127.0.0.1'] }, '--listen'],
    ['a port beyond the last', { key: [vkey], listen: ['127.0.0.1:70000'] }, '--listen'],
    ['an address of nobody', { key: [vkey], listen: ['192.0.2.1:7410'] }, 'cannot listen on 192.0.2.1:7410'],
  ])('%s', async (_what, changes, words) => {
    const { code, stdout, stderr } = await mandate(args(changes));
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toContain(words);
  });

  test('a key file or a database that is something else, which stays as it is', async () => {
    const witness = await witnessProcess(state);
    await witness.end('SIGTERM');
    for (const name of ['witness.key', 'witness.db']) {
      const file = path.join(state, name);
      const whole = await readFile(file);
      await writeFile(
        file,
        'something else, and much more of it than there are bytes in a header of SQLite.',
      );
      const { code, stderr } = await mandate(witnessArguments(state));
      expect([code, stderr.includes(name)]).toEqual([2, true]);
      expect((await readFile(file, 'utf8')).startsWith('something else')).toBe(true);
      await writeFile(file, whole);
    }
    await using again = await witnessProcess(state);
    expect(again.vkey).toBe(witness.vkey);
  });
});
