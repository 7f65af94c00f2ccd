import { expect, test } from 'vitest';
import { OK, type Serve, serving, turns } from '../echo.ts';
import { RawClient } from '../raw-client.ts';
import { END, headers, request, windowUpdate } from '../wire.ts';

/** Buffers for what is sent are used again by other connections: none may be while a socket still has it. */

const ROUND = 30_000;

/** Pours letters of the path's first one, as fast as they are taken, with a counter before each thousand. */
const pour: Serve = (stream) => {
  const letter = stream.line.path.charCodeAt(1);
  let count = 0;
  stream.respond(OK);
  const write = (): void => {
    for (; count < 60; count += 1) {
      const chunk = Buffer.alloc(ROUND, letter);
      chunk.writeUInt32BE(count);
      if (!stream.write(chunk)) {
        count += 1;
        return;
      }
    }
    stream.end();
  };
  stream.receive({ data: () => undefined, end: write, closed: () => stream.settle(), drained: write });
};

function check(body: Buffer, letter: number): void {
  for (let at = 0; at + 4 <= body.length; at += ROUND) {
    expect(body.readUInt32BE(at)).toBe(at / ROUND);
    const rest = body.subarray(at + 4, at + ROUND);
    const wrong = rest.findIndex((byte) => byte !== letter);
    if (wrong >= 0) expect.fail(`${String.fromCharCode(letter)}: ${rest[wrong]} at ${at + 4 + wrong}`);
  }
}

test('many connections with slow readers, some destroyed in the middle: each reads what is its own', async () => {
  await using served = await serving({ serve: pour });
  const clients = await Promise.all(
    Array.from({ length: 24 }, async (_, at) => ({
      letter: 0x41 + at,
      client: await RawClient.connect(served.port, { settings: [['INITIAL_WINDOW_SIZE', 2 ** 30]] }),
    })),
  );
  try {
    for (const { client, letter } of clients)
      client.send(windowUpdate(0, 2 ** 30), headers(1, request(`/${String.fromCharCode(letter)}`), END));
    for (let turn = 0; turn < 60; turn += 1) {
      for (const [at, { client }] of clients.entries()) {
        if ((turn + at) % 3 === 0) client.socket.pause();
        else client.socket.resume();
        // Every fourth goes, at a moment of its own, most of them with much on its way.
        if (at % 4 === 3 && turn === at) {
          if (at % 8 === 3) client.socket.destroy();
          else client.socket.resetAndDestroy();
        }
      }
      await turns(3);
    }
    for (const [at, { client, letter }] of clients.entries()) {
      client.socket.resume();
      if (at % 4 !== 3) expect((await client.answered(1)).length).toBe(60 * ROUND);
      check(client.answer(1).body, letter);
    }
  } finally {
    for (const { client } of clients) client[Symbol.dispose]();
  }
});

test('the server destroys connections with much on its way, and others go on', async () => {
  await using served = await serving({ serve: pour });
  for (let round = 0; round < 6; round += 1) {
    const pair = await Promise.all(
      [0, 1].map(() => RawClient.connect(served.port, { settings: [['INITIAL_WINDOW_SIZE', 2 ** 30]] })),
    );
    const [one, two] = pair as [RawClient, RawClient];
    one.socket.pause();
    one.send(windowUpdate(0, 2 ** 30), headers(1, request('/a'), END));
    await turns(10);
    served.connections.at(-2)?.destroy();
    served.connections.at(-1)?.output.flush();
    two.send(windowUpdate(0, 2 ** 30), headers(1, request('/b'), END));
    one.socket.resume();
    if (!two.isClosed) {
      expect((await two.answered(1)).length).toBe(60 * ROUND);
      check(two.answer(1).body, 0x62);
    }
    check(one.answer(1).body, 0x61);
    for (const client of pair) client[Symbol.dispose]();
  }
});
