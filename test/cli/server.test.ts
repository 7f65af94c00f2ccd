import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Stage } from '../delegation/stage.ts';
import { secrets } from '../e2e/server.ts';
import { at, environmentOf, mandate, type Ran, unread } from './run.ts';

/** Commands that ask a server. What a script can rely on: exit codes, --json, one line of error. */

let stage: Stage;
let dev: (...args: string[]) => Promise<Ran>;
beforeAll(async () => {
  stage = await Stage.open();
  dev = at(stage.server);
});
afterAll(() => stage[Symbol.asyncDispose]());

const READ = ['-a', 'document.read', '-r', 'document:roadmap'];
const INTERNAL = ['-p', '{"project":"apollo","sensitivity":"internal"}'];
const json = ({ stdout }: Ran): unknown => JSON.parse(stdout);

describe('mandate check', () => {
  test('exits 0 for allow, 1 for deny and for challenge', async () => {
    const [allow, deny, challenge] = await Promise.all([
      dev('check', '-t', 'acme', '-s', 'user:alice', ...READ, ...INTERNAL),
      dev('check', '-t', 'acme', '-s', 'user:nobody', ...READ),
      dev(
        'check',
        '-t',
        'acme',
        '-s',
        'user:alice',
        '-a',
        'document.delete',
        '-r',
        'document:d',
        '-p',
        '{"owner":"alice"}',
      ),
    ]);
    expect(allow).toEqual({ code: 0, stdout: 'allow\n', stderr: '' });
    expect(deny.code).toBe(1);
    expect(deny.stdout).toMatch(/^deny\n {2}principal_unknown: /);
    expect(challenge).toMatchObject({ code: 1, stdout: 'challenge\n' });
  });

  test('exits 2 with one line for every error: tenant, class, arguments, JSON, credential, no server', async () => {
    const table: [Promise<Ran>, string][] = [
      [dev('check', '-t', 'nowhere', '-s', 'user:alice', ...READ), 'tenant_unknown'],
      [dev('check', '-t', 'acme', '-s', 'robot:r2', ...READ), 'principal_class_unknown'],
      [dev('check', '-t', 'acme', '-s', 'alice', ...READ), 'class:id'],
      [dev('check', '-t', 'acme', ...READ), '--subject or --token'],
      [dev('check', '-t', 'acme', '-s', 'user:alice', ...READ, '-p', '{'), 'JSON object'],
      [dev('check', '-t', 'acme', '-s', 'user:alice'), 'required option'],
      [dev('check', '-t', 'acme', '-s', 'user:alice', ...READ, '--unknown'), 'unknown option'],
      [at(stage.server, 'wrong')('check', '-t', 'acme', '-s', 'user:alice', ...READ), 'unauthenticated'],
      [
        mandate(['--data', 'http://127.0.0.1:1', 'check', '-t', 'acme', '-s', 'user:alice', ...READ]),
        'nothing answers at http://127.0.0.1:1',
      ],
    ];
    for (const [running, message] of table) {
      const { code, stdout, stderr } = await running;
      expect(stderr).toContain(message);
      expect(stderr).not.toContain('    at ');
      expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    }
  });

  test('--json and --explain say by what it was decided, and where it is recorded', async () => {
    const args = ['check', '-t', 'acme', '-s', 'user:alice', ...READ, ...INTERNAL];
    const [asJson, explained] = await Promise.all([dev('--json', ...args), dev(...args, '--explain')]);
    expect(json(asJson)).toMatchObject({
      decision: 'allow',
      reasons: [],
      policy_revision: expect.stringMatching(/^sha256:/) as string,
      record_index: expect.any(Number) as number,
      cost: expect.any(Number) as number,
    });
    expect(explained.stdout).toMatch(
      /^allow\ndecision +\S+\nrevision +sha256:\S+\nrecord +\d+\ncost +\d+ fuel\nauthz\//,
    );
  });
});

