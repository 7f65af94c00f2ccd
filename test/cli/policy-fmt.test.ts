import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { mandate } from './run.ts';

/** `mandate policy fmt`: the pinned formatter, on the tenant's own files alone. */

let root: string;

beforeAll(async () => {
  root = await mkdtemp(path.join(tmpdir(), 'mandate-policy-fmt-'));
});
afterAll(() => rm(root, { recursive: true, force: true }));

const UGLY = 'package authz\nallow if {   input.x }\n';
const NEAT = 'package authz\n\nallow if input.x\n';

async function tenantOf(files: Readonly<Record<string, string>>): Promise<string> {
  const place = await mkdtemp(path.join(root, 'tenant-'));
  for (const [name, text] of Object.entries({ 'tenant.yaml': 'id: acme\n', ...files })) {
    await mkdir(path.dirname(path.join(place, name)), { recursive: true });
    await writeFile(path.join(place, name), text);
  }
  return place;
}

test('names what is not formatted and changes nothing, says what would change, or changes it', async () => {
  const place = await tenantOf({ 'deep/a.rego': UGLY, 'a_test.rego': NEAT.replace('authz', 'authz_test') });
  const file = path.join(place, 'deep/a.rego');
  await chmod(file, 0o640);
  const [plain, check, diff, asJson] = await Promise.all([
    mandate(['policy', 'fmt', place]),
    mandate(['policy', 'fmt', '--check', place]),
    mandate(['policy', 'fmt', '--diff', place]),
    mandate(['--json', 'policy', 'fmt', place]),
  ]);
  expect(plain).toEqual({ code: 1, stdout: `${file}\n`, stderr: '' });
  expect(check).toEqual(plain);
  expect(diff.stdout).toContain(
    `--- a/${file}\n+++ b/${file}\n@@ -1,2 +1,3 @@\n package authz\n-allow if {   input.x }\n+\n+allow if input.x`,
  );
  expect(JSON.parse(asJson.stdout)).toEqual([{ folder: place, file: 'deep/a.rego' }]);
  expect(await readFile(file, 'utf8')).toBe(UGLY);
  expect(await mandate(['policy', 'fmt', '--write', place])).toEqual({
    code: 0,
    stdout: `${file}\n`,
    stderr: '',
  });
  expect(await readFile(file, 'utf8')).toBe(NEAT);
  expect((await stat(file)).mode & 0o777).toBe(0o640);
  expect(await readdir(path.dirname(file))).toEqual(['a.rego']);
  expect(await mandate(['policy', 'fmt', place])).toEqual({ code: 0, stdout: '', stderr: '' });
});

test('leaves what does not parse as it is, says where, and formats the others', async () => {
  const place = await tenantOf({ 'a.rego': 'package authz\n\nallow if {\n', 'b.rego': UGLY });
  const { code, stdout } = await mandate(['policy', 'fmt', '--write', place]);
  expect(stdout).toMatch(/a\.rego:\d+: rego_parse_error: .*\n.*b\.rego\n$/);
  expect(await readFile(path.join(place, 'a.rego'), 'utf8')).toBe('package authz\n\nallow if {\n');
  expect(await readFile(path.join(place, 'b.rego'), 'utf8')).toBe(NEAT);
  expect(code).toBe(1);
});

test('leaves what is no text as it is', async () => {
  const place = await tenantOf({});
  const bytes = Buffer.from('package authz\nx := "\xff"\n', 'latin1');
  await writeFile(path.join(place, 'a.rego'), bytes);
  const { code, stdout } = await mandate(['policy', 'fmt', '--write', place]);
  expect(stdout).toBe(`${path.join(place, 'a.rego')}: this is not UTF-8\n`);
  expect(await readFile(path.join(place, 'a.rego'))).toEqual(bytes);
  expect(code).toBe(1);
});

test('touches nothing that a link leads out to, and no link', async () => {
  const outside = path.join(root, 'outside.rego');
  await writeFile(outside, UGLY);
  const place = await tenantOf({ 'b.rego': UGLY });
  await symlink(outside, path.join(place, 'a.rego'));
  const out = await mandate(['policy', 'fmt', '--write', place]);
  expect(out).toMatchObject({
    code: 2,
    stderr: expect.stringContaining("a.rego: it links out of the tenants' folder") as string,
  });
  expect(await readFile(outside, 'utf8')).toBe(UGLY);
  expect(await readFile(path.join(place, 'b.rego'), 'utf8')).toBe(UGLY);
  await rm(path.join(place, 'a.rego'));
  await symlink('b.rego', path.join(place, 'a.rego'));
  expect(await mandate(['policy', 'fmt', '--write', place])).toMatchObject({
    code: 0,
    stdout: `${path.join(place, 'b.rego')}\n`,
  });
  expect(
    (await readdir(place, { withFileTypes: true })).find(({ name }) => name === 'a.rego')?.isSymbolicLink(),
  ).toBe(true);
});

test('is given the text alone: a file called as an option is a file', async () => {
  const place = await tenantOf({ '--write.rego': UGLY });
  expect(await mandate(['policy', 'fmt', '--write', place])).toMatchObject({ code: 0 });
  expect(await readFile(path.join(place, '--write.rego'), 'utf8')).toBe(NEAT);
});

test('does one thing at a time', async () => {
  expect(await mandate(['policy', 'fmt', '--diff', '--write', 'policies/acme'])).toMatchObject({ code: 2 });
  expect((await mandate(['policy', 'fmt', 'policies/acme', 'examples/metered'])).stdout).toBe('');
});
