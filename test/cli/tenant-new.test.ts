import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { expect, test } from 'vitest';
import { temporaryFolder } from '../storage/store.ts';
import { mandate as run } from './run.ts';

/** `mandate tenant new`: a folder that decides as its test says, or nothing. */

test('makes a tenant whose test passes, and whose secret is in no file', async () => {
  await using place = await temporaryFolder();
  const folder = path.join(place.folder, 'initech');
  const { code, stdout } = await run(['tenant', 'new', 'initech', folder, '--json']);
  expect(code).toBe(0);
  const { secret, ...rest } = JSON.parse(stdout) as { secret: string };
  expect(rest).toEqual({ id: 'initech', folder, client_id: 'api' });
  const files = ['tenant.yaml', 'authz/authz.rego', 'authz/authz_test.rego', 'authz/requests_test.yaml'];
  for (const file of files) expect(await readFile(path.join(folder, file), 'utf8')).not.toContain(secret);
  expect((await run(['policy', 'test', folder])).code).toBe(0);
  expect((await run(['policy', 'check', folder])).code).toBe(0);
});

test('is `mandate policy new` too, by its folder; what it makes is as checked, formatted and tested as it can be', async () => {
  await using place = await temporaryFolder();
  const folder = path.join(place.folder, 'initech');
  const { code, stdout } = await run(['policy', 'new', folder, '--json']);
  expect(JSON.parse(stdout)).toMatchObject({ id: 'initech', folder, client_id: 'api' });
  const checked = await run(['policy', 'check', '--strict', folder]);
  expect(checked).toMatchObject({ code: 0, stderr: '' });
  const tested = await run(['policy', 'test', folder, '--threshold', '100']);
  expect(tested.stdout).toMatch(/^PASS: 5\/5\n/);
  expect([code, tested.code]).toEqual([0, 0]);
  const named = await run(['policy', 'new', path.join(place.folder, 'Initech & Co')]);
  expect(named.stderr).toContain('a tenant is called by');
  const other = await run(['policy', 'new', path.join(place.folder, 'other'), '--id', 'hooli', '--json']);
  expect(JSON.parse(other.stdout)).toMatchObject({ id: 'hooli' });
});

test('touches nothing that is there, and leaves nothing where it fails', async () => {
  await using place = await temporaryFolder();
  const folder = path.join(place.folder, 'initech');
  await run(['tenant', 'new', 'initech', folder]);
  const again = await run(['tenant', 'new', 'initech', folder]);
  expect(again.code).not.toBe(0);
  expect(again.stderr).toContain(`${folder} is there already`);
  const below = await run(['tenant', 'new', 'initech', path.join(place.folder, 'initech/tenant.yaml/x')]);
  expect(below.code).not.toBe(0);
  const named = await run(['tenant', 'new', 'Initech & Co', path.join(place.folder, 'other')]);
  expect(named.stderr).toContain('a tenant is called by 1 to 63 of a-z, 0-9 and -');
  expect(await readdir(place.folder)).toEqual(['initech']);
});
