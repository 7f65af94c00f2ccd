import { describe, expect, test } from 'vitest';
import { ErrorCode } from '../../../src/http2/errors.ts';
import { mirror, serving } from '../echo.ts';
import { RawClient } from '../raw-client.ts';
import { continuation, END, fragmented, frame, headers, hpack, integer, literals, request } from '../wire.ts';
import { bystander, flood, memoryInUse } from './bystander.ts';

const { ENHANCE_YOUR_CALM, COMPRESSION_ERROR } = ErrorCode;
const MB = 1024 * 1024;
const begun = (id: number, part: Uint8Array = Buffer.alloc(0)): Buffer => frame(1, 0, id, part);

describe('CVE-2024-27316 and others, CONTINUATION flood', () => {
  test.each<[string, (at: number) => Buffer]>([
    ['of full frames', () => continuation(1, Buffer.alloc(16_384))],
    ['of empty frames', () => continuation(1, Buffer.alloc(0))],
    ['of a byte each', () => continuation(1, Buffer.of(0x82))],
    ['of valid fields', () => continuation(1, literals([['x', 'v'.repeat(100)]]))],
    ['of what is no HPACK', () => continuation(1, Buffer.alloc(1_000, 0xff))],
  ])('%s: the connection is ended after a few, and nothing is held', async (_what, bytes) => {
    await using served = await serving();
    using client = await RawClient.connect(served.port);
    await client.settled();
    client.send(begun(1));
    await flood(client, 5_000, bytes);
    expect(await client.ended()).toBe(ENHANCE_YOUR_CALM);
    expect(served.streams).toHaveLength(0);
    expect(served.budget.most).toBeLessThanOrEqual(80 * 1024);
    expect(await bystander(served.port)).toBe('200');
  });

  test('from many connections at once: each holds no more than a header block, and all no more than there is', async () => {
    await using served = await serving({ budgetBytes: MB });
    const clients = await Promise.all(Array.from({ length: 40 }, () => RawClient.connect(served.port)));
    try {
      for (const client of clients) {
        await client.until(() => client.acknowledged > 0, 'SETTINGS');
        client.send(
          begun(1, Buffer.alloc(16_384)),
          continuation(1, Buffer.alloc(16_384)),
          continuation(1, Buffer.alloc(16_384)),
        );
      }
      await Promise.all(clients.slice(30).map((client) => client.ended()));
      expect(served.budget.held).toBeLessThanOrEqual(MB);
      expect(await bystander(served.port)).toBe('200');
    } finally {
      for (const client of clients) client[Symbol.dispose]();
    }
    await served.quiet();
    expect(served.budget.held).toBe(0);
  });

  test('header blocks that are whole, in as many frames as may be, again and again: each is answered', async () => {
    await using served = await serving({ serve: mirror });
    using client = await RawClient.connect(served.port, { takes: 30_000 });
    for (let id = 1; id < 400; id += 2) {
      client.send(fragmented(id, request('/', [['x', 'v'.repeat(25_000)]]), 4_000, END));
      if (id % 20 === 19) await client.answered(id);
    }
    await client.answered(399);
    await client.settled();
    expect(served.budget.held).toBe(0);
  });
});

describe('HPACK bombs', () => {
  test('one large entry, used as often as a frame has room for: 431, and little is kept of it', async () => {
    await using served = await serving({ serve: mirror });
    using client = await RawClient.connect(served.port);
    client.send(headers(1, Buffer.concat([literals(request()), hpack.added('x', 'v'.repeat(4_000))]), END));
    await client.answered(1);
    const before = memoryInUse();
    const bomb = Buffer.concat([literals(request()), Buffer.alloc(16_000, hpack.indexed(62))]);
    for (let id = 3; id < 403; id += 2) {
      client.send(headers(id, bomb, END));
      // 64 MB of fields each, if they were kept.
      expect((await client.answered(id)).status).toBe('431');
    }
    expect(memoryInUse() - before).toBeLessThan(32 * MB);
    expect(await bystander(served.port)).toBe('200');
  });

  test.each<[string, Buffer]>([
    ['an integer of thousands of bytes', Buffer.alloc(16_000, 0xff)],
    ['an integer of zeros without end', Buffer.concat([Buffer.of(0xff), Buffer.alloc(16_000, 0x80)])],
    ['a string of four gigabytes', Buffer.concat([Buffer.of(0), integer(0, 7, 2 ** 32), Buffer.alloc(100)])],
    [
      'a string that is longer than all that may come',
      Buffer.concat([Buffer.of(0), integer(0, 7, 2 ** 24), Buffer.alloc(100)]),
    ],
    ['a table of two gigabytes', hpack.resize(2 ** 31)],
    ['an index beyond all', hpack.indexed(2 ** 24)],
  ])('%s ends the connection', async (_what, block) => {
    await using served = await serving();
    using client = await RawClient.connect(served.port);
    client.send(headers(1, block, END));
    expect(await client.ended()).toBe(COMPRESSION_ERROR);
    expect(await bystander(served.port)).toBe('200');
  });

  test('a table that is emptied and filled again without end: it stays as small as it is', async () => {
    await using served = await serving({ serve: mirror });
    using client = await RawClient.connect(served.port);
    const entries = Array.from({ length: 125 }, (_, at) =>
      hpack.added('', String.fromCharCode(33 + (at % 90))),
    );
    const thrash = Buffer.concat([hpack.resize(0), hpack.resize(4_096), ...entries, ...entries, ...entries]);
    const before = memoryInUse();
    for (let id = 1; id < 2_001; id += 2) {
      client.send(headers(id, thrash, END));
      if (id % 100 !== 1) continue;
      await client.until(() => client.answer(id).isOver || client.hasEnded, 'an answer');
      if (client.hasEnded) break;
    }
    expect(memoryInUse() - before).toBeLessThan(32 * MB);
    // They are malformed, and too many of those are a flood.
    expect(served.streams).toHaveLength(0);
    expect(await bystander(served.port)).toBe('200');
  });

  test('table sizes without end, and no field', async () => {
    await using served = await serving({ serve: mirror });
    using client = await RawClient.connect(served.port);
    client.send(headers(1, Buffer.concat([Buffer.alloc(15_000, 0x20), literals(request())]), END));
    await client.until(() => client.answer(1).isOver || client.hasEnded, 'an answer');
    expect(await bystander(served.port)).toBe('200');
  });
});
