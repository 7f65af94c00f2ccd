import { rm } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createLogger, logChannels } from '../../src/telemetry/logs.ts';
import type { AttackedLog } from '../cli/attacked.ts';
import { Grpc } from '../e2e/grpc.ts';
import { check, connect, request } from '../e2e/requests.ts';
import { fileOf } from '../e2e/served-log.ts';
import { bearer, eventually, type Running, secrets, startIn } from '../e2e/server.ts';
import { asked, isActive, type Kept, keptStore, SIZE, standing, tampered } from './tampered.ts';

/** A server that starts on a store in which somebody changed records and took some out. */

let kept: Kept;
beforeAll(async () => {
  kept = await keptStore();
});
afterAll(() => rm(kept.folder, { recursive: true, force: true }));

/** A name is another in 52 entries, and two entries are gone. */
const CHANGED = [...range(4, 28), ...range(32, 58)];
const DELETED = [29, 30];

function range(from: number, end: number): number[] {
  return Array.from({ length: end - from }, (_, at) => from + at);
}

const named = (log: AttackedLog): void => {
  for (const index of CHANGED) {
    const body = log.db
      .prepare<[number], Buffer>('SELECT bodies FROM runs WHERE id = ?')
      .pluck()
      .get(log.at(index));
    // Each record has one name or another in it.
    const text = (body?.toString('utf8') ?? '').replaceAll(/alice|acme|ES256/g, 'malla');
    log.run('UPDATE runs SET bodies = ? WHERE id = ?', Buffer.from(text), log.at(index));
  }
};
const gone = (log: AttackedLog): void => {
  for (const index of DELETED) log.run('DELETE FROM runs WHERE id = ?', log.at(index));
};

const readyz = async (base: string): Promise<{ status: number; text: string }> => {
  const { status, body } = await request<{ text: string }>(`${base}/readyz?verbose`);
  return { status, text: body.text };
};

interface Page {
  readonly records?: { readonly index?: string }[];
}

/** The indexes that Query answers, in the order of the log. */
async function queried(server: Running, question: object = {}): Promise<number[]> {
  const { body } = await connect<Page>(server.admin, 'AuditService/Query', {
    tenant: 'acme',
    pageSize: 1000,
    ...question,
  });
  return (body.records ?? []).map(({ index }) => Number(index ?? 0)).toReversed();
}

/** The indexes that Tail sends up to the last record. */
async function tailed(server: Running): Promise<number[]> {
  using operator = new Grpc(server.admin, secrets.operator);
  const stream = operator.stream('AuditService', 'Tail', { tenant: 'acme', from_index: 0 });
  const seen: number[] = [];
  for await (const { record } of stream as AsyncIterable<{ record?: { index: number } | null }>) {
    if (record) seen.push(record.index);
    if (record && record.index === SIZE - 1) break;
  }
  return seen;
}

const WHOLE = range(0, SIZE).filter((index) => !CHANGED.includes(index) && !DELETED.includes(index));

