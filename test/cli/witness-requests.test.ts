import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import net from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { witnessServer } from '../../src/audit/witness/server.ts';
import { SignatureType } from '../../src/merkle/keys.ts';
import { Witness } from '../../src/merkle/witness.ts';
import { newSigner } from '../merkle/signers.ts';
import { bodyOf, log, MemoryState } from '../merkle/witnessed.ts';
import { send, type WitnessProcess, witnessProcess } from './witness-process.ts';

/** Whoever reaches a witness: no request ends it, or is kept for long. */

const MOST = 128 * 1024;

let folder: string;
let witness: WitnessProcess;
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'mandate-witness-'));
  witness = await witnessProcess(folder);
});
afterAll(async () => {
  await witness[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

test.concurrent('a body has 128 KiB at most', async () => {
  expect((await send(witness, 'x'.repeat(MOST))).status).toBe(400);
  const { status, text } = await send(witness, 'x'.repeat(MOST + 1));
  expect([status, text]).toEqual([413, 'a request has 131072 bytes at most\n']);
  expect((await send(witness, '')).status).toBe(400);
  // In bytes, not in characters.
  expect((await send(witness, 'ä'.repeat(MOST / 2 + 1))).status).toBe(413);
});

test.concurrent('so it has where its length is not said, and what is more is not read', async () => {
  using socket = await connected();
  socket.write('POST /add-checkpoint HTTP/1.1\r\nHost: w\r\nTransfer-Encoding: chunked\r\n\r\n');
  const chunk = `4000\r\n${'x'.repeat(0x4000)}\r\n`;
  let sent = 0;
  for (; sent < 4_000 && !socket.ended(); sent += 1)
    if (!socket.write(chunk)) await new Promise((resolve) => setTimeout(resolve, 5));
  expect(socket.heard()).toMatch(/^HTTP\/1\.1 413 /);
  expect(sent).toBeLessThan(4_000);
});

test.concurrent.each([
  ['GET', '/add-checkpoint', 405],
  ['PUT', '/add-checkpoint', 405],
  ['DELETE', '/add-checkpoint', 405],
  ['POST', '/', 404],
  ['GET', '/', 404],
  ['POST', '/add-checkpoint/', 404],
  ['POST', '/Add-checkpoint', 404],
  ['POST', '/add-checkpoint?x', 404],
  ['POST', '/sign-subtree', 404],
  ['POST', '//add-checkpoint', 404],
  ['POST', '/../witness.key', 404],
  ['GET', '/%2e%2e/witness.key', 404],
])('%s %s is %i, and signs nothing', async (method, place, status) => {
  const body = method === 'GET' ? {} : { body: bodyOf(0, 3) };
  const response = await fetch(`${witness.url}${place}`, { method, ...body });
  expect(response.status).toBe(status);
  expect(await response.text()).not.toContain('—');
});

test.concurrent('HEAD has no body', async () => {
  const { status } = await fetch(`${witness.url}/add-checkpoint`, { method: 'HEAD' });
  expect(status).toBe(405);
});

test.concurrent('who sends slowly is not waited for', async () => {
  using body = await connected();
  body.write('POST /add-checkpoint HTTP/1.1\r\nHost: w\r\nContent-Length: 1000\r\n\r\nold 0');
  using head = await connected();
  head.write('POST /add-checkpoint HTTP/1.1\r\nHost');
  await Promise.all([body.end, head.end]);
  for (const each of [body, head]) expect(each.heard()).toMatch(/^(?:HTTP\/1\.1 408 |$)/);
});

test.concurrent('a connection is kept, and what is no HTTP is answered', async () => {
  using kept = await connected();
  const question = `POST /add-checkpoint HTTP/1.1\r\nHost: w\r\nContent-Length: 1\r\n\r\nx`;
  kept.write(question + question + question);
  await kept.hearing(/(?:HTTP\/1\.1 400 [^]*){3}/);
  using garbage = await connected();
  garbage.write('\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03');
  await garbage.end;
  expect(garbage.heard()).toMatch(/^HTTP\/1\.1 400 /);
});

test('it ends on SIGTERM with 0, whoever is connected', async () => {
  const place = path.join(folder, 'other');
  await using other = await witnessProcess(place);
  using idle = await connected(other);
  using slow = await connected(other);
  slow.write('POST /add-checkpoint HTTP/1.1\r\nHost: w\r\nContent-Length: 1000\r\n\r\nold 0');
  expect((await send(other, bodyOf(0, 3))).status).toBe(200);
  expect(await other.end('SIGTERM')).toEqual({ code: 0, signal: null });
  await Promise.all([idle.end, slow.end]);
  // It did not wait until they were late.
  expect([idle.heard(), slow.heard()]).toEqual(['', '']);
});

test('a request has ten seconds, and its head five', () => {
  const key = newSigner('witness.example/w1', SignatureType.COSIGNATURE);
  const nothing = (): void => undefined;
  const server = witnessServer(new Witness(key, [log], new MemoryState()), nothing, nothing);
  expect([server.requestTimeout, server.headersTimeout]).toEqual([10_000, 5_000]);
});

describe('where the disk is full', () => {
  test('nothing is signed, the answer says so, and it goes on', async () => {
    const state = new MemoryState();
    const key = newSigner('witness.example/w1', SignatureType.COSIGNATURE);
    const failures: unknown[] = [];
    const server = witnessServer(
      new Witness(key, [log], state),
      () => undefined,
      (error) => failures.push(error),
    );
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const here = { url: `http://127.0.0.1:${(server.address() as net.AddressInfo).port}` };
    state.fails = true;
    const { status, text } = await send(here, bodyOf(0, 3));
    expect([status, text]).toEqual([500, 'what was signed could not be kept, so nothing was\n']);
    expect(failures).toEqual([new Error('the disk is full')]);
    state.fails = false;
    expect((await send(here, bodyOf(0, 3))).status).toBe(200);
    server.close();
    server.closeAllConnections();
  });
});

interface Connected extends Disposable {
  write(text: string): boolean;
  heard(): string;
  hearing(pattern: RegExp): Promise<void>;
  ended(): boolean;
  /** Resolves when the other side has ended it. */
  readonly end: Promise<unknown>;
}

async function connected({ url }: { url: string } = witness): Promise<Connected> {
  const socket = net.connect(Number(new URL(url).port), '127.0.0.1');
  let heard = '';
  socket.setEncoding('latin1').on('data', (text: string) => {
    heard += text;
  });
  socket.on('error', () => undefined);
  const end = new Promise((resolve) => socket.once('close', resolve));
  await once(socket, 'connect');
  return {
    write: (text) => socket.write(text, 'latin1'),
    heard: () => heard,
    ended: () => socket.destroyed || socket.readableEnded,
    end,
    hearing: async (pattern) => {
      while (!pattern.test(heard)) await once(socket, 'data');
    },
    [Symbol.dispose]: () => void socket.destroy(),
  };
}
