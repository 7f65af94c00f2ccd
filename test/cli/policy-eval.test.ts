import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { mandate } from './run.ts';

/** `mandate policy eval`: an input against a folder, by each engine there is. */

let folder: string;
let acme: string;

const input = {
  now: '2026-01-02T03:04:05.678Z',
  tenant: { id: 'acme' },
  subject: {
    class: 'user',
    type: 'user',
    id: 'alice',
    properties: {},
    groups: [],
    roles: [],
    status: 'active',
  },
  actors: [],
  action: { name: 'document.read', properties: {} },
  resource: { type: 'document', id: 'x', properties: { owner: 'bob' } },
  context: {},
  grant: null,
};

const save = async (name: string, value: unknown): Promise<string> => {
  const file = path.join(folder, name);
  await writeFile(file, typeof value === 'string' ? value : JSON.stringify(value));
  return file;
};

/** A tenant with this Rego. */
async function tenant(name: string, rego: string): Promise<string> {
  const place = path.join(folder, name);
  await mkdir(place);
  await save(`${name}/tenant.yaml`, `id: ${name}\n`);
  await save(`${name}/authz.rego`, `package authz\n\n${rego}\n`);
  return place;
}

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'mandate-eval-'));
  acme = await save('acme.json', input);
});
afterAll(() => rm(folder, { recursive: true }));

test('all engines answer, and say the same', async () => {
  const { stdout, stderr, code } = await mandate([
    'policy',
    'eval',
    'policies/acme',
    '--input',
    acme,
    '--engine',
    'all',
  ]);
  expect({ stdout, stderr, code }).toEqual({
    stdout: 'ours   "deny"\nstock  "deny"\nopa    "deny"\n',
    stderr: '',
    code: 0,
  });
});

test('--explain tells why, with no server', async () => {
  const { stdout, code } = await mandate(['policy', 'eval', 'policies/acme', '-i', acme, '--explain']);
  expect(code).toBe(0);
  expect(stdout).toMatch(/^"deny"\nauthz\//);
  expect(stdout).toMatch(/^authz\/documents\.rego:27:2 +✗ lib\.owns_resource$/m);
  expect(stdout).toMatch(/^ +input\.resource\.properties\.owner is "bob"$/m);
  const json = await mandate(['--json', 'policy', 'eval', 'policies/acme', '-i', acme, '--explain']);
  expect(JSON.parse(json.stdout)).toMatchObject({
    same: true,
    engines: { ours: { result: 'deny', cost: expect.any(Number) as unknown, code: '' } },
    explanation: { entry_point: 'mandate/decision', agreement: 'same' },
  });
});

test('engines that differ are told, with exit code 1', async () => {
  // The host of npm rounds what 64 bits hold and a double does not.
  const place = await tenant(
    'differs',
    'allow := true\n\nreasons contains sprintf("%d", [input.context.n * 1])',
  );
  const large = await save(
    'large.json',
    JSON.stringify(input).replace('"context":{}', '"context":{"n":9007199254740993}'),
  );
  const { stdout, stderr, code } = await mandate(['policy', 'eval', place, '-i', large, '--engine', 'all']);
  expect(stdout).toContain('9007199254740993');
  expect({ stderr, code }).toEqual({
    stderr: 'mandate: THE ENGINES DIFFER: it is a fault of the one that is not as opa is\n',
    code: 1,
  });
});

test('a conflict at run time is told with file and line', async () => {
  const place = await tenant(
    'conflict',
    'allow if input.subject.id == "alice"\n\nallow := false if input.actors == []',
  );
  const { stdout, code } = await mandate(['policy', 'eval', place, '-i', acme, '--engine', 'all']);
  expect(stdout).toMatch(/^ours {3}policy_failed: authz\.rego:5:1: var assignment conflict$/m);
  expect(stdout).toMatch(/^opa {4}eval_conflict_error: authz\.rego:5:1: /m);
  expect(code).toBe(1);
});

test('a loop ends, in whichever engine', async () => {
  const place = await tenant(
    'endless',
    'allow if count([1 | some i in numbers.range(1, 30000); some j in numbers.range(1, 30000); i == j]) > 0',
  );
  const { stdout, code } = await mandate(['policy', 'eval', place, '-i', acme, '--engine', 'all']);
  expect(stdout).toMatch(/^ours {3}deadline_exceeded: /m);
  expect(stdout).toMatch(/^stock {2}unavailable: it took too long$/m);
  expect(stdout).toMatch(/^opa {4}unavailable: OPA's evaluator took too long, or too much$/m);
  expect(code).toBe(1);
});

test('values cannot act on the terminal', async () => {
  const place = await tenant('visible', 'allow if input.subject.id == "x"');
  const odd = await save('odd.json', {
    ...input,
    subject: { ...input.subject, id: '\u001b]0;t\u0007\u202e\n\u0085' },
  });
  const { stdout } = await mandate(['policy', 'eval', place, '-i', odd, '--explain']);
  expect(stdout).toContain('input.subject.id is "\\u001b]0;t\\u0007\\u202e\\n\\x85"');
  expect(stdout).not.toMatch(/(?!\n)[\p{Cc}\u202e]/u);
});

test.each([
  [['-i', '/nowhere/input.json'], /invalid_request: --input: .* cannot be read/],
  [['-i', 'LICENSE'], /invalid_request: --input is no JSON/],
  [
    ['-i', 'package.json', '-e', 'authz/allow', '--explain'],
    /there is nothing to explain of authz\/allow|no such entry point/,
  ],
])('%j is refused', async (args, message) => {
  const { stderr, stdout, code } = await mandate(['policy', 'eval', 'policies/acme', ...args]);
  expect(code).not.toBe(0);
  expect(stderr + stdout).toMatch(message);
});
