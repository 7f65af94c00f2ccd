import { rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { failure, Grpc } from '../e2e/grpc.ts';
import { aliceReads, check, request } from '../e2e/requests.ts';
import { bearer, eventually, secrets } from '../e2e/server.ts';
import { logIn } from './log.ts';
import { type ServeProcess, serveProcess } from './process.ts';

/** Threads of a real process that hang or end: nobody waits for ever, and the process says so or ends. */

const open = (): Promise<ServeProcess> => serveProcess({ preload: './test/fault/faults.mjs' });

const breakIn = (server: ServeProcess, fault: string): Promise<void> =>
  writeFile(path.join(server.folder, fault), '');

const readyz = async (server: ServeProcess): Promise<string> =>
  (await request<{ text: string }>(`${server.data}/readyz?verbose`)).body.text;

const { tenant: _, ...asked } = aliceReads;
const ask = (pep: Grpc): Promise<unknown> => pep.checkByStream({ ...asked, tenant: 'acme' });

const metric = async (server: ServeProcess, name: string): Promise<number> => {
  const text = await (await fetch(`${server.admin}/metrics`)).text();
  return Number(new RegExp(`^${name} (\\d+)$`, 'm').exec(text)?.[1] ?? -1);
};

/** Asks until the first decision thread answers. */
const onThread = (server: ServeProcess, pep: Grpc): Promise<number> =>
  eventually(
    async () => {
      await ask(pep);
      return metric(server, 'mandate_thread_answers');
    },
    (answers) => answers > 0,
  );

describe.concurrent('a decision thread that hangs', () => {
  test('costs its callers one coded error, and another is started', async () => {
    await using server = await open();
    using pep = new Grpc(server.data, secrets.api);
    await onThread(server, pep);
    await breakIn(server, 'decisions.hang');
    // It may answer a few before it sees the file.
    const refused = await eventually(
      () =>
        failure(ask(pep)).then(
          ({ code }) => code,
          () => '',
        ),
      (code) => code !== '',
    );
    expect(refused).toBe('unavailable');
    expect(await readyz(server)).toContain('a decision thread ended');
    await rm(path.join(server.folder, 'decisions.hang'));
    const before = await metric(server, 'mandate_thread_answers');
    await eventually(
      async () => {
        await ask(pep).catch(() => undefined);
        return metric(server, 'mandate_thread_answers');
      },
      (answers) => answers > before,
    );
  });

  test('does not keep the process from ending', async () => {
    await using server = await open();
    using pep = new Grpc(server.data, secrets.api);
    await onThread(server, pep);
    await breakIn(server, 'decisions.hang');
    const { data } = server;
    const waiting = failure(ask(pep)).catch(() => undefined);
    await check(data, aliceReads);
    expect(await server.end('SIGTERM')).toEqual({ code: 0, signal: null });
    await waiting;
  });
});

describe.concurrent('the writer thread', () => {
  test('ends: so does the process, with a reason, and the next one goes on from what was answered', async () => {
    await using server = await open();
    const answered = await check(server.data, aliceReads, bearer(secrets.api));
    expect(answered.status).toBe(200);
    await breakIn(server, 'writer.end');
    expect(await server.ended).toEqual({ code: 2, signal: null });
    expect(server.stderr()).toMatch(/the writer thread ended; nothing can be recorded, so the process ends/);
    expect(logIn(server.store).at(-1)).toMatchObject({ decisionId: answered.body.decisionId });
    await rm(path.join(server.folder, 'writer.end'));
    await using next = await serveProcess({ folder: server.folder });
    expect((await check(next.data, aliceReads, bearer(secrets.api))).status).toBe(200);
  });

  test('hangs: it is not ready, nobody waits for ever or is answered, and a signal ends it', async () => {
    await using server = await open();
    expect((await check(server.data, aliceReads)).status).toBe(200);
    await breakIn(server, 'writer.hang');
    const answers = await Promise.all(Array.from({ length: 5 }, () => check(server.data, aliceReads)));
    // The first may have come before it hung.
    expect(answers.at(-1)).toMatchObject({ status: 503, body: { code: 'unavailable' } });
    expect(await readyz(server)).toMatch(/^not ready\nstore: the writer does not answer/);
    expect(await check(server.data, aliceReads)).toMatchObject({ status: 503 });
    expect((await request(`${server.data}/livez`)).status).toBe(200);
    // It is killed at last by itself if the thread cannot be.
    const { code, signal } = await server.end('SIGTERM');
    expect([code, signal]).not.toEqual([null, null]);
  });
});
