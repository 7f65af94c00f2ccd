import { createHash } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import tls from 'node:tls';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Overrides } from '../../../src/config.ts';
import { openReader } from '../../../src/storage/reader.ts';
import { Authority } from '../../e2e/authority.ts';
import { aliceReads, check, request } from '../../e2e/requests.ts';
import { bearer, eventually, type Running, secrets, startIn, writeTenants } from '../../e2e/server.ts';
import { type Line, linesIn, type Receiver, receiver } from './receiver.ts';

/** A server that sends its records to sinks. */

let folder: string;
let there: Receiver;
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'mandate-sinks-'));
  await writeTenants(folder);
  there = await receiver();
});
afterEach(async () => {
  await there[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

type Sinks = NonNullable<Overrides['sinks']>;
const started = (sinks: Sinks): Promise<Running> => startIn(folder, { overrides: { sinks } });
const siem = (more: object = {}): Sinks => [{ name: 'siem', http: { url: there.url }, ...more }] as Sinks;

/** Asks so often; answers the ids of the decisions. */
async function decide(server: Running, count: number): Promise<string[]> {
  const ids: string[] = [];
  for (let at = 0; at < count; at += 1) {
    const { status, body } = await check(server.data, aliceReads, bearer(secrets.api));
    expect(status).toBe(200);
    ids.push(body.decisionId);
  }
  return ids;
}

function placesOf(sink: string): number {
  const db = openReader(path.join(folder, 'data'));
  try {
    const count = db.prepare<[string], number>('SELECT count(*) FROM sink_cursors WHERE sink = ?');
    return count.pluck().get(sink) ?? 0;
  } finally {
    db.close();
  }
}

const arrived = (holds: (lines: Line[]) => boolean): Promise<Line[]> =>
  eventually(() => Promise.resolve(linesIn(there)), holds);

const idsOf = (lines: readonly Line[]): string[] => lines.map(({ record }) => record.decision_id);
const has = (ids: readonly string[]) => (lines: Line[]) => ids.every((id) => idsOf(lines).includes(id));

/** Each log's records from its beginning, in order, none left out; those that came again count once. */
function expectWhole(lines: readonly Line[]): void {
  const next = new Map<string, number>();
  for (const { tenant, index } of lines) {
    const expected = next.get(tenant) ?? 0;
    expect(index, tenant).toBeLessThanOrEqual(expected);
    next.set(tenant, Math.max(expected, index + 1));
  }
}

describe('over HTTP', () => {
  test('every record of every log arrives, word for word, with its place', async () => {
    await using server = await started(siem());
    const ids = await decide(server, 30);
    const lines = await arrived(has(ids));
    expectWhole(lines);
    expect(new Set(lines.map(({ tenant }) => tenant))).toEqual(new Set(['acme', 'globex']));
    const { records } = server.mandate.services;
    const { no } = server.mandate.tenants.get('acme');
    const [stored] = records.range(no, 5, 1);
    const line = there.batches
      .flatMap(({ text }) => text.split('\n'))
      .find((each) => each.includes('"index":5,'));
    expect(line).toContain(`"record":${Buffer.from(stored?.body ?? []).toString('utf8')}}`);
    const headers = there.batches[0]?.headers;
    expect(headers?.['content-type']).toBe('application/x-ndjson');
    const first = there.batches[0]?.text ?? '';
    expect(headers?.['idempotency-key']).toBe(createHash('sha256').update(first).digest('hex'));
  });

  test('one that is down delays nothing and loses nothing; the operator sees it', async () => {
    there.answer = () => ({ status: 503, body: 'not  now\n' });
    await using server = await started(siem());
    const ids = await decide(server, 20);
    const text = await eventually(
      async () => (await request<{ text: string }>(`${server.admin}/readyz?verbose`)).body.text,
      (said) => said.includes('sink siem'),
    );
    expect(text).toMatch(/^ready\nsink siem: http:\S+ answers 503: not now; \d+ records wait in the log\n/);
    const metrics = async (): Promise<string> =>
      (await request<{ text: string }>(`${server.admin}/metrics`)).body.text;
    expect(await metrics()).toContain('mandate_sink_failing{sink="siem"} 1');
    there.answer = () => ({ status: 200 });
    expectWhole(await arrived(has(ids)));
    await eventually(metrics, (said) => said.includes('mandate_sink_lag_records{sink="siem"} 0'));
  });

  test('one that refuses a batch for its size gets smaller ones', async () => {
    await using server = await started(siem());
    const ids = await decide(server, 40);
    const sizes: number[] = [];
    there.answer = (text) => {
      const size = text.trimEnd().split('\n').length;
      sizes.push(size);
      return { status: size > 3 ? 413 : 200 };
    };
    await decide(server, 20).then((more) => ids.push(...more));
    expectWhole(await arrived(has(ids)));
    expect(Math.min(...sizes)).toBeLessThanOrEqual(3);
  });

  test('a restart goes on where it was, and what was not noted comes again', async () => {
    const first = await started(siem());
    const before = await decide(first, 10);
    await arrived(has(before));
    there.answer = () => undefined;
    const during = await decide(first, 10);
    await first.stop();
    there.answer = () => ({ status: 200 });
    await using second = await started(siem());
    const after = await decide(second, 5);
    const lines = await arrived(has([...before, ...during, ...after]));
    expectWhole(lines);
    // What was noted does not come again.
    const [id] = before;
    expect(idsOf(lines).filter((each) => each === id)).toHaveLength(1);
  });

  test('only what is asked for, from now on, in the form that is asked for', async () => {
    const before = await started([]);
    const old = await decide(before, 3);
    await before.stop();
    const filtered = {
      tenants: ['acme'],
      kinds: ['decision'],
      outcomes: ['deny'],
      from: 'now',
      format: 'cloudevents',
    };
    await using server = await started(siem(filtered));
    // Where it begins is kept before anything is sent.
    await eventually(
      () => Promise.resolve(placesOf('siem')),
      (count) => count > 0,
    );
    await decide(server, 3);
    const denied = await check(
      server.data,
      { ...aliceReads, action: { name: 'nothing' } },
      bearer(secrets.api),
    );
    const events = await eventually(
      () =>
        Promise.resolve(
          there.batches.flatMap(({ text }) => JSON.parse(text) as { id: string; data: Line['record'] }[]),
        ),
      (all) => all.length > 0,
    );
    expect(events.map(({ data }) => data.decision_id)).toEqual([denied.body.decisionId]);
    expect(old).not.toContain(events[0]?.data.decision_id);
    expect(events[0]).toMatchObject({
      specversion: '1.0',
      type: 'mandate.decision',
      subject: 'acme',
      source: expect.stringMatching(/^\/\/127\.0\.0\.1:\d+\/t\/acme\/log\/main$/) as unknown,
    });
  });

  test("OPA's form, and a token that is renewed", async () => {
    const token = path.join(folder, 'token');
    await writeFile(token, 'first\n');
    await using server = await started([
      { name: 'opa', http: { url: there.url, token_file: token }, format: 'opa' },
    ]);
    await decide(server, 1);
    await eventually(
      () => Promise.resolve(there.batches.length),
      (count) => count > 0,
    );
    await writeFile(token, 'second');
    const [id] = await decide(server, 1);
    const all = await eventually(
      () => Promise.resolve(there.batches),
      (batches) => batches.some(({ text }) => text.includes(String(id))),
    );
    expect(all[0]?.headers.authorization).toBe('Bearer first');
    expect(all.at(-1)?.headers.authorization).toBe('Bearer second');
    const event = (JSON.parse(all.at(-1)?.text ?? '[]') as { decision_id: string }[]).find(
      ({ decision_id }) => decision_id === id,
    );
    expect(event).toMatchObject({
      path: 'mandate/decision',
      labels: { tenant: 'acme' },
      result: { allow: true, decision: 'allow' },
      requested_by: 'service:docs-api',
      input: { subject: { id: 'alice' } },
    });
  });
});

describe('into a file', () => {
  const place = (): string => path.join(folder, 'out.jsonl');
  // What is behind the last end of a line is being written.
  const lines = async (file = place()): Promise<Line[]> =>
    (await readFile(file, 'utf8').catch(() => ''))
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line) as Line);

  test('a line a record; what a cut left of a line is written over', async () => {
    const sinks: Sinks = [{ name: 'file', file: { path: place() }, tenants: ['acme'] }];
    const first = await started(sinks);
    const before = await decide(first, 5);
    await eventually(lines, has(before));
    await first.stop();
    await writeFile(place(), '{"tenant":"acme","ind', { flag: 'a' });
    await using second = await started(sinks);
    const after = await decide(second, 5);
    const all = await eventually(lines, has([...before, ...after]));
    expectWhole(all);
  });

  test("a file of somebody else's is left alone, and the operator hears of it", async () => {
    await writeFile(place(), 'not a line of ours');
    await using server = await started([{ name: 'file', file: { path: place() } }]);
    await decide(server, 3);
    const told = await eventually(
      async () => (await request<{ text: string }>(`${server.admin}/readyz?verbose`)).body.text,
      (said) => said.includes('sink file'),
    );
    expect(told).toContain('it holds no whole line');
    expect(await readFile(place(), 'utf8')).toBe('not a line of ours');
  });

  test('a file that is full is renamed, and so many are kept', async () => {
    const sinks: Sinks = [{ name: 'file', file: { path: place(), max_bytes: 65_536, keep: 2 } }];
    await using server = await started(sinks);
    const context = { context: { padding: 'x'.repeat(30_000) } };
    for (let at = 0; at < 8; at += 1) {
      const { body } = await check(server.data, { ...aliceReads, ...context }, bearer(secrets.api));
      await eventually(lines, has([body.decisionId]));
    }
    const sizes = await Promise.all(
      [`${place()}.1`, `${place()}.2`].map(async (file) => (await lines(file)).length),
    );
    expect(Math.min(...sizes)).toBeGreaterThan(0);
    await expect(readFile(`${place()}.3`)).rejects.toThrow('ENOENT');
  });
});

describe('to syslog', () => {
  /** RFC 5425: each message after its length. */
  function messagesIn(bytes: Buffer): string[] {
    const messages: string[] = [];
    for (let at = 0; at < bytes.length; ) {
      const space = bytes.indexOf(0x20, at);
      const end = space + 1 + Number(bytes.toString('ascii', at, space));
      if (space < 0 || end > bytes.length) break;
      messages.push(bytes.toString('utf8', space + 1, end));
      at = end;
    }
    return messages;
  }

  test('over TLS, a message a record; a receiver nobody vouches for gets none', async () => {
    const authority = await Authority.create(folder, 'soc');
    const { pem } = await authority.issue('receiver', { 'IP.1': '127.0.0.1' });
    let bytes = Buffer.alloc(0);
    const server = tls.createServer(pem, (socket) => {
      socket.on('data', (chunk) => {
        bytes = Buffer.concat([bytes, chunk]);
      });
      socket.on('error', () => undefined);
    });
    server.on('tlsClientError', () => undefined);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    const target = { host: '127.0.0.1', port };
    await using running = await started([
      { name: 'soc', syslog: { ...target, ca: authority.ca.cert }, tenants: ['acme'] },
      { name: 'other', syslog: target },
    ]);
    const ids = await decide(running, 5);
    const messages = await eventually(
      () => Promise.resolve(messagesIn(bytes)),
      (all) => ids.every((id) => all.some((message) => message.includes(id))),
    );
    const form =
      /^<(\d+)>1 \d{4}-\d\d-\d\dT[\d:.]+Z \S+ mandate \d+ (\w+) \[mandate@32473 tenant="acme" index="(\d+)" outcome="(\w+)"\] \ufeff(\{.*\})$/;
    const read = messages.map((message) => form.exec(message));
    expect(read.map((match) => Number(match?.[3]))).toEqual(read.map((_, at) => at));
    const decided = read.find((match) => match?.[2] === 'decision');
    expect([decided?.[1], decided?.[4]]).toEqual([String(13 * 8 + 6), 'allow']);
    await eventually(
      async () => (await request<{ text: string }>(`${running.admin}/readyz?verbose`)).body.text,
      (said) => /sink other: 127\.0\.0\.1:\d+: .*certificate/.test(said),
    );
    server.close();
  });
});

describe('the configuration', () => {
  test.each<[string, Sinks, RegExp]>([
    ['a sink without a target', [{ name: 'x' }], /one of http, file and syslog/],
    ['two targets', [{ name: 'x', http: { url: 'https://a.example' }, file: { path: 'a' } }], /one of http/],
    [
      'two of one name',
      [
        { name: 'x', file: { path: 'a' } },
        { name: 'x', file: { path: 'b' } },
      ],
      /one name/,
    ],
    ['cleartext to elsewhere', [{ name: 'x', http: { url: 'http://siem.example' } }], /is not https/],
  ])('%s is refused', async (_, sinks, why) => {
    await expect(started(sinks)).rejects.toThrow(why);
  });
});
