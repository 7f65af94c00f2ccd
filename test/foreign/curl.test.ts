import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { aliceReads } from '../e2e/requests.ts';
import { relayTo } from './frames.ts';
import { missing, output } from './programs.ts';
import { type Served, securities, serve } from './served.ts';

/** curl, whose HTTP/2 is nghttp2's. */

const absent = missing('curl', 'install the package curl');

interface Answer {
  /** Of HTTP: 2, 1.1. */
  readonly version: string;
  readonly status: number;
  readonly headers: string;
  readonly body: string;
}

const { tenant: _, ...evaluation } = aliceReads;
const EVALUATION = '/t/acme/access/v1/evaluation';
const JSON_TYPE = ['--header', 'content-type: application/json'];

describe.skipIf(absent)(`curl${absent}`, () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'mandate-curl-'));
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  const curl = async (url: string, ...args: string[]): Promise<Answer> => {
    const tail = '\n%{http_version} %{http_code}';
    const text = await output('curl', [
      '-sS',
      '--max-time',
      '60',
      '--include',
      '--write-out',
      tail,
      ...args,
      url,
    ]);
    const [, all = '', version = '', status] = /^(.*)\n(\S+) (\d+)$/s.exec(text) ?? [];
    const cut = all.lastIndexOf('\r\n\r\n');
    return { version, status: Number(status), headers: all.slice(0, cut), body: all.slice(cut + 4) };
  };

  /** An argument that reads what is too long for an argument from a file. */
  const fromFile = async (name: string, text: string): Promise<string> => {
    await writeFile(path.join(folder, name), text);
    return `@${path.join(folder, name)}`;
  };

  describe.each(securities)('over %s', (security) => {
    let server: Served;
    let how: string[];
    beforeAll(async () => {
      server = await serve(security);
      how = server.ca === undefined ? ['--http2-prior-knowledge'] : ['--cacert', server.ca];
    });
    afterAll(() => server?.[Symbol.asyncDispose]());

    const ask = (where: string, ...args: string[]): Promise<Answer> =>
      curl(`${server.url}${where}`, ...how, ...args);

    test('gets a page over HTTP/2', async () => {
      expect(await ask('/livez')).toMatchObject({ version: '2', status: 200, body: 'ok\n' });
    });

    test('RFC 9110 9.3.2: hears of HEAD what GET would say, without its body', async () => {
      const head = await ask('/livez', '--head');
      expect(head).toMatchObject({ version: '2', status: 200, body: '' });
      expect(head.headers).toMatch(/^content-type: text\/plain/m);
    });

    test('is refused a method and a path that there is not', async () => {
      expect(await ask('/livez', '--request', 'DELETE')).toMatchObject({ version: '2', status: 405 });
      expect(await ask('/nothing')).toMatchObject({ version: '2', status: 404 });
    });

    test('posts an AuthZEN evaluation', async () => {
      const { version, status, body } = await ask(
        EVALUATION,
        ...JSON_TYPE,
        '--data',
        JSON.stringify(evaluation),
      );
      expect({ version, status }).toEqual({ version: '2', status: 200 });
      expect(JSON.parse(body)).toMatchObject({ decision: true });
    });

    test('uploads a body of many DATA frames, with its length and without', async () => {
      const large = JSON.stringify({ novelty: 'x'.repeat(900_000), ...evaluation });
      const file = await fromFile('large.json', large);
      for (const length of [[], ['--header', 'content-length:']]) {
        const answer = await ask(EVALUATION, ...JSON_TYPE, ...length, '--data-binary', file);
        expect(answer).toMatchObject({ version: '2', status: 200 });
        expect(JSON.parse(answer.body)).toMatchObject({ decision: true });
      }
    });

    test('sends headers of up to 32 KiB, and hears 431 of more', async () => {
      const cookie = async (length: number): Promise<string> =>
        await fromFile(`cookie-${length}`, `cookie: a=${'y'.repeat(length)}\n`);
      for (const length of [24_000, 31_000])
        expect(await ask('/livez', '--header', await cookie(length))).toMatchObject({
          version: '2',
          status: 200,
        });
      for (const length of [33_000, 40_000]) {
        const answer = await ask('/livez', '--header', await cookie(length));
        expect(answer).toMatchObject({ version: '2', status: 431 });
        expect(JSON.parse(answer.body)).toMatchObject({ error: 'payload_too_large' });
      }
    });

    test('sends cookies as many fields of one name, and many other headers', async () => {
      const many = Array.from({ length: 80 }, (_, at) => `x-number-${at}: ${'z'.repeat(at % 40)}\n`).join('');
      const cookies = Array.from({ length: 20 }, (_, at) => `cookie: c${at}=${at}\n`).join('');
      const file = await fromFile('many', `${many}${cookies}`);
      expect(await ask('/livez', '--header', file)).toMatchObject({ version: '2', status: 200 });
    });
  });

  // Under TLS: curl 7.88 cannot use a connection again that it opened with prior knowledge.
  test('asks many times on one connection', async () => {
    await using server = await serve('TLS');
    const urls = Array.from({ length: 40 }, () => `${server.url}/livez`);
    const written = [
      '--silent',
      '--output',
      '/dev/null',
      '--write-out',
      '%{http_version} %{http_code} %{num_connects}\n',
    ];
    const each = urls.flatMap((url) => ['--next', '--cacert', server.ca ?? '', ...written, url]).slice(1);
    const lines = (await output('curl', each)).trim().split('\n');
    expect(lines).toEqual(['2 200 1', ...urls.slice(1).map(() => '2 200 0')]);
  });

  test('uploads within the window that it is given, over frames of 16 KiB and less', async () => {
    await using server = await serve('cleartext');
    await using relay = await relayTo(server.port);
    const file = await fromFile(
      'frames.json',
      JSON.stringify({ novelty: 'x'.repeat(900_000), ...evaluation }),
    );
    const how = ['--http2-prior-knowledge', ...JSON_TYPE, '--data-binary', file];
    expect(await curl(`http://${relay.address}${EVALUATION}`, ...how)).toMatchObject({ status: 200 });
    expect(relay.count('client', 'DATA')).toBeGreaterThan(50);
    expect(relay.count('server', 'WINDOW_UPDATE')).toBeGreaterThan(1);
  });

  test('RFC 9113 3.1: who asks to upgrade from HTTP/1.1 is answered in HTTP/1.1', async () => {
    await using server = await serve('cleartext');
    expect(await curl(`${server.url}/livez`, '--http2')).toMatchObject({
      version: '1.1',
      status: 200,
      body: 'ok\n',
    });
  });

  test('RFC 7301: chooses by ALPN, and without it HTTP/1.1', async () => {
    await using server = await serve('TLS');
    const trust = ['--cacert', server.ca ?? ''];
    expect(await curl(`${server.url}/livez`, ...trust)).toMatchObject({ version: '2' });
    for (const choice of [['--http1.1'], ['--no-alpn']])
      expect(await curl(`${server.url}/livez`, ...trust, ...choice)).toMatchObject({
        version: '1.1',
        status: 200,
      });
  });
});
