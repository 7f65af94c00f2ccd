import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { aliceReads, check, connect } from '../e2e/requests.ts';
import { bearer, eventually, type Running, secrets, startServer } from '../e2e/server.ts';
import { at, mandate, type Ran } from './run.ts';

/** A copy of a log that somebody keeps. */

let server: Running;
let folder: string;
let key: string;

const exported = (to: string, ...more: string[]): Promise<Ran> => exportedOf('acme', to, ...more);

const exportedOf = (tenant: string, to: string, ...more: string[]): Promise<Ran> =>
  at(server, secrets.operator)('audit', 'export', to, '-t', tenant, ...more);

/** Asks so often, and waits until a checkpoint covers it. */
async function decide(count: number, request: object = aliceReads): Promise<number> {
  let last = 0;
  for (let at = 0; at < count; at += 1) {
    const { body } = await check(server.data, request, bearer(secrets.api));
    last = Number(body.recordIndex ?? 0);
  }
  await eventually(
    async () =>
      (
        await connect<{ checkpoint: string }>(
          server.admin,
          'AuditService/DescribeLog',
          { tenant: 'acme' },
          bearer(secrets.operator),
        )
      ).body.checkpoint,
    (checkpoint) => Number(checkpoint.split('\n')[1]) > last,
  );
  return last + 1;
}

beforeAll(async () => {
  server = await startServer();
  folder = await mkdtemp(path.join(tmpdir(), 'mandate-export-'));
  const asked = { tenant: 'acme' };
  key = (
    await connect<{ key: string }>(server.admin, 'AuditService/DescribeLog', asked, bearer(secrets.operator))
  ).body.key;
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

const modeOf = async (file: string): Promise<number> => (await stat(file)).mode & 0o777;

const verified = (what: string) => mandate(['audit', 'verify', what, '--key', key]);

test('as tiles, which are verified without the server, and gone on with', async () => {
  const to = path.join(folder, 'log');
  const size = await decide(300);
  const first = await exported(to);
  expect([first.code, first.stdout]).toEqual([0, expect.stringMatching(new RegExp(`: ${size} entries of `))]);
  expect((await verified(to)).stdout).toContain(`${size} entries`);
  const full = path.join(to, 'tile/entries/000');
  // A record is for its tenant's eyes.
  expect([await modeOf(full), await modeOf(to)]).toEqual([0o600, 0o700]);
  const before = (await stat(full)).mtimeMs;
  const grown = await decide(5);
  expect((await exported(to)).code).toBe(0);
  expect((await stat(full)).mtimeMs).toBe(before);
  const after = await verified(to);
  expect([after.code, after.stdout]).toEqual([0, expect.stringContaining(`${grown} entries`)]);
  await writeFile(full, (await readFile(full)).fill(0x20, 100, 110));
  expect((await verified(to)).code).toBe(1);
});

test('a folder with another log is left as it is', async () => {
  const to = path.join(folder, 'other');
  await decide(1);
  expect((await exported(to)).code).toBe(0);
  const refused = await exportedOf('globex', to);
  expect([refused.code, refused.stderr]).toEqual([
    2,
    expect.stringMatching(/holds the log \S+acme\S+, and this is/),
  ]);
  // One that was broken off is gone on with; of tiles alone nobody knows.
  await rm(path.join(to, 'checkpoint'));
  expect((await exported(to)).code).toBe(0);
  for (const name of ['checkpoint', 'origin']) await rm(path.join(to, name));
  expect((await exported(to)).stderr).toContain('nothing that says of which');
});

test('as lines and as a table, in which nothing is a formula', async () => {
  const resource = { type: '=cmd|x', id: 'a,"b"\nc' };
  const size = await decide(1, { ...aliceReads, resource });
  const [jsonl, csv] = [path.join(folder, 'log.jsonl'), path.join(folder, 'log.csv')];
  expect((await exported(jsonl, '--format', 'jsonl')).code).toBe(0);
  const lines = (await readFile(jsonl, 'utf8')).trimEnd().split('\n');
  expect(lines.map((line) => (JSON.parse(line) as { index: number }).index)).toEqual(
    Array.from({ length: size }, (_, at) => at),
  );
  expect((await exported(csv, '--format', 'csv')).code).toBe(0);
  expect([await modeOf(jsonl), await modeOf(csv)]).toEqual([0o600, 0o600]);
  const table = await readFile(csv, 'utf8');
  expect(table.startsWith('index,time,kind,outcome,subject,')).toBe(true);
  expect(table).toContain(`,"'=cmd|x:a,""b""\nc",`);
});

test('what cannot be had is an error, and leaves no file that looks whole', async () => {
  const to = path.join(folder, 'none.csv');
  const refused = await mandate([
    '--admin',
    server.admin,
    '--credential',
    'nobody',
    'audit',
    'export',
    to,
    '-t',
    'acme',
    '--format',
    'csv',
  ]);
  expect([refused.code, refused.stderr]).toEqual([2, expect.stringContaining('unauthenticated')]);
  await expect(stat(to)).rejects.toThrow('ENOENT');
  const elsewhere = await exported(to, '--node', 'other');
  expect([elsewhere.code, elsewhere.stderr]).toEqual([2, expect.stringContaining('404')]);
});
