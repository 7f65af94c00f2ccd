import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { drawn } from '../../src/cli/authority/tree.ts';
import { mcp, Stage } from '../delegation/stage.ts';
import { claimsOf } from '../e2e/requests.ts';
import { secrets } from '../e2e/server.ts';
import { at } from './run.ts';

let stage: Stage;
let root: string;
let children: string[];
/** What a terminal would act on. */
const NOISY = 'eve\u001b[2J\u202e';

beforeAll(async () => {
  stage = await Stage.open({
    acme: ({ principals }) => {
      for (const { ceiling } of principals) if (ceiling) ceiling.max_depth = 3;
      const alice = principals.find(({ id }) => id === 'alice');
      principals.push({ ...structuredClone(alice), class: 'user', id: NOISY });
    },
  });
  const token = await stage.granted();
  root = String(claimsOf(token)['jti']);
  const onward = () => stage.exchange(token, { audience: 'docs-api' }, mcp);
  const answers = [await onward(), await onward()];
  children = answers.map(({ body }) => String(claimsOf(body.access_token)['jti']));
});
afterAll(() => stage[Symbol.asyncDispose]());

const cli = (...args: string[]) => at(stage.server, secrets.operator)(...args);

describe('mandate grant', () => {
  test('list: a table, or JSON with --json, as many as are wanted', async () => {
    const { code, stdout } = await cli('grant', 'list', '-t', 'acme', '--subject', 'user:alice');
    expect(code).toBe(0);
    for (const id of [root, ...children]) expect(stdout).toContain(id);
    expect(stdout).toMatch(/^GRANT +SUBJECT +ACTOR +AUDIENCE +SCOPE +STATE\n/);
    const { stdout: json } = await cli('--json', 'grant', 'list', '-t', 'acme', '--limit', '2');
    expect(JSON.parse(json)).toMatchObject({
      grants: [{ state: 'living' }, { state: 'living' }],
      more: true,
    });
  });

  test('show: every field', async () => {
    const { stdout } = await cli('grant', 'show', '-t', 'acme', children[0] ?? '');
    expect(stdout).toContain(`parent    ${root}`);
    expect(stdout).toContain('actors    mcp_server:docs-mcp < agent:research-agent');
    expect(stdout).toContain(`issuer    ${stage.issuer.url}`);
    const gone = await cli('grant', 'show', '-t', 'acme', 'nowhere');
    expect(gone).toMatchObject({ code: 2, stderr: 'mandate: not_found: no such grant in this tenant\n' });
  });

  test('tree: what came of a grant, below it', async () => {
    const { stdout } = await cli('grant', 'tree', '-t', 'acme', root);
    const [first, second] = children.toSorted();
    expect(stdout.split('\n').map((line) => line.split('  ')[0])).toEqual([
      root,
      `├─ ${first}`,
      `└─ ${second}`,
      '',
    ]);
    expect(stdout).toContain('mcp_server:docs-mcp at docs-api: docs.read  living until ');
  });

  test('names in it do not act on the terminal', async () => {
    const token = await stage.issuer.sign({ sub: NOISY });
    const { body } = await stage.exchange(token);
    expect(body.error_description).toBeUndefined();
    for (const command of [
      ['list', '--subject', `user:${NOISY}`],
      ['show', String(claimsOf(body.access_token)['jti'])],
    ]) {
      const { code, stdout } = await cli('grant', ...command, '-t', 'acme');
      expect(code).toBe(0);
      expect(stdout).toContain('user:eve\\x1b[2J\\u202e');
      expect(stdout).not.toContain('\u001b');
    }
  });
});

describe('a drawn tree', () => {
  const node = (id: string, parentId = '') => ({ id, parentId });
  const lines = (nodes: ReturnType<typeof node>[]) =>
    drawn(nodes).map(({ branch, node: each }) => branch + each.id);

  test('has a line for each node, below what it came from', () => {
    const nodes = [node('r'), node('a', 'r'), node('b', 'a'), node('c', 'a'), node('d', 'r'), node('e', 'd')];
    expect(lines(nodes)).toEqual(['r', '├─ a', '│  ├─ b', '│  └─ c', '└─ d', '   └─ e']);
  });

  test('has what came from elsewhere at its edge', () => {
    expect(lines([node('a', 'away'), node('b', 'a'), node('c', 'gone')])).toEqual(['a', '└─ b', 'c']);
  });
});