describe('a command whose reader has enough', () => {
  const piped = (...args: string[]): Promise<Ran> => unread(args, environmentOf(stage.server));

  test('ends quietly, and exits by what it answered', async () => {
    const [allow, deny, query] = await Promise.all([
      piped('check', '-t', 'acme', '-s', 'user:alice', ...READ, ...INTERNAL),
      piped('check', '-t', 'acme', '-s', 'user:nobody', ...READ),
      piped('audit', 'query', '-t', 'acme'),
    ]);
    expect(allow).toEqual({ code: 0, stdout: '', stderr: '' });
    expect(deny).toEqual({ code: 1, stdout: '', stderr: '' });
    expect(query).toEqual({ code: 2, stdout: '', stderr: '' });
  });
});

describe('mandate token', () => {
  test('exchanges, introspects and revokes; check then denies', async () => {
    const agent = at(stage.server, secrets.agent);
    const user = await stage.issuer.sign();
    const exchange = [
      'token',
      'exchange',
      '-t',
      'acme',
      '--subject-token',
      user,
      '--audience',
      'docs-mcp',
      '--scope',
      'docs.read',
    ];
    const { code, stdout } = await agent(...exchange);
    const token = stdout.trim();
    expect({ code, parts: token.split('.').length }).toEqual({ code: 0, parts: 3 });
    const introspected = await agent('--json', 'token', 'introspect', '-t', 'acme', token);
    expect(json(introspected)).toMatchObject({
      active: true,
      subject: 'user:alice',
      actors: 'agent:research-agent',
      scope: 'docs.read',
    });
    const check = () =>
      at(stage.server, secrets.mcp)(
        'check',
        '-t',
        'acme',
        '--token',
        token,
        '--audience',
        'docs-mcp',
        ...READ,
        ...INTERNAL,
      );
    expect((await check()).code).toBe(0);
    expect((await agent('token', 'revoke', '-t', 'acme', token)).stdout).toBe('revoked 1 grant\n');
    expect(await check()).toMatchObject({
      code: 1,
      stdout: expect.stringContaining('token_revoked') as string,
    });
    expect((await agent('token', 'revoke', '-t', 'acme', token)).stdout).toBe('nothing to revoke\n');
    expect(json(await agent('--json', 'token', 'introspect', '-t', 'acme', token))).toEqual({
      active: false,
    });
  });

  test('an exchange that is refused exits 2 and says why', async () => {
    const user = await stage.issuer.sign({ client_id: 'other-agent' });
    const args = ['-t', 'acme', '--subject-token', user, '--audience', 'docs-mcp', '--scope', 'docs.read'];
    const { code, stdout, stderr } = await at(stage.server, secrets.agent)('token', 'exchange', ...args);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toContain('exchange_denied');
  });
});

