import { expect, test } from 'vitest';
import { secrets, startServer } from '../e2e/server.ts';
import { at } from './run.ts';

test('mandate key lists and rotates', async () => {
  await using server = await startServer();
  const cli = at(server, secrets.operator);
  const first = await cli('key', 'list', '-t', 'acme');
  expect(first.stdout).toMatch(/^KEY +ALGORITHM +STATE +CREATED +UNTIL\n\S{43} +ES256 +active +\S+\n$/);
  const rotated = await cli('key', 'rotate', '-t', 'acme');
  expect(rotated.stdout).toMatch(/\n\S{43} +ES256 +next +\S+ +signs from \S+\n\S{43} +ES256 +active +\S+\n$/);
  const { code, stdout } = await cli('--json', 'key', 'rotate', '-t', 'acme', '--now', '--reason', 'INC-7');
  expect(code).toBe(0);
  expect(JSON.parse(stdout)).toMatchObject([{ state: 'active', signs_from: null, kept_until: null }]);
  const refused = await at(server, secrets.agent)('key', 'rotate', '-t', 'acme');
  expect(refused).toMatchObject({ code: 2, stderr: expect.stringContaining('permission_denied') as unknown });
});
