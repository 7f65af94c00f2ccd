import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Grpc } from '../e2e/grpc.ts';
import { connect } from '../e2e/requests.ts';
import { eventually, type Running, secrets } from '../e2e/server.ts';
import { decided, Kept, queried } from './kept.ts';

/** A tail over the logs of all servers, at a real authority: by gRPC and by the command, cut off and gone on with. */

let kept: Kept;
let one: Running;
let folder: string;
const others: Running[] = [];

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'mandate-tail-'));
  kept = await Kept.open();
  one = await kept.sidecar('one');
  await kept.arrived('one', await decided(one, 3));
}, 60_000);

afterAll(async () => {
  for (const each of [one, ...others]) await each[Symbol.asyncDispose]();
  await kept[Symbol.asyncDispose]();
  await rm(folder, { recursive: true });
});

interface Told {
  readonly cursor: string;
  readonly node: string;
  readonly record: { readonly node: string; readonly decision_id: string } | null;
}

/** By a stranger's client; answers the ids and the last cursor once all of these were told and a cursor came after them. */
async function tailed(request: object, ids: readonly string[], secret: string = secrets.operator) {
  using reader = new Grpc(kept.authority.admin, secret);
  const stream = reader.stream('AuditService', 'Tail', { tenant: 'acme', ...request });
  const late = setTimeout(() => stream.cancel(), 10_000);
  const seen: string[] = [];
  let first = '';
  for await (const { cursor, node, record } of stream as AsyncIterable<Told>) {
    if (record) {
      expect(record.node).toBe(node);
      seen.push(record.decision_id);
    }
    first ||= cursor;
    if (cursor === '' || !ids.every((id) => seen.includes(id))) continue;
    clearTimeout(late);
    return { seen, cursor, first };
  }
  throw new Error('the tail ended');
}

const count = (all: readonly string[], id: string): number => all.filter((each) => each === id).length;

test('has what comes at all servers, of one that is new too, and goes on by its cursor without a gap', async () => {
  const begun = await tailed({}, []);
  expect(begun.seen).toEqual([]);
  const first = [...(await decided(kept.authority, 2)), ...(await decided(one, 2))];
  const some = await tailed({ cursor: begun.cursor }, first);
  // Nobody listens.
  const two = await kept.sidecar('two');
  others.push(two);
  const then = [...(await decided(two, 3)), ...(await decided(one, 1))];
  const rest = await tailed({ cursor: some.cursor }, then);
  expect(rest.first).not.toBe('');
  for (const id of first) expect(count([...some.seen, ...rest.seen], id)).toBe(1);
  for (const id of then) expect(count(rest.seen, id)).toBe(1);
  // The log that was new is there from its first record on.
  const [beginning] = await queried(kept.authority, { node: 'two', oldestFirst: true });
  expect(rest.seen).toContain(beginning?.decisionId);
});

test('from the beginning it is all that a query of each log finds', async () => {
  const nodes = ['main', 'one'];
  const found = await Promise.all(
    nodes.map((node) => queried(kept.authority, { node, kind: 'decision', oldestFirst: true })),
  );
  const ids = found.flat().map(({ decisionId }) => decisionId);
  const { seen } = await tailed({ cursor: 't' }, ids);
  for (const records of found) {
    const own = records.map(({ decisionId }) => decisionId);
    expect(seen.filter((id) => own.includes(id))).toEqual(own);
  }
});

test.each([
  [{ cursor: 't', node: 'one' }, 'a cursor is of all logs'],
  [{ cursor: 't', from_index: 0 }, 'a cursor is of all logs'],
  [{ cursor: 'elsewhere' }, 'cursor is not one of a tail'],
])('is refused with %j', async (request, why) => {
  await expect(tailed(request, [])).rejects.toThrow(why);
});

test('is for whoever may read the log, and another tenant’s logs are not in it', async () => {
  await expect(tailed({}, [], secrets.agent)).rejects.toThrow('permission_denied');
  const ids = await decided(one, 1, 'globex');
  await kept.arrived('one', ids, 'globex');
  const { cursor } = await tailed({ tenant: 'globex', cursor: 't' }, ids);
  // Places in logs of another tenant say nothing here.
  const { seen } = await tailed({ cursor }, []);
  expect(seen).not.toContain(ids[0]);
});

test('of one log it is as it was: by its index, with no cursor', async () => {
  using reader = new Grpc(kept.authority.admin, secrets.operator);
  for (const request of [{ node: 'one', from_index: 0 }, { from_index: 0 }]) {
    const stream = reader.stream('AuditService', 'Tail', { tenant: 'acme', ...request });
    let seen = 0;
    for await (const { cursor, record } of stream as AsyncIterable<Told>) {
      expect(cursor).toBe('');
      expect(record?.node).toBe('node' in request ? 'one' : 'main');
      if ((seen += 1) === 3) break;
    }
  }
});

test('is a read of the log, with how much it gave', async () => {
  await tailed({ cursor: 't' }, []);
  await eventually(
    async () =>
      (
        await connect<{ records?: { body: string }[] }>(kept.authority.admin, 'AuditService/Query', {
          tenant: 'acme',
          node: 'main',
          kind: 'read',
          action: 'audit.tail',
        })
      ).body.records ?? [],
    (records) =>
      records.some(({ body }) => Buffer.from(body, 'base64').toString().includes('"cursor":"given"')),
  );
});

/** The command, until it has printed all of these. */
async function printed(args: readonly string[], ids: readonly string[]): Promise<string[]> {
  const command = [
    'src/cli/mandate.ts',
    '--json',
    '--admin',
    kept.authority.admin,
    'audit',
    'tail',
    '-t',
    'acme',
  ];
  const child = spawn(process.execPath, [...command, ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  try {
    let text = '';
    const isThere = Promise.withResolvers<void>();
    const late = setTimeout(() => isThere.reject(new Error(`never came: ${text}`)), 40_000);
    child.stdout.on('data', (chunk: Buffer) => {
      text += chunk.toString();
      if (ids.every((id) => text.includes(id))) isThere.resolve();
    });
    await isThere.promise;
    clearTimeout(late);
    // Its place is kept right after it is printed: what was not, when it is killed, would come again.
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    const lines = text.split('\n').slice(0, -1);
    return lines.map((line) => {
      const { node, record } = JSON.parse(line) as { node: string; record: { decision_id: string } };
      return `${node} ${record.decision_id}`;
    });
  } finally {
    child.kill('SIGKILL');
  }
}

test('the command keeps its cursor, and goes on by it after it was killed', async () => {
  const cursor = path.join(folder, 'acme.cursor');
  const args = ['--from', 'beginning', '--cursor', cursor, '--follow'];
  const before = await decided(one, 2);
  await kept.arrived('one', before);
  const all = await printed(args, before);
  expect(new Set(all.map((line) => line.split(' ')[0]))).toContain('main');
  for (const id of before) expect(all).toContain(`one ${id}`);
  expect(await readFile(cursor, 'utf8')).toMatch(/^t(\.[\w-]{12}:[0-9a-z]+)*\n$/);
  const after = [...(await decided(one, 2)), ...(await decided(kept.authority, 1))];
  const rest = await printed(args, after);
  const ids = rest.map((line) => line.split(' ')[1] ?? '');
  for (const id of after) expect(count(ids, id)).toBe(1);
  // It does not begin anew.
  expect(rest.length).toBeLessThan(all.length);
}, 90_000);
