import { cp, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import Database from 'better-sqlite3';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { entriesIn, stated } from '../e2e/log-by-hand.ts';
import { aliceReads, check, connect } from '../e2e/requests.ts';
import { checkpointOf, decide, decideOne, fileOf, tilesOf } from '../e2e/served-log.ts';
import { bearer, eventually, secrets, startIn, startServer, writeTenants } from '../e2e/server.ts';
import { ruinPagesWith } from '../fault/damage.ts';
import { logIn } from '../fault/log.ts';
import { type ServeProcess, serveProcess } from '../fault/process.ts';
import { mandate, type Ran } from './run.ts';
import { audit } from './within.ts';

/** `mandate store backup`, as a shell runs it, of a store that serves, that is stopped, and that is no good. */

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'mandate-backup-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const backup = (from: string, to: string, ...more: string[]): Promise<Ran> =>
  mandate(['store', 'backup', to, '--data-dir', from, ...more]);

const keyOf = async (server: { admin: string }): Promise<string> =>
  (await connect<{ key: string }>(server.admin, 'AuditService/DescribeLog', { tenant: 'acme' })).body.key;

const quickCheck = (store: string): unknown => {
  const db = new Database(path.join(store, 'mandate.db'), { readonly: true });
  try {
    return db.pragma('integrity_check', { simple: true });
  } finally {
    db.close();
  }
};

/** Callers that ask until they are told to end. */
function load(server: ServeProcess, over: AbortSignal): Promise<void>[] {
  return Array.from({ length: 4 }, async () => {
    while (!over.aborted)
      expect((await check(server.data, aliceReads, bearer(secrets.api))).status).toBe(200);
  });
}

/** So many entries of acme's log, as a server hands them out. */
async function entriesOf(server: { admin: string }, size: number): Promise<string[]> {
  const bundles = await Promise.all(tilesOf('entries', size).map((name) => fileOf(server, name)));
  return bundles.flatMap(({ bytes }) => entriesIn(bytes)).map(String);
}

test('under load: what it holds is the beginning of the log, proved, and nobody waits', async () => {
  await using server = await serveProcess();
  await decide(server, 600);
  const before = await checkpointOf(server, 600);
  const kept = path.join(folder, 'kept');
  await writeFile(kept, before);
  const over = new AbortController();
  const callers = load(server, over.signal);
  const to = path.join(folder, 'copy');
  const { code, stdout, stderr } = await backup(server.store, to);
  over.abort();
  await Promise.all(callers);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  const [said, note] = stdout.trimEnd().split('\n');
  const records = Number(/: (\d+) records of 2 logs, \d+ bytes$/.exec(said ?? '')?.[1]);
  expect(note).toBe('its master key is not in it; `mandate audit verify` proves what is');
  expect(await readdir(to)).toEqual(['mandate.db']);
  expect((await stat(to)).mode & 0o777).toBe(0o700);
  expect((await stat(path.join(to, 'mandate.db'))).mode & 0o777).toBe(0o600);
  expect(quickCheck(to)).toBe('ok');

  const key = await keyOf(server);
  const proved = await audit('verify', to, '-t', 'acme', '--key', key, '--checkpoint', kept);
  expect(proved, proved.stdout + proved.stderr).toMatchObject({ code: 0 });
  const db = new Database(path.join(to, 'mandate.db'), { readonly: true });
  const size = db
    .prepare("SELECT size FROM logs JOIN tenants ON no = tenant_no WHERE id = 'acme'")
    .pluck()
    .get() as number;
  db.close();
  expect(size).toBeGreaterThanOrEqual(stated(before).size);
  expect(records).toBeGreaterThanOrEqual(size);

  // Entry by entry, by another server on the copy.
  const restored = path.join(folder, 'restored');
  await writeFolder(restored, to);
  await cp(path.join(server.store, 'master.key'), path.join(restored, 'data', 'master.key'));
  const again = await startIn(restored);
  try {
    await checkpointOf(again, size);
    await checkpointOf(server, size);
    expect(await entriesOf(again, size)).toEqual(await entriesOf(server, size));
    expect(await keyOf(again)).toBe(key);
    // It goes on from there.
    const { index } = await decideOne(again);
    expect(index).toBeGreaterThanOrEqual(size);
    const after = stated(await checkpointOf(again, index + 1));
    expect(after.origin).toBe(stated(before).origin);
  } finally {
    await again.stop();
  }
  const whole = await audit(
    'verify',
    path.join(restored, 'data'),
    '-t',
    'acme',
    '--key',
    key,
    '--checkpoint',
    kept,
  );
  expect(whole, whole.stdout).toMatchObject({ code: 0 });
});

test('of a store whose server was killed: what was answered is in it', async () => {
  await using server = await serveProcess();
  const { index } = await decideOne(server);
  await server.end('SIGKILL');
  const to = path.join(folder, 'copy');
  expect((await backup(server.store, to)).code).toBe(0);
  expect(logIn(to).at(index)?.kind).toBe('decision');
  expect(quickCheck(to)).toBe('ok');
});

/** A folder to start a server in, with a copy of a store. */
async function writeFolder(place: string, store: string): Promise<void> {
  await mkdir(place);
  await writeTenants(place);
  await cp(store, path.join(place, 'data'), { recursive: true });
}

describe('of a store that is stopped', () => {
  let left: string;
  let place: string;
  beforeEach(async () => {
    const server = await startServer();
    await decide(server, 40);
    await server.stop();
    left = server.folder;
    place = path.join(left, 'data');
  });
  afterEach(() => rm(left, { recursive: true, force: true }));

  /** What starting on a folder says. */
  const refusalOf = (where: string): Promise<string> =>
    startIn(where).then(
      async (server) => {
        await server.stop();
        return 'it started';
      },
      (error: Error) => error.message,
    );

  test('it is the same, and says so to programs', async () => {
    const before = await readdir(place);
    const to = path.join(folder, 'a', 'b');
    const { code, stdout } = await backup(place, to, '--json');
    expect(code).toBe(0);
    const { size } = await stat(path.join(to, 'mandate.db'));
    expect(JSON.parse(stdout)).toEqual({
      file: path.join(to, 'mandate.db'),
      bytes: size,
      logs: 2,
      records: 50,
    });
    // What it was made of is as it was.
    expect((await readdir(place)).filter((name) => !/-(?:shm|wal)$/.test(name))).toEqual(
      before.filter((name) => !/-(?:shm|wal)$/.test(name)),
    );
    expect(await refusalOf(left)).toBe('it started');
  });

  test('where there is a store already it stays as it is', async () => {
    const to = path.join(folder, 'copy');
    expect((await backup(place, to)).code).toBe(0);
    const first = await readFile(path.join(to, 'mandate.db'));
    const second = await backup(place, to);
    expect(second).toMatchObject({ code: 2, stdout: '' });
    expect(second.stderr).toContain('is there already');
    expect(await readFile(path.join(to, 'mandate.db'))).toEqual(first);
    // Onto itself, too.
    expect((await backup(place, place)).stderr).toContain('is there already');
  });

  test('where there is none nothing is made', async () => {
    const nowhere = await backup(path.join(folder, 'nowhere'), path.join(folder, 'copy'));
    expect(nowhere).toMatchObject({ code: 2, stdout: '' });
    expect(nowhere.stderr).toContain('holds no store');
    expect(await readdir(folder)).toEqual([]);
  });

  test('what an interrupted one left is no hindrance', async () => {
    const to = path.join(folder, 'copy');
    await mkdir(to);
    await writeFile(path.join(to, 'mandate.db.part'), 'half of it');
    expect((await backup(place, to)).code).toBe(0);
    expect(await readdir(to)).toEqual(['mandate.db']);
  });

  test.each([
    ['a page', () => ruinPagesWith(place, '"kind":"decision"')],
    ['the first page', async () => writeFile(path.join(place, 'mandate.db'), 'something else'.repeat(1_000))],
    [
      'its end',
      async () => {
        const file = path.join(place, 'mandate.db');
        const bytes = await readFile(file);
        await writeFile(file, bytes.subarray(0, bytes.length - 8_192 * 3));
      },
    ],
  ])('with %s that is damaged it is refused, and leaves nothing behind', async (_what, ruin) => {
    await ruin();
    const to = path.join(folder, 'copy');
    const { code, stdout, stderr } = await backup(place, to);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toMatch(/cannot be copied: /);
    await expect(readdir(to)).rejects.toThrow('ENOENT');
  });

  test('without the master key no server starts on it, and none is made', async () => {
    const to = path.join(folder, 'copy');
    await backup(place, to);
    const restored = path.join(folder, 'restored');
    await writeFolder(restored, to);
    expect(await refusalOf(restored)).toMatch(/master\.key/);
    expect(await readdir(path.join(restored, 'data'))).not.toContain('master.key');
    // Nor with another.
    await writeFile(path.join(restored, 'data', 'master.key'), Buffer.alloc(32, 7), { mode: 0o600 });
    expect(await refusalOf(restored)).toMatch(/master\.key/);
    await cp(path.join(place, 'master.key'), path.join(restored, 'data', 'master.key'));
    expect(await refusalOf(restored)).toBe('it started');
  });

  test('in the place of a store that went on it is refused with how far it is behind, and says how to go on', async () => {
    const to = path.join(folder, 'copy');
    await backup(place, to);
    const server = await startIn(left);
    await decide(server, 20);
    await eventually(
      () => checkpointOf(server, 66),
      () => true,
    );
    await server.stop();
    for (const name of ['mandate.db', 'mandate.db-wal', 'mandate.db-shm'])
      await rm(path.join(place, name), { force: true });
    await cp(path.join(to, 'mandate.db'), path.join(place, 'mandate.db'));
    const said = await refusalOf(left);
    expect(said).toMatch(/it ends with 50 records .*, but 7[5-9] records/);
    expect(said).toContain('an older copy is in its place');
    for (const name of ['mandate.heads.0', 'mandate.heads.1']) await rm(path.join(place, name));
    expect(await refusalOf(left)).toBe('it started');
  });
});
