import { existsSync } from 'node:fs';
import { cp, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { mandate } from '../cli/run.ts';
import { LanguageServer } from './language-server.ts';

/**
 * What an editor shows of a tenant's files with nothing but what `mandate policy schemas` wrote: by the language servers
 * that its extensions for YAML and OPA run.
 */

const yamlServer = [
  process.execPath,
  path.resolve('node_modules/yaml-language-server/bin/yaml-language-server'),
  '--stdio',
];
const regal = path.resolve('bin/regal');

let root: string;
let place: string;
let settings: Record<string, unknown>;

beforeAll(async () => {
  root = await mkdtemp(path.join(tmpdir(), 'mandate-editor-'));
  place = path.join(root, 'acme');
  await cp('policies/acme', place, { recursive: true });
  expect(await mandate(['policy', 'schemas', place])).toMatchObject({ code: 0 });
  settings = JSON.parse(await readFile(path.join(place, '.vscode/settings.json'), 'utf8')) as typeof settings;
});
afterAll(() => rm(root, { recursive: true, force: true }));

test('YAML: the files as they are have no mistake; one that is typed is marked where it stands, and members are offered', async () => {
  await using server = new LanguageServer(yamlServer, place, settings);
  await server.start();
  const tenant = await server.read('tenant.yaml');
  const lines = tenant.split('\n');
  const at = lines.findIndex((line) => line.startsWith('roles:'));
  const wrong = lines.with(at, 'rolez:').join('\n');
  const some = (all: readonly unknown[]): boolean => all.length > 0;
  const none = (all: readonly unknown[]): boolean => all.length === 0;
  expect(await server.findings('tenant.yaml', wrong, some)).toContainEqual({
    line: at + 1,
    message: expect.stringContaining('rolez'),
  });
  const table = await server.read('authz/requests_test.yaml');
  const maybe = table.replace(/expect: .*/, 'expect: maybe');
  expect(await server.findings('authz/requests_test.yaml', maybe, some)).toMatchObject([
    { line: maybe.split('\n').findIndex((line) => line.includes('expect: maybe')) + 1 },
  ]);
  await server.findings('tenant.yaml', tenant, none);
  await server.findings('authz/requests_test.yaml', table, none);

  await server.findings('tenant.yaml', `${tenant}\nwhen_\n`, some);
  expect(await server.offers('tenant.yaml', tenant.split('\n').length, 5)).toContain('when_stale');
});

test.skipIf(!existsSync(regal))('Rego: what does not parse is marked where it stands', async () => {
  await using server = new LanguageServer([regal, 'language-server'], place, settings);
  await server.start();
  const policy = 'package authz\n\nallow if {\n\tinput.subject.id ==\n}\n';
  const found = await server.findings('authz/typed.rego', policy, (all) => all.length > 0);
  expect(found).toContainEqual({ line: 5, message: expect.stringContaining('unexpected }') });
});
