import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { aliceReads } from '../e2e/requests.ts';
import { bearer, secrets } from '../e2e/server.ts';
import { relayTo } from './frames.ts';
import { missing, output } from './programs.ts';
import { CHECK, questionBytes } from './questions.ts';
import { type Served, securities, serve } from './served.ts';

/** nghttp and h2load, the clients of nghttp2. */

const absent = missing('nghttp', 'install the package nghttp2-client');

const { tenant: _, ...evaluation } = aliceReads;
const EVALUATION = '/t/acme/access/v1/evaluation';
const METADATA = '/.well-known/authzen-configuration/t/acme';
const JSON_TYPE = ['--header', 'content-type: application/json'];

/** How many times each. */
const MANY = 50;

/** What a client may say of itself, and what it does to a server that answers MANY requests at once. */
const ways: Readonly<Record<string, readonly string[]>> = {
  'as it is': [],
  'a window of 255 bytes for a stream': ['--window-bits=8'],
  // RFC 7541 section 4.2: the encoder must say that it has made its table smaller.
  'no table for headers': ['--header-table-size=0'],
  'a table for headers of 64 bytes': ['--header-table-size=64'],
  'a table that is emptied and grows again': ['--header-table-size=0', '--header-table-size=4096'],
  'a table that changes three times': [8192, 64, 4096].map((size) => `--header-table-size=${size}`),
  'a table of its own of no bytes': ['--encoder-header-table-size=0'],
  'frames padded with 255 bytes': ['--padding=255'],
  'headers that take CONTINUATION frames': ['--continuation'],
  'no priorities': ['--no-dep'],
  'no RFC 7540 priorities': ['--no-rfc7540-pri'],
};

