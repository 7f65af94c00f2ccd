import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { mcp, Stage } from '../delegation/stage.ts';
import { check, connect, tokenReads } from '../e2e/requests.ts';
import { bearer, secrets } from '../e2e/server.ts';
import { at, type Ran } from './run.ts';

/** What `mandate audit query` finds and counts, of a server that answered it all itself. */

let stage: Stage;
let dev: (...args: string[]) => Promise<Ran>;
let revision: string;

const asked = (context: object, subject = 'alice') => ({
  tenant: 'acme',
  subject: { type: 'user', id: subject },
  action: { name: 'document.read' },
  resource: { type: 'document', id: 'roadmap', properties: { sensitivity: 'internal', project: 'apollo' } },
  context,
});

beforeAll(async () => {
  stage = await Stage.open();
  dev = at(stage.server);
  const { data } = stage.server;
  for (const context of [{ ticket: 'INC-7' }, { ticket: 7 }, { device: { os: 'x' } }, { ticket: 'INC-7' }])
    await check(data, asked(context));
  await check(data, asked({ ticket: 'INC-7' }, 'nobody'));
  // Long enough to stand beside the records of its batch.
  const large = { ticket: 'INC-8', notes: 'n'.repeat(2_000) };
  const batch = { ...asked(large), items: [{}, {}] };
  const { body } = await connect<{ policyRevision?: string }>(data, 'DecisionService/CheckBatch', batch);
  revision = body.policyRevision ?? '';
});
afterAll(() => stage[Symbol.asyncDispose]());

const query = (...args: string[]): Promise<Ran> =>
  dev('--json', 'audit', 'query', '-t', 'acme', '-n', '100', ...args);

interface Line {
  index: number;
  record: { kind: string; input: { context: object }; input_parts?: object; revision: string };
}

async function found(...args: string[]): Promise<Line[]> {
  const { stdout, stderr, code } = await query(...args);
  expect({ stderr, code }).toEqual({ stderr: '', code: 0 });
  return stdout
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Line);
}

describe('mandate audit query', () => {
  test('finds a member of the context, also one that a batch has in common, beside other filters', async () => {
    const tickets = await found('--context', '/ticket=INC-7');
    expect(tickets).toHaveLength(3);
    for (const { record } of tickets) expect(record.input.context).toEqual({ ticket: 'INC-7' });
    expect(await found('--context', '/ticket=INC-7', '--outcome', 'deny')).toHaveLength(1);
    expect(await found('--context', '/ticket=7')).toHaveLength(1);
    expect(await found('--context', '/device/os=x')).toHaveLength(1);
    expect(await found('--context', '/device/os=x', '/ticket=7')).toHaveLength(0);
    const shared = await found('--context', '/ticket=INC-8');
    expect(shared).toHaveLength(2);
    for (const { record } of shared) expect(record.input_parts).toHaveProperty('context');
  });

  test('finds by revision, and gives them oldest first', async () => {
    const newest = await found('--revision', revision);
    expect(newest.length).toBeGreaterThanOrEqual(7);
    for (const { record } of newest) expect(record.revision).toBe(revision);
    expect(await found('--revision', revision, '--oldest-first')).toEqual(newest.toReversed());
    expect(await found('--revision', 'sha256:none')).toEqual([]);
  });

  test('finds whoever acts anywhere in the chain', async () => {
    const first = await stage.granted();
    const second = await stage.exchange(first, { audience: 'docs-api' }, mcp);
    const token = second.body.access_token;
    expect((await check(stage.server.data, tokenReads(token, 'docs-api'), bearer(secrets.api))).status).toBe(
      200,
    );
    const by = await found('--principal', 'agent:research-agent', '--kind', 'decision', '-n', '1');
    expect(by).toMatchObject([
      {
        record: {
          input: {
            subject: { id: 'alice' },
            actors: [
              { class: 'mcp_server', id: 'docs-mcp' },
              { class: 'agent', id: 'research-agent' },
            ],
          },
        },
      },
    ]);
    const exchanges = await found('--principal', 'agent:research-agent', '--kind', 'exchange', '-n', '1');
    expect(exchanges).toMatchObject([{ record: { caller: 'mcp_server:docs-mcp' } }]);
  });

  test('counts, all together and by what they have in common', async () => {
    const json = async (...args: string[]): Promise<unknown> =>
      JSON.parse((await dev('--json', 'audit', 'query', '-t', 'acme', ...args)).stdout) as unknown;
    const tickets = ['--context', '/ticket=INC-7'];
    expect(await json(...tickets, '--count')).toEqual({ count: 3 });
    expect(await json(...tickets, '--count-by', 'outcome')).toEqual({
      count: 3,
      by: 'outcome',
      groups: [
        { name: 'allow', count: 2 },
        { name: 'deny', count: 1 },
      ],
      others: 0,
    });
    expect(await json(...tickets, '--count-by', 'principal', '-n', '1')).toMatchObject({
      groups: [{ name: 'user:alice', count: 2 }],
      others: 1,
    });
    const table = await dev('audit', 'query', '-t', 'acme', ...tickets, '--count-by', 'reason', '-n', '1');
    expect(table.stdout).toMatch(/^REASON +COUNT\n\(none\) +2\n\(others\) +1\n$/);
    expect((await dev('audit', 'query', '-t', 'acme', ...tickets, '--count')).stdout).toBe('3\n');
  });

  test.each<[string[], string]>([
    [['--context', 'ticket=1'], 'JSON Pointer'],
    [['--context', '/ticket'], 'path=value'],
    [['--count', '--whole'], 'cannot be used with'],
    [['--count', '--count-by', 'kind'], 'cannot be used with'],
    [['--count', '-n', '5'], '--limit'],
    [['--count-by', 'weekday'], 'Allowed choices'],
  ])('refuses %j in a line', async (args, message) => {
    const { code, stdout, stderr } = await dev('audit', 'query', '-t', 'acme', ...args);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toContain(message);
  });
});

describe('AuditService', () => {
  const refusalOf = async (method: string, body: object): Promise<unknown> =>
    (await connect<{ code: string; message: string }>(stage.server.admin, `AuditService/${method}`, body))
      .body;

  test('counts no pages, and by nothing that it does not know', async () => {
    const query = { tenant: 'acme' };
    expect(await refusalOf('Count', { query: { ...query, pageSize: 5 } })).toMatchObject({
      message: expect.stringContaining('without page_size') as string,
    });
    expect(await refusalOf('Count', { query, by: 'weekday' })).toMatchObject({
      message: expect.stringContaining('by is one of outcome') as string,
    });
    expect(await refusalOf('Count', {})).toMatchObject({ code: 'not_found' });
  });

  test('counts for nobody whom it would not let read', async () => {
    const { status } = await connect(
      stage.server.admin,
      'AuditService/Count',
      { query: { tenant: 'acme' } },
      bearer(secrets.mcp),
    );
    expect(status).toBe(403);
  });
});
