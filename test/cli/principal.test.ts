import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Running, sha256, startServer } from '../e2e/server.ts';
import { at, type Ran } from './run.ts';

/** A team registers its agents from a file, changes a secret over, and takes an agent back. */

let server: Running;
let dev: (...args: string[]) => Promise<Ran>;
let folder: string;
beforeAll(async () => {
  server = await startServer();
  folder = await mkdtemp(path.join(tmpdir(), 'mandate-principals-'));
  dev = at(server);
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

async function file(text: string): Promise<string> {
  const name = path.join(folder, `${sha256(text).slice(0, 8)}.yaml`);
  await writeFile(name, text);
  return name;
}

const AGENTS = `
principals:
  - class: agent
    id: helper
    owners: [user:alice, group:compliance]
    credentials: [{ secret_sha256: ${sha256('helper')}, expires_at: 2099-01-01T00:00:00Z }]
    ceiling: { scopes: [docs.read], audiences: [docs-mcp], max_lifetime_seconds: 60 }
    may: [exchange]
  - { class: agent, id: orphan, owners: [user:nobody] }
`;

test('what a file says is registered, shown, and taken again as it is shown', async () => {
  const put = await dev('principal', 'put', '-t', 'acme', await file(AGENTS));
  expect(put).toEqual({
    code: 0,
    stdout: '2 principals written\n',
    stderr: 'mandate: agent:orphan is suspended: nobody who answers for it is active\n',
  });
  const { stdout } = await dev('principal', 'show', '-t', 'acme', 'agent:helper');
  expect(stdout).toMatch(/status +active\nmanaged by +api\nowners +user:alice, group:compliance\n/);
  expect(stdout).toMatch(
    /may +exchange\nceiling +docs.read\n {2}audiences +docs-mcp\n {2}lifetime +60 s, 3 deep\n {2}use +act\n/,
  );
  expect(stdout).toContain('a secret, until 2099-01-01T00:00:00.000Z, not used yet');
  const shown = await dev('--json', 'principal', 'show', '-t', 'acme', 'agent:helper');
  expect(await dev('principal', 'put', '-t', 'acme', await file(shown.stdout))).toMatchObject({ code: 0 });
  expect(await dev('--json', 'principal', 'show', '-t', 'acme', 'agent:helper')).toEqual(shown);
});

test('a list names what is registered and by whom', async () => {
  const { stdout } = await dev('principal', 'list', '-t', 'acme', '--class', 'agent');
  expect(stdout).toMatch(/^PRINCIPAL +STATUS +MANAGED BY +CREDENTIALS +OWNERS +ROLES\n/);
  expect(stdout).toMatch(/agent:helper +active +api +1 +user:alice group:compliance\n/);
  expect(stdout).toMatch(/agent:orphan +suspended +api +0 +user:nobody\n/);
  expect(stdout).toMatch(/agent:research-agent +active +manifest +1\n/);
  expect(stdout).not.toContain('user:alice  ');
  const json = await dev('--json', 'principal', 'list', '-t', 'acme', '--owner', 'user:nobody');
  expect(JSON.parse(json.stdout)).toMatchObject([{ id: 'orphan', status: 'suspended' }]);
});

test('a secret is changed over, and a credential removed, by its id', async () => {
  const { stdout } = await dev(
    '--json',
    'principal',
    'rotate',
    '-t',
    'acme',
    'agent:helper',
    '--overlap',
    '1h',
  );
  const { secret, credential_id: id } = JSON.parse(stdout) as { secret: string; credential_id: string };
  expect(sha256(secret).startsWith(id)).toBe(true);
  const shown = await dev('principal', 'show', '-t', 'acme', 'agent:helper');
  expect(shown.stdout.match(/credential/g)).toHaveLength(2);
  const old = sha256('helper').slice(0, 16);
  expect((await dev('principal', 'remove-credential', '-t', 'acme', 'agent:helper', old)).stdout).toBe(
    `credential ${old} of agent:helper removed\n`,
  );
  const again = await dev('principal', 'remove-credential', '-t', 'acme', 'agent:helper', old);
  expect(again).toMatchObject({ code: 2, stderr: expect.stringContaining('not_found') as string });
});

test('one is disabled, enabled and retired', async () => {
  const run = async (...args: string[]): Promise<string> => (await dev('principal', ...args)).stdout;
  expect(await run('disable', '-t', 'acme', 'agent:helper')).toBe('agent:helper disabled\n');
  expect(await run('enable', '-t', 'acme', 'agent:helper')).toBe('agent:helper enabled\n');
  expect(await run('retire', '-t', 'acme', 'agent:helper')).toBe('agent:helper retired\n');
  const put = await dev('principal', 'put', '-t', 'acme', await file(AGENTS));
  expect(put).toMatchObject({
    code: 2,
    stderr: expect.stringContaining('gone: agent:helper was retired') as string,
  });
});

test.each([
  ['what is no YAML', ': {', 'line 1'],
  ['nothing', '', 'it holds no principals'],
  ['a text', 'agents', 'it holds no principals'],
  ['a member that is not known', '{ class: user, id: dan, role: [editor] }', 'principal 1: '],
  ['a principal that is none', '[{ class: user, id: dan }, 7]', 'principal 2: it is no object'],
  ['what the manifest has', '{ class: user, id: bob }', 'managed_by_manifest: user:bob is declared in the'],
])('a file with %s is refused by what is wrong', async (_name, text, problem) => {
  const { code, stdout, stderr } = await dev('principal', 'put', '-t', 'acme', await file(text));
  expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
  expect(stderr).toContain(problem);
  expect(stderr.trimEnd().split('\n')).toHaveLength(1);
});

test.each([
  ['--overlap', '1 week'],
  ['--expires', 'yesterday'],
  ['--expires', '2001-01-01T00:00:00Z'],
])('%s %s is no time to come', async (option, value) => {
  const { code, stderr } = await dev('principal', 'rotate', '-t', 'acme', 'agent:orphan', option, value);
  expect(code).toBe(2);
  expect(stderr).toMatch(/such as/);
});
