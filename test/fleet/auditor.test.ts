import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import Database from 'better-sqlite3';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { audit } from '../cli/within.ts';
import type { Running } from '../e2e/server.ts';
import { decided, Kept } from './kept.ts';

/** An auditor at an authority: the records of all servers, found and proved. */

let kept: Kept;
let sidecar: Running;
let folder: string;
let ids: { own: string[]; one: string[] };

beforeAll(async () => {
  kept = await Kept.open();
  folder = await mkdtemp(path.join(tmpdir(), 'mandate-auditor-'));
  sidecar = await kept.sidecar('one');
  const own = await decided(kept.authority, 4);
  const one = await decided(sidecar, 5);
  await kept.arrived('one', one);
  ids = { own, one };
});

afterAll(async () => {
  await sidecar[Symbol.asyncDispose]();
  await kept[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

const at = async (...args: string[]): Promise<{ code: unknown; stdout: string }> => {
  const { code, stdout, stderr } = await audit(...args, '--admin', kept.authority.admin);
  if (code !== 1) expect(stderr).toBe('');
  return { code, stdout };
};

test('a query tells who made each record, and takes a node', async () => {
  const query = ['query', '-t', 'acme', '--kind', 'decision', '--oldest-first', '-n', '100'];
  const all = await at(...query);
  expect(all.stdout.split('\n')[0]).toMatch(/^NODE +INDEX +TIME/);
  const nodes = all.stdout
    .trim()
    .split('\n')
    .slice(1)
    .map((each) => each.split(' ')[0]);
  // Between servers by time: the authority was asked first.
  expect(nodes).toEqual([...ids.own.map(() => 'main'), ...ids.one.map(() => 'one')]);
  const json = await at('--json', ...query, '--node', 'one');
  const found = json.stdout
    .trim()
    .split('\n')
    .map((each) => JSON.parse(each) as { node: string; record: { decision_id: string } });
  expect(found.map(({ record }) => record.decision_id)).toEqual(ids.one);
  expect(new Set(found.map(({ node }) => node))).toEqual(new Set(['one']));
  expect((await at('query', '-t', 'acme', '--kind', 'decision', '--count')).stdout).toBe('9\n');
  expect((await at('query', '-t', 'acme', '--kind', 'decision', '--count', '--node', 'one')).stdout).toBe(
    '5\n',
  );
  const unknown = await audit('query', '-t', 'acme', '--node', 'nobody', '--admin', kept.authority.admin);
  expect(unknown).toMatchObject({ code: 2, stderr: expect.stringContaining('not_found') });
});

test('logs says whose logs are here; by their keys all of a store is proved, and a log over HTTP', async () => {
  const { code, stdout } = await at('logs', '-t', 'acme');
  expect([code, stdout]).toEqual([
    0,
    expect.stringMatching(/\nmain +\d+ +\d+ +- +-\none +\d+ +\d+ +\S+ +operator:sidecars\n/),
  ]);
  const keys = path.join(folder, 'acme.vkeys');
  await writeFile(keys, (await at('logs', '-t', 'acme', '--keys')).stdout);
  const store = path.join(kept.authority.folder, 'data');
  const proved = await at('verify', store, '--key', keys, '-t', 'acme');
  expect([proved.code, proved.stdout]).toEqual([0, expect.stringMatching(/t\/acme\/log\/one/)]);
  const address = `${kept.authority.admin}/t/acme/log/one`;
  expect((await at('verify', address, '--key', keys)).code).toBe(0);
  expect((await at('verify', address, '--key', (await at('key', '-t', 'acme')).stdout.trim())).code).toBe(1);
  const receipt = path.join(folder, 'receipt');
  await at('receipt', ids.one[2] ?? '', '-t', 'acme', '--node', 'one', '-o', receipt);
  expect((await at('verify', receipt, '--key', keys)).code).toBe(0);
});

test('an entry that was changed at the authority is found by the key of its server', async () => {
  const keys = path.join(folder, 'all.vkeys');
  await writeFile(keys, (await at('logs', '-t', 'acme', '--keys')).stdout);
  const copy = path.join(folder, 'copy');
  const db = new Database(path.join(kept.authority.folder, 'data', 'mandate.db'), { readonly: true });
  await mkdir(copy);
  await db.backup(path.join(copy, 'mandate.db'));
  db.close();
  const changed = new Database(path.join(copy, 'mandate.db'));
  changed.exec('DROP TRIGGER runs_no_update');
  const no = changed.prepare<[], number>("SELECT no FROM tenants WHERE id = 'acme@one'").pluck().get() ?? 0;
  const run = changed
    .prepare<[number, number], { id: number; bodies: Buffer }>(
      "SELECT id, bodies FROM runs WHERE id >= ? << 36 AND id < (? + 1) << 36 AND instr(bodies, 'allow') > 0 LIMIT 1",
    )
    .get(no, no);
  const bodies = Buffer.from(
    (run?.bodies ?? Buffer.alloc(0)).toString('latin1').replace('allow', 'alloW'),
    'latin1',
  );
  changed.prepare('UPDATE runs SET bodies = ? WHERE id = ?').run(bodies, run?.id);
  changed.close();
  const { code, stdout } = await at('verify', copy, '--key', keys, '-t', 'acme');
  expect([code, stdout]).toEqual([1, expect.stringMatching(/log\/one[\s\S]*was changed/)]);
});
