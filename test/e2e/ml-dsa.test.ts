import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import Database from 'better-sqlite3';
import { expect, test } from 'vitest';
import { parseVkey } from '../../src/merkle/keys.ts';
import { isNoteOf, parseNote } from '../../src/merkle/note.ts';
import { at, mandate } from '../cli/run.ts';
import { connect } from './requests.ts';
import { checkpointOf, decideOne } from './served-log.ts';
import { type Running, startIn, startServer } from './server.ts';

interface Described {
  key: string;
  mlDsaKey?: string;
  checkpoint: string;
}

const described = async (server: Running): Promise<Described> =>
  (await connect<Described>(server.admin, 'AuditService/DescribeLog', { tenant: 'acme' })).body;

/** A checkpoint that covers a decision made now. */
async function stated(server: Running): Promise<string> {
  const { index } = await decideOne(server);
  return checkpointOf(server, index + 1);
}

const overrides = { ml_dsa_checkpoints: true };

test('a log signs by its second key where it is asked to, by the same one after a restart, and is verified by both', async () => {
  await using server = await startServer({ overrides });
  const before = await stated(server);
  const { key, mlDsaKey = '' } = await described(server);
  const second = parseVkey(mlDsaKey);
  expect(second.type).toBe(6);
  expect(second.name).toBe(parseVkey(key).name);
  for (const each of [parseVkey(key), second]) expect(isNoteOf(parseNote(before), each)).toBe(true);
  const folder = await mkdtemp(path.join(tmpdir(), 'mandate-ml-dsa-'));
  try {
    const [first, other, copy] = ['acme.vkey', 'acme.ml-dsa.vkey', 'log'].map((name) =>
      path.join(folder, name),
    );
    const printed = await at(server)('audit', 'key', '-t', 'acme', '--ml-dsa');
    expect(printed).toEqual({ code: 0, stdout: `${mlDsaKey}\n`, stderr: '' });
    await writeFile(first ?? '', key);
    await writeFile(other ?? '', printed.stdout);
    const verify = (what: string, ...keys: (string | undefined)[]) =>
      mandate(['audit', 'verify', what, '--key', ...keys.map((each) => each ?? '')]);
    expect((await at(server)('audit', 'export', copy ?? '', '-t', 'acme')).code).toBe(0);
    expect((await verify(copy ?? '', first, other)).code).toBe(0);
    // Without its line the first key alone still proves it.
    const file = path.join(copy ?? '', 'checkpoint');
    const stripped = (await readFile(file, 'utf8')).split('\n').slice(0, -2).join('\n');
    await writeFile(file, `${stripped}\n`);
    expect((await verify(copy ?? '', first)).code).toBe(0);
    const refused = await verify(copy ?? '', first, other);
    expect(refused).toMatchObject({
      code: 1,
      stdout: expect.stringContaining('has not signed it by a known key of ML-DSA-44') as string,
    });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
  await server.stop();
  await using again = await startIn(server.folder, { overrides });
  const after = await stated(again);
  expect((await described(again)).mlDsaKey).toBe(mlDsaKey);
  expect(isNoteOf(parseNote(after), second)).toBe(true);
});

test('without it there is one signature and one key, and the command says what makes another', async () => {
  await using server = await startServer();
  const lines = (await stated(server)).split('\n').filter((line) => line.startsWith('— '));
  expect(lines).toHaveLength(1);
  expect((await described(server)).mlDsaKey ?? '').toBe('');
  const { code, stderr } = await at(server)('audit', 'key', '-t', 'acme', '--ml-dsa');
  expect({ code, stderr }).toEqual({
    code: 2,
    stderr: expect.stringContaining('ml_dsa_checkpoints') as string,
  });
});

test('a second key that does not open states nothing, and the store says so', async () => {
  await using server = await startServer({ overrides });
  await stated(server);
  await server.stop();
  const db = new Database(path.join(server.folder, 'data', 'mandate.db'));
  db.exec('UPDATE ml_dsa_keys SET sealed = zeroblob(length(sealed))');
  const [{ note: kept } = { note: '' }] = db
    .prepare<[], { note: string }>(
      "SELECT note FROM checkpoints JOIN tenants ON no = tenant_no WHERE id = 'acme'",
    )
    .all();
  db.close();
  await using again = await startIn(server.folder, { overrides });
  await decideOne(again);
  const { code } = await at(again)('audit', 'key', '-t', 'acme', '--ml-dsa');
  expect(code).toBe(2);
  const ready = await fetch(`${again.admin}/readyz?verbose`);
  expect(ready.status).toBe(503);
  expect(await ready.text()).toContain('tenant acme: the second key of its log cannot be opened');
  await again.stop();
  const after = new Database(path.join(server.folder, 'data', 'mandate.db'), { readonly: true });
  const [{ note: now } = { note: '' }] = after
    .prepare<[], { note: string }>(
      "SELECT note FROM checkpoints JOIN tenants ON no = tenant_no WHERE id = 'acme'",
    )
    .all();
  after.close();
  expect(now).toBe(kept);
});