describe.skipIf(absent)(`nghttp2${absent}`, () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'mandate-nghttp-'));
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  const file = async (name: string, content: string | Uint8Array): Promise<string> => {
    await writeFile(path.join(folder, name), content);
    return path.join(folder, name);
  };

  describe.each(securities)('nghttp over %s', (security) => {
    let server: Served;
    beforeAll(async () => {
      server = await serve(security);
    });
    afterAll(() => server?.[Symbol.asyncDispose]());

    /** The statuses of all answers, and all that was said. */
    const nghttp = async (
      where: string,
      ...args: string[]
    ): Promise<{ statuses: string[]; text: string }> => {
      const url = `${server.url}${where}`;
      const text = await output('nghttp', ['--verbose', '--timeout=30', '--no-verify-peer', ...args, url]);
      return { statuses: [...text.matchAll(/:status: (\d+)/g)].map(([, status = '']) => status), text };
    };
    const all = (status: string, count = MANY): string[] => Array.from({ length: count }, () => status);

    test.each(Object.entries(ways))('many requests at once: %s', async (_way, options) => {
      const { statuses, text } = await nghttp(METADATA, `--multiply=${MANY}`, ...options);
      expect(statuses).toEqual(all('200'));
      expect(text.split('"policy_decision_point"')).toHaveLength(MANY + 1);
      expect(text).not.toMatch(/recv (RST_STREAM|GOAWAY)/);
    });

    test.each(Object.entries(ways))('many bodies at once: %s', async (_way, options) => {
      const body = await file('some.json', JSON.stringify({ novelty: 'x'.repeat(20_000), ...evaluation }));
      const post = [`--multiply=${MANY}`, '--data', body, ...JSON_TYPE];
      const { statuses, text } = await nghttp(EVALUATION, ...post, ...options);
      expect(statuses).toEqual(all('200'));
      expect(text.split('"decision":true')).toHaveLength(MANY + 1);
    });

    test('answers come whole through windows of a byte or a few', async () => {
      const options = ['--null-out', '--stat', '--timeout=30', '--no-verify-peer'];
      const sizesOf = async (...more: string[]): Promise<string[]> => {
        const text = await output('nghttp', [...options, ...more, `${server.url}${METADATA}`]);
        return [...text.matchAll(/ (\d+ +\d+) \//g)].map(([, row = '']) => row);
      };
      const [whole = ''] = await sizesOf();
      expect(whole).toMatch(/^200 +\d+$/);
      expect(await sizesOf('--window-bits=1')).toEqual([whole]);
      // Many that take a byte at a time would be cut off: that is more work for the server than anybody needs.
      expect(await sizesOf('--window-bits=6', `--multiply=${MANY}`)).toEqual(all(whole));
    });

    test('a body of nearly a mebibyte, padded, without a length, and with trailers', async () => {
      const body = await file('large.json', JSON.stringify({ novelty: 'x'.repeat(900_000), ...evaluation }));
      for (const options of [['--padding=255'], ['--no-content-length'], ['--trailer=x-sum: 1']]) {
        const { statuses, text } = await nghttp(EVALUATION, '--data', body, ...JSON_TYPE, ...options);
        expect(statuses, options[0]).toEqual(['200']);
        expect(text, options[0]).toContain('"decision":true');
      }
    });

    test('RFC 9113 8.1: a body that is too large is answered before it has come, and not reset by an error', async () => {
      const body = await file(
        'too-large.json',
        JSON.stringify({ novelty: 'x'.repeat(3_000_000), ...evaluation }),
      );
      const { statuses, text } = await nghttp(EVALUATION, '--data', body, ...JSON_TYPE);
      expect(statuses).toEqual(['413']);
      expect(text).toContain('payload_too_large');
      expect(text).not.toMatch(/error_code=(?!NO_ERROR)/);
    });

    test('RFC 9110 10.1.1: who expects 100 is told to go on', async () => {
      const body = await file('small.json', JSON.stringify(evaluation));
      const { statuses } = await nghttp(EVALUATION, '--expect-continue', '--data', body, ...JSON_TYPE);
      expect(statuses).toEqual(['100', '200']);
    });
  });

  test('headers come in CONTINUATION frames, in frames of their size', async () => {
    await using server = await serve('cleartext');
    await using relay = await relayTo(server.port);
    const text = await output('nghttp', ['--verbose', '--continuation', `http://${relay.address}/livez`]);
    expect(text).toContain(':status: 200');
    expect(relay.count('client', 'CONTINUATION')).toBeGreaterThan(0);
  });

  describe.each(securities)('h2load over %s', (security) => {
    let server: Served;
    beforeAll(async () => {
      server = await serve(security);
    });
    afterAll(() => server?.[Symbol.asyncDispose]());

    const h2load = (where: string, ...args: string[]): Promise<string> =>
      output('h2load', [...args, `${server.url}${where}`]);
    const everyOne = (count: number): string =>
      `${count} total, ${count} started, ${count} done, ${count} succeeded, 0 failed, 0 errored, 0 timeout`;

    test('five thousand requests, a hundred streams at a time on one connection', async () => {
      const report = await h2load('/livez', '--requests=5000', '--max-concurrent-streams=100');
      expect(report).toContain(everyOne(5_000));
      expect(report).toContain('status codes: 5000 2xx');
      // Three bytes each.
      expect(report).toContain('(15000) data');
    });

    test('five thousand gRPC checks, a hundred at a time on each of ten connections', async () => {
      const message = questionBytes(0);
      const frame = await file(
        `check-${security}`,
        Buffer.concat([Uint8Array.of(0, 0, 0, 0, message.length), message]),
      );
      const headers = [
        'content-type: application/grpc',
        'te: trailers',
        `authorization: ${bearer(secrets.api)}`,
      ];
      const options = ['--requests=5000', '--clients=10', '--max-concurrent-streams=100', '--data', frame];
      const report = await h2load(CHECK, ...options, ...headers.flatMap((header) => ['--header', header]));
      expect(report).toContain(everyOne(5_000));
      expect(report).toContain('status codes: 5000 2xx');
    });

    test('bodies of 20 KB, in windows of a kibibyte', async () => {
      const body = await file(
        `body-${security}`,
        JSON.stringify({ novelty: 'x'.repeat(20_000), ...evaluation }),
      );
      const options = ['--requests=500', '--clients=4', '--max-concurrent-streams=50', '--window-bits=10'];
      const report = await h2load(EVALUATION, ...options, '--data', body, ...JSON_TYPE);
      expect(report).toContain(everyOne(500));
      expect(report).toContain('status codes: 500 2xx');
    });
  });
});
