import { once } from 'node:events';
import http2 from 'node:http2';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { HeaderBlock } from '../../../src/http2/hpack/encoder.ts';
import { type Serve, serving } from '../echo.ts';
import type { Pair } from './decoding.ts';

/** Beside nghttp2, which is Node's client: its encoder against our decoder, and ours against its decoder. */

const SEED = 7_541;
const name = fc.oneof(
  fc.constantFrom('authorization', 'user-agent', 'accept', 'x-request-id', 'grpc-timeout', 'cookie'),
  fc.stringMatching(/^x-[a-z0-9]{1,12}$/),
);
const value = fc.oneof(
  fc.constantFrom('trailers', 'a', 'Bearer 0', 'Bearer 1', ''),
  fc.stringMatching(/^[!-~]([ -~]{0,60}[!-~])?$/),
  fc.stringMatching(/^[\xa1-\xff]{1,20}$/),
  fc.integer({ min: 0, max: 3_000 }).map((length) => 'v'.repeat(length)),
);
const fields = fc.uniqueArray(fc.tuple(name, value), { maxLength: 10, selector: ([name]) => name });
const asked = fc.record({ fields, sensitive: fc.array(fc.nat(9), { maxLength: 4 }) });

const sorted = (pairs: readonly Pair[]): string[] => pairs.map((pair) => pair.join('\0')).sort();

const pairsOf = (list: readonly string[]): Pair[] =>
  Array.from({ length: list.length / 2 }, (_, at) => [list[2 * at] as string, list[2 * at + 1] as string]);

async function connected(port: number, options: http2.ClientSessionOptions = {}) {
  const client = http2.connect(`http://127.0.0.1:${port}`, options);
  await once(client, 'remoteSettings');
  return client;
}

describe('RFC 7541 2.2: requests of one connection, each with the fields that were sent for it', () => {
  test.each([0, 40, 100, 1_000, 4_096, 65_536])('with a table of %i bytes at most', async (size) => {
    const seen = new Map<string, Pair[]>();
    const serve: Serve = (stream) => {
      seen.set(stream.line.path, pairsOf(stream.fields.list));
      stream.receive({ data: () => undefined, end: () => stream.answer(ok), closed: () => stream.settle() });
    };
    await using served = await serving({ serve });
    const client = await connected(served.port, { maxDeflateDynamicTableSize: size });
    const requests = fc.sample(asked, { seed: SEED + size, numRuns: 400 });
    for (let from = 0; from < requests.length; from += 50)
      await Promise.all(
        requests.slice(from, from + 50).map(async ({ fields, sensitive }, at) => {
          const request = client.request({
            ':method': 'POST',
            ':path': `/${from + at}`,
            ...Object.fromEntries(fields),
            [http2.sensitiveHeaders]: sensitive.flatMap((which) => fields[which]?.[0] ?? []),
          });
          request.end();
          await once(request, 'response');
          request.resume();
        }),
      );
    for (const [at, { fields }] of requests.entries()) {
      const line: Pair[] = [
        [':method', 'POST'],
        [':path', `/${at}`],
        [':scheme', 'http'],
        [':authority', `127.0.0.1:${served.port}`],
      ];
      expect([at, sorted(seen.get(`/${at}`) ?? [])]).toEqual([at, sorted([...line, ...fields])]);
    }
    client.destroy();
  });
});

const ok = new HeaderBlock([[':status', '200']]);

const common: Pair[] = [
  ['content-type', 'application/grpc+proto'],
  ['grpc-status', '0'],
  ['content-length', '0'],
  ['server', 'x'],
];
const answered = fc.record({
  // 204 and 304 have no body.
  status: fc.constantFrom('200', '201', '206', '299', '302', '400', '404', '418', '500', '503', '599'),
  head: fc.array(fc.oneof(fc.tuple(name, value), fc.constantFrom(...common.slice(0, 2))), { maxLength: 8 }),
  trailers: fc.array(fc.oneof(fc.tuple(name, value), fc.constantFrom(...common.slice(0, 2))), {
    minLength: 1,
    maxLength: 4,
  }),
});

describe('RFC 7541 2.2: answers of one connection, each with its own fields', () => {
  const SIZES = [4_096, 0, 50, 110, 4_096, 65_536];
  test.each([
    ['SETTINGS_HEADER_TABLE_SIZE from large to small and back', SIZES],
    ['SETTINGS_HEADER_TABLE_SIZE that grows', [4_096, 65_536, 4_096]],
    ['a table of 0 from the beginning', [0, 0, 4_096]],
    ['a table of 110 from the beginning', [110, 50, 110]],
  ])('%s', async (_what, sizes) => {
    const answers = fc.sample(answered, { seed: SEED, numRuns: 60 * sizes.length });
    const serve: Serve = (stream) => {
      const { status, head, trailers } = answers[
        Number(stream.line.path.slice(1))
      ] as (typeof answers)[number];
      stream.answer(
        new HeaderBlock([[':status', status], ...head]),
        Buffer.from(stream.line.path),
        new HeaderBlock(trailers),
      );
    };
    await using served = await serving({ serve });
    const client = await connected(served.port, { settings: { headerTableSize: sizes[0] as number } });
    for (const [turn, size] of sizes.entries()) {
      // Requests are on their way while the table changes.
      if (turn > 0) client.settings({ headerTableSize: size });
      await Promise.all(
        answers.slice(turn * 60, turn * 60 + 60).map(async ({ status, head, trailers }, at) => {
          const path = `/${turn * 60 + at}`;
          const request = client.request({ ':path': path });
          const [came, ended] = [once(request, 'response'), once(request, 'trailers')];
          request.setEncoding('latin1');
          let body = '';
          request.on('data', (chunk: string) => void (body += chunk));
          const [, , raw] = (await came) as [unknown, unknown, string[]];
          const [, , rawTrailers] = (await ended) as [unknown, unknown, string[]];
          expect(pairsOf(raw)).toEqual([[':status', status], ...head]);
          expect(pairsOf(rawTrailers)).toEqual(trailers);
          if (!request.readableEnded) await once(request, 'end');
          expect(body).toBe(path);
        }),
      );
    }
    client.destroy();
  });
});
