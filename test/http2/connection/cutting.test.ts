import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ErrorCode } from '../../../src/http2/errors.ts';
import { mirror, serving, turns } from '../echo.ts';
import { RawClient } from '../raw-client.ts';
import {
  data,
  END,
  fragmented,
  frame,
  greeting,
  headers,
  hpack,
  literals,
  ping,
  priority,
  request,
  reset,
  settingsAck,
  windowUpdate,
} from '../wire.ts';

/** All that a client says in one connection, an error at its end. */
const script = Buffer.concat([
  greeting(['INITIAL_WINDOW_SIZE', 100]),
  settingsAck(),
  headers(1, Buffer.concat([literals(request('/one')), hpack.added('name', 'value')])),
  data(1, 'some', { pad: 3 }),
  ping(),
  fragmented(3, request('/two', [['x', 'v'.repeat(60)]]), 25),
  priority(3, 1),
  data(1, 'thing', END),
  windowUpdate(1, 1_000),
  frame(0xf0, 1, 1, Buffer.alloc(12)),
  headers(5, [[':method', 'GET']], END),
  data(3, 'x'),
  headers(3, hpack.indexed(62), END),
  headers(7, Buffer.concat([literals(request('/three')), hpack.indexed(62)]), END),
  windowUpdate(3, 1_000),
  windowUpdate(7, 1_000),
  headers(9, request('/four')),
  reset(9),
  headers(3, request(), END),
]);

/** What comes of it, sent in these pieces: each as soon as the one before has been read. */
async function outcome(pieces: Iterable<Uint8Array>): Promise<object> {
  await using served = await serving({ serve: mirror });
  using client = await RawClient.connect(served.port, { settings: false, acknowledges: false });
  let sent = 0;
  for (const piece of pieces) {
    client.send(piece);
    sent += piece.length;
    // The sockets of both sides are of this process.
    for (let tries = 0; (served.sockets[0]?.bytesRead ?? 0) < sent && tries < 1_000; tries += 1) {
      if (client.hasEnded) break;
      await turns(1);
    }
  }
  const code = await client.ended();
  return {
    code,
    goAway: client.goAway,
    answers: [1, 3, 5, 7, 9].map((id) => {
      const { status, reset, isEnded, body } = client.answer(id);
      return { id, status, reset, isEnded, body: body.toString() };
    }),
    requests: served.streams.map(({ fields }) => fields.list.join()),
  };
}

let inOnePiece: Promise<object> | undefined;
const whole = (): Promise<object> => (inOnePiece ??= outcome([script]));

test('RFC 9113 4.1: sent in one piece, it comes to this', async () => {
  expect(await whole()).toMatchObject({
    code: ErrorCode.STREAM_CLOSED,
    answers: [
      { id: 1, status: '200', isEnded: true },
      { id: 3, status: '200', isEnded: true },
      { id: 5, reset: ErrorCode.PROTOCOL_ERROR },
      { id: 7, status: '200', isEnded: true },
      { id: 9, status: undefined, reset: undefined },
    ],
  });
});

test('RFC 9113 4.1: byte by byte it comes to the same', async () => {
  expect(await outcome(Array.from(script, (byte) => Buffer.of(byte)))).toEqual(await whole());
});

test('RFC 9113 4.1: in two pieces, wherever it is cut', async () => {
  for (let at = 24; at < script.length; at += 7)
    expect([at, await outcome([script.subarray(0, at), script.subarray(at)])]).toEqual([at, await whole()]);
});

test('RFC 9113 4.1: in any pieces', async () => {
  const lengths = fc.array(fc.oneof(fc.integer({ min: 1, max: 12 }), fc.integer({ min: 1, max: 200 })), {
    minLength: 1,
    maxLength: 200,
  });
  await fc.assert(
    fc.asyncProperty(lengths, async (lengths) => {
      const pieces: Buffer[] = [];
      for (let at = 0, turn = 0; at < script.length; turn += 1) {
        const length = lengths[turn % lengths.length] as number;
        pieces.push(script.subarray(at, at + length));
        at += length;
      }
      expect(await outcome(pieces)).toEqual(await whole());
    }),
    { seed: 9_113, numRuns: 40 },
  );
});
