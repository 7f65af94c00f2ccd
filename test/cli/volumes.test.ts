import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { aliceReads, check, connect } from '../e2e/requests.ts';
import { bearer, eventually, type Running, secrets, startIn, startServer } from '../e2e/server.ts';
import { at, mandate, type Ran } from './run.ts';

/** Where a log's older records are, as an operator sees and moves them. */

let server: Running;
let folder: string;
let keyFile: string;

const audit = (...args: string[]): Promise<Ran> => at(server, secrets.operator)('audit', ...args);

async function decide(count: number): Promise<void> {
  let last = 0;
  for (let n = 0; n < count; n += 1) {
    const { body } = await check(server.data, aliceReads, bearer(secrets.api));
    last = Number(body.recordIndex ?? 0);
  }
  await eventually(
    async () => (await described()).checkpoint,
    (checkpoint) => Number(checkpoint.split('\n')[1]) > last,
  );
}

const described = async (): Promise<{ key: string; checkpoint: string }> =>
  (
    await connect<{ key: string; checkpoint: string }>(
      server.admin,
      'AuditService/DescribeLog',
      { tenant: 'acme' },
      bearer(secrets.operator),
    )
  ).body;

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'mandate-volumes-'));
  server = await startServer({ overrides: { archive: { folder: path.join(folder, 'archive') } } });
  keyFile = path.join(folder, 'acme.vkey');
  await writeFile(keyFile, (await described()).key);
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

test('a log becomes volumes, which are read, proved, backed up, held, archived and proved again', async () => {
  await decide(300);
  const before = (await audit('query', '-t', 'acme', '-n', '290', '--json')).stdout;
  expect((await audit('volumes', '-t', 'acme')).stdout).toMatch(
    /^RECORDS +FROM +TO +KIB +STATE +SINCE +PLACE *\n$/,
  );
  const made = await audit('volumes', '-t', 'acme', '--make');
  expect(made.stdout).toMatch(/^0-255 +\S+ +\S+ +\d+ +here /m);
  expect((await audit('query', '-t', 'acme', '-n', '290', '--json')).stdout).toBe(before);

  const copy = path.join(folder, 'copy');
  const backup = await mandate(['store', 'backup', copy, '--data-dir', server.config.data_dir]);
  expect(backup.stderr).toBe('');
  const proved = await mandate(['audit', 'verify', copy, '--key', keyFile, '-t', 'acme']);
  expect(proved.stdout).toMatch(/^proved +\S+\/t\/acme\/log\/main: \d+ entries/);
  expect(proved.stdout).not.toMatch(/hashes alone/);

  expect((await audit('hold', '-t', 'acme', '--reason', ' ')).stderr).toMatch(
    /invalid_request: reason is of 1 to 1000/,
  );
  expect((await audit('hold', '-t', 'acme', '--reason', 'case 7')).stdout).toBe('the log of acme is held\n');
  expect((await audit('hold', '-t', 'acme', '--reason', 'case 8')).stdout).toBe(
    'the log of acme was held already\n',
  );
  expect((await audit('volumes', '-t', 'acme')).stdout).toMatch(/^held by operator:root since \S+: case 7$/m);
  expect((await audit('release', '-t', 'acme')).stdout).toBe('the log of acme is released\n');

  expect((await audit('archive', '-t', 'acme', '--older-than', '1d')).stdout).toBe(
    'there was no volume to archive\n',
  );
  const archived = await audit('archive', '-t', 'acme');
  expect(archived.stdout).toMatch(/^records 0 to 255: .*\/log\/main\/0-256\.jsonl\.zst$/m);
  expect(await readdir(path.join(server.config.data_dir, 'volumes'), { recursive: true })).toEqual([
    expect.stringMatching(/^\d+$/),
  ]);
  const proof = await mandate(['audit', 'verify', path.join(folder, 'archive'), '--key', keyFile]);
  expect(proof).toMatchObject({ code: 0, stderr: '' });
  expect(proof.stdout).toMatch(/^proved +\S+\/t\/acme\/log\/main: \d+ entries\n$/);
  expect((await audit('receipt', '0', '-t', 'acme')).stderr).toMatch(
    /^mandate: gone: records 0 to 255 were archived on /,
  );

  const exported = await audit('export', path.join(folder, 'tiles'), '-t', 'acme');
  expect(exported.stdout).toMatch(
    /\n256 more are of tiles that were archived or removed: `mandate audit volumes` says which\n$/,
  );
  const tiles = await mandate(['audit', 'verify', path.join(folder, 'tiles'), '--key', keyFile]);
  expect(tiles.stdout).toMatch(/^proved .*\n +entries 0 to \d+ were archived or removed/);
  const lines = path.join(folder, 'lines.jsonl');
  await audit('export', lines, '-t', 'acme', '--format', 'jsonl');
  const [first = '', ...rest] = (await readFile(lines, 'utf8')).split('\n');
  expect(first).toMatch(/^\{"index":0,"leaf_hash":"[^"]{44}"\}$/);
  expect(rest[255]).toMatch(/^\{"index":256,"record":/);
  const manifest = await mandate(['audit', 'verify', `${lines}.manifest.json`, '--key', keyFile]);
  expect(manifest.stdout).toMatch(/^proved .*\n +entries 0 to 255 were archived or removed/);
  await writeFile(lines, (await readFile(lines, 'utf8')).replace('"leaf_hash":"', '"leaf_hash":"A'));
  const other = await mandate(['audit', 'verify', `${lines}.manifest.json`, '--key', keyFile]);
  expect(other).toMatchObject({ code: 1, stdout: expect.stringMatching(/^NOT PROVED/) as string });

  const acts = (await audit('query', '-t', 'acme', '--principal', 'operator:root')).stdout;
  for (const action of ['log.hold', 'log.release', 'log.archive']) expect(acts).toContain(action);
});

test('whoever may only read may not move, hold or release', async () => {
  const reader = at(server, secrets.api);
  for (const args of [
    ['volumes', '-t', 'acme', '--make'],
    ['archive', '-t', 'acme'],
    ['hold', '-t', 'acme', '--reason', 'x'],
    ['release', '-t', 'acme'],
  ])
    expect((await reader('audit', ...args)).stderr).toMatch(/^mandate: permission_denied: /);
});

test('a backup that is put back is whole, and serves', async () => {
  const copy = path.join(folder, 'copy');
  await using stack = new AsyncDisposableStack();
  const master = await readFile(path.join(server.config.data_dir, 'master.key'));
  await writeFile(path.join(copy, 'master.key'), master, { mode: 0o600 });
  const place = await mkdtemp(path.join(tmpdir(), 'mandate-restored-'));
  stack.defer(() => rm(place, { recursive: true, force: true }));
  const restored = stack.use(
    await startIn(server.folder, { overrides: { data_dir: copy, base_url: server.data } }),
  );
  const { stdout } = await at(restored, secrets.operator)(
    'audit',
    'query',
    '-t',
    'acme',
    '-n',
    '400',
    '--json',
  );
  expect(stdout.trimEnd().split('\n').length).toBeGreaterThan(299);
  stack.move();
  await restored.stop();
});

test('a server without an archive says so', async () => {
  await using other = await startServer();
  const { stderr } = await at(other, secrets.operator)('audit', 'archive', '-t', 'acme');
  expect(stderr).toMatch(/^mandate: unimplemented: no archive is configured/);
});
