import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { mandate } from './run.ts';

/** `mandate policy schemas`: what an editor is told of a tenant's files. */

let root: string;
let place: string;

beforeAll(async () => {
  root = await mkdtemp(path.join(tmpdir(), 'mandate-policy-schemas-'));
  place = path.join(root, 'initech');
  await mandate(['policy', 'new', place]);
});
afterAll(() => rm(root, { recursive: true, force: true }));

const settingsIn = async (folder: string): Promise<Record<string, unknown>> =>
  JSON.parse(await readFile(path.join(folder, '.vscode/settings.json'), 'utf8')) as Record<string, unknown>;

/** By the schema that the settings name for a file. */
async function validator(file: string): Promise<(value: unknown) => boolean> {
  const named = (await settingsIn(place))['yaml.schemas'] as Record<string, string[]>;
  const [schema = ''] = Object.entries(named).find(([, files]) => files.includes(file)) ?? [];
  const text = await readFile(path.join(place, schema), 'utf8');
  // Formats are what editors may know.
  return new Ajv2020({ strict: false, validateFormats: false }).compile(JSON.parse(text) as object);
}

describe('mandate policy schemas', () => {
  test('writes schemas that take what the engine takes, and know no other member; the revision is what it was', async () => {
    const before = await mandate(['--json', 'policy', 'check', place]);
    const { code, stdout } = await mandate(['--json', 'policy', 'schemas', place]);
    expect((JSON.parse(stdout) as { files: string[] }).files).toHaveLength(4);
    expect(code).toBe(0);
    expect((await mandate(['--json', 'policy', 'check', place])).stdout).toBe(before.stdout);
    const [tenant, tests] = await Promise.all([validator('tenant.yaml'), validator('*_test.yaml')]);
    const yaml = async (file: string): Promise<Record<string, unknown>> =>
      parse(await readFile(file, 'utf8')) as Record<string, unknown>;
    for (const folder of [place, 'policies/acme', 'examples/metered'])
      expect(tenant(await yaml(path.join(folder, 'tenant.yaml'))), folder).toBe(true);
    for (const file of [
      path.join(place, 'authz/requests_test.yaml'),
      'policies/acme/authz/requests_test.yaml',
    ])
      expect(tests(await yaml(file)), file).toBe(true);
    expect(tenant({ id: 'acme', rols: {} })).toBe(false);
    expect(
      tests({ tests: [{ name: 'a', subject: 'user:a', action: 'b', resource: 'c:d', expect: 'maybe' }] }),
    ).toBe(false);
  });

  test('leaves settings that are there as they are, and says what to add', async () => {
    const own = path.join(root, 'own');
    await mandate(['policy', 'new', own]);
    await mkdir(path.join(own, '.vscode'));
    await writeFile(path.join(own, '.vscode/settings.json'), '{"mine": 1}');
    const { stdout } = await mandate(['policy', 'schemas', own]);
    expect(stdout).toContain('settings.json is there already; add to it:\n{\n  "yaml.schemas": {');
    expect(await settingsIn(own)).toEqual({ mine: 1 });
  });

  test('writes through no link', async () => {
    const own = path.join(root, 'linked');
    await mandate(['policy', 'new', own]);
    await mkdir(path.join(root, 'elsewhere'));
    await symlink('../elsewhere', path.join(own, '.vscode'));
    expect(await mandate(['policy', 'schemas', own])).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('is not a folder') as string,
    });
    await rm(path.join(own, '.vscode'));
    await mkdir(path.join(own, '.vscode/mandate'), { recursive: true });
    await symlink('../../../victim', path.join(own, '.vscode/mandate/tenant.schema.json'));
    expect((await mandate(['policy', 'schemas', own])).code).toBe(2);
    await expect(readFile(path.join(root, 'victim'))).rejects.toThrow('ENOENT');
  });
});