test('it names them, serves none of them, and neither appends to that log nor signs it', async () => {
  await using copy = await tampered(kept, (log) => {
    named(log);
    gone(log);
  });
  const before = standing(copy.folder);
  const lines: string[] = [];
  const logger = createLogger('info', { write: (line) => void lines.push(line) });
  using _ = logChannels(logger);
  const server = await startIn(copy.folder, { overrides: { data: kept.data } });
  try {
    const { status, text } = await eventually(
      () => readyz(server.admin),
      ({ text: said }) => said.includes('32 to 57'),
    );
    expect(status).toBe(503);
    for (const words of [
      'records 4 to 27 of its log are',
      'records 29 to 30 of its log are',
      'records 32 to 57 of its log are',
    ])
      expect(text).toContain(`tenant acme: ${words} damaged\n`);
    expect(text).not.toContain('globex');
    // Whoever may not know hears of none by name.
    const outside = await readyz(server.data);
    expect(outside.status).toBe(503);
    expect(outside.text).not.toMatch(/acme|records \d/);
    for (const words of ['records 4 to 27', 'records 29 to 30', 'records 32 to 57'])
      expect(
        lines.filter((line) => line.includes(`${words} of its log are damaged`)).length,
        words,
      ).toBeGreaterThan(0);

    expect(await queried(server)).toEqual(WHOLE);
    expect(await queried(server, { principal: { class: 'user', id: 'malla' } })).toEqual([]);
    expect(await tailed(server)).toEqual(WHOLE);
    for (const index of [4, 29, 57])
      expect((await connect(server.admin, 'AuditService/Receipt', { tenant: 'acme', index })).status).toBe(
        503,
      );
    expect((await fileOf(server, 'tile/entries/000.p/60')).status).toBe(503);

    for (let turn = 0; turn < 3; turn += 1) {
      const answer = await asked(server);
      expect(answer).toMatchObject({ status: 503, body: { code: 'unavailable' } });
      expect(answer.headers.get('mandate-error-code')).toBe('audit_unavailable');
      expect(JSON.stringify(answer.body)).not.toContain('DECISION');
    }
    // What needs a record is refused, too.
    expect(await isActive(server, kept.token)).toBeUndefined();
    const globex = {
      tenant: 'globex',
      subject: { type: 'user', id: 'alice' },
      action: { name: 'document.read' },
      resource: { type: 'document', id: 'x' },
    };
    const other = await check(server.data, globex, bearer(secrets.globexMcp));
    expect(other).toMatchObject({ status: 200, body: { decision: 'DECISION_ALLOW' } });
    // Longer than it takes to state a log that has grown.
    await new Promise((resolve) => setTimeout(resolve, 1_500));
    expect((await fileOf(server, 'checkpoint')).bytes.toString()).toBe(kept.checkpoint);
  } finally {
    await server.stop();
  }
  expect(standing(copy.folder)).toEqual(before);
});

describe('less than that', () => {
  const startedOn = async (
    attack: (log: AttackedLog) => void,
    see: (server: Running) => Promise<void>,
  ): Promise<void> => {
    await using copy = await tampered(kept, attack);
    const server = await startIn(copy.folder, { overrides: { data: kept.data } });
    try {
      await see(server);
    } finally {
      await server.stop();
    }
  };
  const saying = (server: Running, words: string) =>
    eventually(
      () => readyz(server.admin),
      ({ status, text }) => status === 503 && text.includes(words),
    );

  test('a name alone: it is named, and the log goes on, whose tree is what it was', () =>
    startedOn(
      (log) => log.change([40]),
      async (server) => {
        await saying(server, 'tenant acme: record 40 of its log is damaged\n');
        expect((await asked(server)).status).toBe(200);
        expect(await queried(server)).not.toContain(40);
      },
    ));

  test('the last records: nothing is appended at their indexes', () =>
    startedOn(
      (log) => {
        for (const index of [SIZE - 1, SIZE - 2]) log.run('DELETE FROM runs WHERE id = ?', log.at(index));
      },
      async (server) => {
        await saying(server, 'tenant acme: its log ');
        expect((await asked(server)).status).toBe(503);
      },
    ));

  test('the last records, with their count: they are not those of the checkpoint', () =>
    startedOn(
      (log) => {
        for (const index of [SIZE - 1, SIZE - 2]) log.run('DELETE FROM runs WHERE id = ?', log.at(index));
        log.count(SIZE - 2);
      },
      async (server) => {
        await saying(server, `tenant acme: its log is not the one of its checkpoint of ${SIZE} records`);
        expect((await asked(server)).status).toBe(503);
      },
    ));

  test('a name and its hash: the records are others than the checkpoint states', () =>
    startedOn(
      (log) => log.forge([40]),
      async (server) => {
        await saying(server, `tenant acme: its log is not the one of its checkpoint of ${SIZE} records`);
        expect((await asked(server)).status).toBe(503);
      },
    ));
});
