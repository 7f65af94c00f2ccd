import { expect, test } from 'vitest';
import { ErrorCode } from '../../../src/http2/errors.ts';
import { mirror, serving } from '../echo.ts';
import { RawClient } from '../raw-client.ts';
import { data, END, headers, request } from '../wire.ts';

/** Connections that are asked to be made anew, while the server goes on. */

const NOTICE_MS = 20;

test('every other connection that has asked is told to leave, and what runs on it is answered', async () => {
  await using served = await serving({ serve: mirror });
  const clients = await Promise.all(Array.from({ length: 5 }, () => RawClient.connect(served.port)));
  using unused = await RawClient.connect(served.port);
  for (const client of clients) {
    client.send(headers(1, request()));
    await client.settled();
  }
  expect(served.server.shed(NOTICE_MS)).toBe(3);
  const leaving = clients.filter((_, at) => at % 2 === 0);
  for (const client of leaving) {
    await client.until(() => client.goAway !== undefined, 'GOAWAY');
    expect(client.goAway?.code).toBe(ErrorCode.NO_ERROR);
  }
  for (const client of clients) {
    client.send(data(1, 'late', END));
    expect(JSON.parse((await client.answered(1)).body.toString())).toMatchObject({ length: 4 });
  }
  for (const client of leaving) await client.closed();
  const staying = clients.filter((client) => !leaving.includes(client));
  for (const client of [...staying, unused]) {
    client.send(headers(3, request(), END));
    await client.answered(3);
    expect(client.goAway).toBeUndefined();
  }
  expect(served.ends).toEqual([]);
  for (const client of clients) client[Symbol.dispose]();
});

test('those that are leaving are not told a second time, and whoever is left may be', async () => {
  await using served = await serving({ serve: mirror });
  const clients = await Promise.all(Array.from({ length: 4 }, () => RawClient.connect(served.port)));
  for (const client of clients) {
    client.send(headers(1, request(), END));
    await client.answered(1);
  }
  expect(served.server.shed(NOTICE_MS)).toBe(2);
  for (const [at, client] of clients.entries()) if (at % 2 === 0) await client.closed();
  expect(served.server.shed(NOTICE_MS)).toBe(1);
  expect(served.server.shed(NOTICE_MS)).toBe(1);
  for (const client of clients) client[Symbol.dispose]();
});
