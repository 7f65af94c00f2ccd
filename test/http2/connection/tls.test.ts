import type tls from 'node:tls';
import { describe, expect, test } from 'vitest';
import { ErrorCode } from '../../../src/http2/errors.ts';
import { answerAtOnce, echo, eventually, ponder, serving, turns } from '../echo.ts';
import { RawClient } from '../raw-client.ts';
import { upload } from '../upload.ts';
import { counted, data, END, headers, request, windowUpdate } from '../wire.ts';

/** The same over TLS, whose sockets count, wait and end in their own way. */

const MB = 1024 * 1024;
/** A secret that both know: no certificates are needed. */
const common = { minVersion: 'TLSv1.2', maxVersion: 'TLSv1.2', ciphers: 'PSK-AES128-GCM-SHA256' } as const;
const key = Buffer.alloc(16, 7);
const server: tls.TlsOptions = { ...common, pskCallback: () => key };
const secure: tls.ConnectionOptions = {
  ...common,
  pskCallback: () => ({ psk: key, identity: 'test' }),
  checkServerIdentity: () => undefined,
};
const wide = { secure, settings: [['INITIAL_WINDOW_SIZE', 2 ** 30]] as ['INITIAL_WINDOW_SIZE', number][] };

describe('over TLS', () => {
  test('five megabytes both ways at once, intact', async () => {
    await using served = await serving({ secure: server });
    using client = await RawClient.connect(served.port, { secure, takes: 30_000 });
    const body = counted(5 * MB);
    client.send(headers(1, request()));
    await upload(client, new Map([[1, body]]), 16_384);
    expect((await client.answered(1)).body.equals(body)).toBe(true);
  });

  test('a large answer for wide windows, whole', async () => {
    await using served = await serving({ secure: server, serve: answerAtOnce(counted(10 * MB)) });
    using client = await RawClient.connect(served.port, wide);
    client.send(windowUpdate(0, 2 ** 30), headers(1, request(), END), headers(3, request(), END));
    for (const id of [1, 3]) expect((await client.answered(id)).body.equals(counted(10 * MB))).toBe(true);
  });

  test('a client that reads in fits gets all of it, and little waits meanwhile', async () => {
    await using served = await serving({ secure: server, serve: answerAtOnce(counted(24 * MB)) });
    using client = await RawClient.connect(served.port, wide);
    client.send(windowUpdate(0, 2 ** 30), headers(1, request(), END));
    for (let turn = 0; turn < 40; turn += 1) {
      client.socket.pause();
      await turns(5);
      client.socket.resume();
      await turns(2);
    }
    expect((await client.answered(1)).length).toBe(24 * MB);
    expect(served.budget.most).toBeLessThan(26 * MB);
  });

  test('a client that does not read is ended, and all is given back', async () => {
    await using served = await serving({
      secure: server,
      serve: answerAtOnce(counted(24 * MB)),
      bounds: { unreadMs: 80 },
    });
    using client = await RawClient.connect(served.port, wide);
    await client.settled();
    client.socket.pause();
    client.send(windowUpdate(0, 2 ** 30), headers(1, request(), END));
    await served.quiet();
    expect(served.ends).toMatchObject([{ code: ErrorCode.ENHANCE_YOUR_CALM }]);
    expect(served.budget.held).toBe(0);
  });

  test.each(['destroy', 'end'] as const)('a client that goes leaves nothing behind: %s', async (end) => {
    await using served = await serving({ secure: server, serve: ponder });
    using client = await RawClient.connect(served.port, { secure });
    client.send(headers(1, request()), data(1, 'x'), headers(3, request(), END));
    await client.settled();
    client.socket[end]();
    await served.quiet();
    expect(served.open).toBe(0);
    expect(served.streams.map(({ resetCode }) => resetCode)).toEqual([ErrorCode.CANCEL, ErrorCode.CANCEL]);
  });

  test('a client that breaks the protocol hears what it did, and the connection is closed', async () => {
    await using served = await serving({ secure: server, serve: echo });
    using client = await RawClient.connect(served.port, { secure });
    client.send(headers(1, request()), data(2, 'x'));
    expect(await client.ended()).toBe(ErrorCode.PROTOCOL_ERROR);
    await client.closed();
    await served.quiet();
  });

  test('a client that reads slowly is waited for', async () => {
    let now = 1_000;
    await using served = await serving({
      secure: server,
      serve: answerAtOnce(counted(24 * MB)),
      now: () => now,
    });
    using client = await RawClient.connect(served.port, wide);
    await client.settled();
    client.socket.pause();
    client.send(windowUpdate(0, 2 ** 30), headers(1, request(), END));
    await eventually(() => served.streams.length === 1, 'the request to be read');
    while (client.answer(1).length < 20 * MB && !client.isClosed && now < 10_000_000) {
      now += 20_000;
      served.connections[0]?.sweep(now);
      // The kernel tells of room in large steps.
      const before = client.bytesRead;
      client.socket.resume();
      await client.until(() => client.bytesRead > before + 4 * MB || client.isClosed, 'some to be read');
      client.socket.pause();
      await turns(10);
    }
    expect(served.ends).toEqual([]);
  });
});
