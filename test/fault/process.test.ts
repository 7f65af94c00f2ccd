import { once } from 'node:events';
import { readFileSync, rmSync, statSync, truncateSync } from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { aliceReads, type CheckJson, check } from '../e2e/requests.ts';
import { bearer, eventually, secrets } from '../e2e/server.ts';
import { logIn } from './log.ts';
import { type ServeProcess, serveProcess } from './process.ts';

/** A process that ends, in good order or not: what it answered is in its log. */

const body = JSON.stringify(aliceReads);

/** A Check whose body the caller holds back. */
async function halfRequest(url: string): Promise<{ finish: () => Promise<string> }> {
  const { hostname, port } = new URL(url);
  const socket = net.connect(Number(port), hostname);
  await once(socket, 'connect');
  socket.write(
    `POST /mandate.v1.DecisionService/Check HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n` +
      `Content-Length: ${body.length}\r\nConnection: close\r\n\r\n${body.slice(0, 10)}`,
  );
  return {
    finish: async () => {
      socket.write(body.slice(10));
      let answer = '';
      for await (const chunk of socket) answer += String(chunk);
      return answer;
    },
  };
}

/** Many callers ask without pause, until none gets an answer any more. Resolves with what was answered. */
function load(server: ServeProcess): { answered: CheckJson[]; ended: Promise<unknown> } {
  const answered: CheckJson[] = [];
  const caller = async (): Promise<void> => {
    for (;;) {
      const answer = await check(server.data, aliceReads, bearer(secrets.api)).catch(() => undefined);
      if (answer?.status !== 200) return;
      answered.push(answer.body);
    }
  };
  return { answered, ended: Promise.all(Array.from({ length: 16 }, caller)) };
}

const enough = (answered: readonly unknown[]) =>
  eventually(
    () => Promise.resolve(answered.length),
    (count) => count > 200,
  );

function expectAllRecorded(store: string, answered: readonly CheckJson[]): void {
  const log = logIn(store);
  expect(log.map(({ index }) => index)).toEqual(log.map((_, at) => at));
  for (const { recordIndex, decisionId } of answered) {
    const index = Number(recordIndex ?? 0);
    expect(log[index]).toMatchObject({ index, decisionId, outcome: 'allow' });
  }
}

describe('SIGTERM', () => {
  test('drains: a request under way is answered and recorded, then the process exits 0', async () => {
    await using server = await serveProcess();
    const half = await halfRequest(server.data);
    // The server has the connection once it answers others that came later.
    await check(server.data, aliceReads);
    const ending = server.end('SIGTERM');
    await eventually(
      () => Promise.resolve(server.stderr()),
      (text) => text.includes('SIGTERM'),
    );
    const answer = await half.finish();
    expect(answer).toMatch(/^HTTP\/1\.1 200 /);
    const decided = JSON.parse(answer.slice(answer.indexOf('{'))) as CheckJson;
    expect(decided.decision).toBe('DECISION_ALLOW');
    expect(await ending).toEqual({ code: 0, signal: null });
    expectAllRecorded(server.store, [decided]);
  });

  test('under load: every answered record is in the store, which opens again', async () => {
    await using server = await serveProcess();
    const { answered, ended } = load(server);
    await enough(answered);
    expect(await server.end('SIGTERM')).toEqual({ code: 0, signal: null });
    await ended;
    expectAllRecorded(server.store, answered);
  });

  test('ends a tail', async () => {
    await using server = await serveProcess();
    const message = Buffer.from('{"tenant":"acme","fromIndex":0}');
    // It answers with the first record, and then waits for more.
    const tail = await fetch(`${server.admin}/mandate.v1.AuditService/Tail`, {
      method: 'POST',
      headers: { 'content-type': 'application/connect+json' },
      body: Buffer.concat([Buffer.from([0, 0, 0, 0, message.length]), message]),
    });
    expect(tail.status).toBe(200);
    const reading = tail.text();
    expect(await server.end('SIGTERM')).toEqual({ code: 0, signal: null });
    expect(await reading).toContain('manifest.apply');
  });
});

describe('SIGKILL', () => {
  test('under load: every answered record is in the store, which opens again', async () => {
    await using server = await serveProcess();
    const { answered, ended } = load(server);
    await enough(answered);
    expect(await server.end('SIGKILL')).toEqual({ code: null, signal: 'SIGKILL' });
    await ended;
    expectAllRecorded(server.store, answered);
  });
});

/** How many records the marks beside a store say are durable. */
const marked = (store: string): number =>
  Math.max(
    ...['mandate.heads.0', 'mandate.heads.1'].map(
      (name) =>
        (JSON.parse(readFileSync(path.join(store, name), 'utf8').split('\n')[0] ?? '') as { records: number })
          .records,
    ),
  );

test('SIGKILL, and what was written is cut off: the next start is refused in words, and changes nothing', async () => {
  await using server = await serveProcess();
  const { answered, ended } = load(server);
  await enough(answered);
  await eventually(
    () => Promise.resolve(marked(server.store)),
    (records) => records > 200,
  );
  expect(await server.end('SIGKILL')).toEqual({ code: null, signal: 'SIGKILL' });
  await ended;
  const wal = path.join(server.store, 'mandate.db-wal');
  // What is written anew from its beginning leaves older pages behind, which nobody misses: so little is what counts.
  truncateSync(wal, Math.min(statSync(wal).size / 2, 64 * 1024));
  const left = readFileSync(wal);
  const again = await serveProcess({ folder: server.folder }).then(
    () => 'it started',
    (error: Error) => error.message,
  );
  expect(again).toMatch(
    /config_invalid: cannot open the store in .*: it ends with \d+ records .* were durable/,
  );
  expect(again).toContain('Put the newer files back. To go on with the store as it is');
  expect(readFileSync(wal).equals(left)).toBe(true);
  rmSync(path.join(server.store, 'mandate.heads.0'));
  rmSync(path.join(server.store, 'mandate.heads.1'));
  await using next = await serveProcess({ folder: server.folder });
  expect((await check(next.data, aliceReads, bearer(secrets.api))).status).toBe(200);
});