describe('mandate audit and tenant', () => {
  test('query finds records, as a table and a JSON line each', async () => {
    await dev('check', '-t', 'acme', '-s', 'user:carol', ...READ, ...INTERNAL);
    const filter = ['-t', 'acme', '--principal', 'user:carol', '--since', '10m', '-n', '1'];
    const [table, lines] = await Promise.all([
      dev('audit', 'query', ...filter),
      dev('--json', 'audit', 'query', ...filter),
    ]);
    expect(table.stdout).toMatch(
      /^INDEX +TIME +KIND.*\n\d+ .* decision +allow +user:carol +document\.read +document:roadmap /,
    );
    expect(JSON.parse(lines.stdout)).toMatchObject({ record: { kind: 'decision', caller: 'dev' } });
    const wrong = await dev('audit', 'query', '-t', 'acme', '--since', 'yesterday');
    expect(wrong).toMatchObject({ code: 2, stderr: expect.stringContaining('15m') as string });
  });

  test('query names the agent alone where an exchange was refused before its subject was known', async () => {
    const args = ['-t', 'acme', '--subject-token', 'none', '--audience', 'docs-mcp', '--scope', 'docs.read'];
    const { stderr } = await at(stage.server, secrets.agent)('token', 'exchange', ...args);
    expect(stderr).toMatch(/^mandate: token_invalid: /);
    const { stdout } = await dev('audit', 'query', '-t', 'acme', '--kind', 'exchange', '-n', '1');
    expect(stdout).toMatch(/ exchange +deny +agent:research-agent  +\S/);
    expect(stdout).not.toContain(' for ');
  });

  test('query shows as WHO who did it, and to whom beside it', async () => {
    const operator = at(stage.server, secrets.operator);
    const token = await stage.granted();
    const rowOf = async (kind: string): Promise<string> => {
      const { stdout } = await dev('audit', 'query', '-t', 'acme', '--kind', kind, '-n', '1');
      return stdout.split('\n')[1] ?? '';
    };
    await operator('token', 'introspect', '-t', 'acme', token);
    const granted = 'agent:research-agent for user:alice';
    expect(await rowOf('introspection')).toMatch(RegExp(`allow +operator:root +\\S+ +${granted}`));
    await operator('token', 'revoke', '-t', 'acme', token);
    expect(await rowOf('revocation')).toMatch(RegExp(`done +operator:root +\\S+ +${granted}`));
    for (const status of ['disable', 'enable']) {
      await operator('tenant', status, '-t', 'acme', 'user:bob');
      expect(await rowOf('administration')).toMatch(
        RegExp(`done +operator:root +principal.${status} +user:bob *$`),
      );
    }
    // Whoever looks for what was done to somebody still finds it.
    const { stdout } = await dev('audit', 'query', '-t', 'acme', '--principal', 'user:bob', '-n', '1');
    expect(stdout).toContain('principal.enable');
  });

  test('disable counts the grants it revoked: one, then two', async () => {
    const disable = async (): Promise<string> => {
      const { stdout } = await dev('tenant', 'disable', '-t', 'acme', 'user:alice');
      await dev('tenant', 'enable', '-t', 'acme', 'user:alice');
      return stdout;
    };
    await disable();
    await stage.granted();
    expect(await disable()).toBe('user:alice disabled, 1 grant revoked\n');
    await Promise.all([stage.granted(), stage.granted()]);
    expect(await disable()).toBe('user:alice disabled, 2 grants revoked\n');
  });

  test('list shows the tenants; disable and enable act on a principal', async () => {
    expect(json(await dev('--json', 'tenant', 'list'))).toMatchObject([{ id: 'acme' }, { id: 'globex' }]);
    expect((await dev('tenant', 'disable', '-t', 'acme', 'user:bob')).stdout).toContain('user:bob disabled');
    expect((await dev('check', '-t', 'acme', '-s', 'user:bob', ...READ, ...INTERNAL)).stdout).toContain(
      'principal_disabled',
    );
    expect((await dev('tenant', 'enable', '-t', 'acme', 'user:bob')).code).toBe(0);
    expect((await dev('tenant', 'disable', '-t', 'acme', 'user:nobody')).stderr).toContain(
      'principal_unknown',
    );
  });
});

test('nothing that a request said acts on the terminal of who reads of it', async () => {
  const hostile = 'r\u001b]0;owned\u0007\u009b31m\u202e\nINDEX  forged';
  const asked = ['check', '-t', 'acme', '-s', `user:${hostile}`, '-a', hostile, '-r', `document:${hostile}`];
  const { stdout } = await dev(...asked, '--json');
  const id = (JSON.parse(stdout) as { decision_id: string }).decision_id;
  const outputs = await Promise.all([
    dev(...asked, '--explain'),
    dev('audit', 'query', '-t', 'acme', '--decision', id),
    dev('audit', 'query', '-t', 'acme', '--decision', id, '--json'),
    dev('check', '-t', hostile, '-s', 'user:alice', ...READ),
    dev('check', '-t', 'acme', '-s', `${hostile}:alice`, ...READ),
    dev('tenant', 'disable', '-t', 'acme', `${hostile}:x`),
  ]);
  for (const { stdout: out, stderr } of outputs) {
    expect((out + stderr).replaceAll('\n', '')).not.toMatch(/[\p{Cc}\u2028-\u202e]/u);
    expect(out + stderr).not.toMatch(/^INDEX {2}forged/m);
  }
  const [, table, record] = outputs;
  expect(table?.stdout).toContain('\\x1b]0;owned');
  expect(JSON.stringify(JSON.parse(record?.stdout ?? ''))).toContain(JSON.stringify(hostile).slice(1, -1));
});
