import { expect, test } from 'vitest';
import { mirror, ponder, type Serve, serving } from '../echo.ts';
import { RawClient } from '../raw-client.ts';
import { data, END, fragmented, headers, hpack, literals, request, reset } from '../wire.ts';

/**
 * RFC 7541 section 2.2: each header block goes through the decoder, whatever becomes of its request. Each case has one
 * with an entry for the table; who asks next with that entry must be understood to have sent it.
 */

const serve: Serve = (stream, connection) =>
  (stream.line.path === '/never' ? ponder : mirror)(stream, connection);

const entry = hpack.added('entry', 'of the case');
const block = (fields = request()): Buffer => Buffer.concat([literals(fields), entry]);

const cases: readonly (readonly [what: string, bytes: Buffer[]])[] = [
  ['that is served', [headers(1, block(), END)]],
  ['in several frames', [fragmented(1, block(), 12, END)]],
  [
    'over the limit of streams',
    [headers(1, request('/never')), headers(3, request('/never')), headers(5, block(), END)],
  ],
  ['that is malformed before it', [headers(1, block([]), END)]],
  ['that is malformed behind it', [headers(1, Buffer.concat([block(), hpack.plain('Bad', '')]), END)]],
  ['that is too long before it', [headers(1, block(request('/', [['x', 'v'.repeat(2_000)]])), END)]],
  [
    'that is too long behind it',
    [headers(1, Buffer.concat([block(), hpack.plain('x', 'v'.repeat(2_000))]), END)],
  ],
  ['that depends on itself', [Buffer.concat([ownParent(block())])]],
  ['of trailers', [headers(1, request()), headers(1, entry, END)]],
  [
    'of trailers that are malformed',
    [headers(1, request()), headers(1, Buffer.concat([hpack.plain(':a', ''), entry]), END)],
  ],
  [
    'of trailers that are too long',
    [headers(1, request()), headers(1, Buffer.concat([hpack.plain('x', 'v'.repeat(2_000)), entry]), END)],
  ],
  ['of trailers that do not end it', [headers(1, request()), headers(1, entry)]],
  ['of trailers after the end', [headers(1, request('/never'), END), headers(1, entry, END)]],
  [
    'of trailers of a stream that was given up by the server',
    [headers(1, request('/never', [['content-length', '1']])), data(1, 'xx'), headers(1, entry, END)],
  ],
  [
    'of trailers of a stream that was refused',
    [
      headers(1, request('/never')),
      headers(3, request('/never')),
      headers(5, request()),
      headers(5, entry, END),
    ],
  ],
  ['given up at once', [headers(1, block(request('/never'))), reset(1)]],
];

function ownParent(bytes: Buffer): Buffer {
  const payload = Buffer.concat([Buffer.of(0, 0, 0, 1, 15), bytes]);
  return Buffer.concat([
    Buffer.of(0, payload.length >>> 8, payload.length & 0xff, 1, 0x25, 0, 0, 0, 1),
    payload,
  ]);
}

test.each(cases)(
  'RFC 7541 2.2: the entry of a header section %s is there for the next',
  async (_what, bytes) => {
    await using served = await serving({ serve, limits: { streams: 2 }, bounds: { headerListBytes: 1_000 } });
    using client = await RawClient.connect(served.port);
    client.send(...bytes);
    await client.settled();
    // Whoever still runs makes place.
    for (const stream of served.streams) stream.reset(8);
    client.send(headers(101, Buffer.concat([literals(request()), hpack.indexed(62)]), END));
    const { list } = JSON.parse((await client.answered(101)).body.toString()) as { list: string[] };
    expect(list).toEqual([...request().flat(), 'entry', 'of the case']);
  },
);

test('RFC 7541 2.2: and of a header section after the last stream that is taken', async () => {
  await using served = await serving({ serve });
  using client = await RawClient.connect(served.port);
  client.send(headers(1, request()));
  await client.settled();
  served.server.goAway(true);
  client.send(headers(3, block(), END), headers(5, block()), headers(5, entry, END));
  // The name of its trailers is the entry's; it would be malformed if it were not there.
  client.send(headers(1, hpack.plain(64, 'again'), END));
  expect((await client.answered(1)).status).toBe('200');
});

test('RFC 7541 2.3.3: an index that is none ends the connection, also where the request would be refused', async () => {
  await using served = await serving({ serve, limits: { streams: 1 } });
  using client = await RawClient.connect(served.port);
  client.send(headers(1, request('/never')), headers(3, hpack.indexed(62), END));
  expect(await client.ended()).toBe(9);
});
