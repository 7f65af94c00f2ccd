import { describe, expect, test } from 'vitest';
import { mandate, type Ran } from './run.ts';

/** What a command line may hold is looked at before any server is asked. */

/** No server: what gets that far fails otherwise. */
const refused = async (args: readonly string[], ...words: string[]): Promise<void> => {
  const { code, stdout, stderr }: Ran = await mandate(['--data', 'http://127.0.0.1:1', ...args]);
  for (const word of words) expect(stderr).toContain(word);
  expect(stderr).not.toContain('    at ');
  expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
};

const EXCHANGE = ['token', 'exchange', '-t', 'a', '--subject-token', 't', '--audience', 'b', '--scope', 'c'];

describe('a number that is none is refused by the name of its option:', () => {
  test.concurrent.each(['abc', '-1', '1.5', '0', '1e3', ''])('audit query -n %s', (value) =>
    refused(['audit', 'query', '-t', 'acme', '-n', value], '--limit', 'a whole number from 1 on'),
  );

  test.concurrent.each(['abc', '-5', '1.5', '0', '4294967296'])('token exchange --lifetime %s', (value) =>
    refused([...EXCHANGE, '--lifetime', value], '--lifetime', 'a whole number from 1 to 4294967295'),
  );

  test.concurrent.each(['abc', '-1', '1.5', '99999999999999999999'])('audit tail --from %s', (value) =>
    refused(['audit', 'tail', '-t', 'acme', '--from', value], '--from', 'a whole number from 0 on'),
  );
});

test('a credential that no header can hold is refused without being quoted', async () => {
  const { code, stderr } = await mandate(['--credential', 'top-secret\nx', 'tenant', 'list']);
  expect(code).toBe(2);
  expect(stderr).toContain('invalid_request: the credential has');
  expect(stderr).not.toContain('top-secret');
});

describe('mandate check refuses what it would not look at:', () => {
  const check = ['check', '-t', 'acme', '-a', 'document.read', '-r', 'document:roadmap'];

  test('a subject beside a token', () =>
    refused([...check, '-s', 'user:alice', '--token', 't'], '--token', 'cannot be used with', '--subject'));

  test('an audience without a token', () =>
    refused([...check, '-s', 'user:alice', '--audience', 'docs-mcp'], 'invalid_request: --audience'));
});

describe('help', () => {
  const GLOBAL = ['--json', '--data <url>', '--admin <url>', '--credential <secret>', '--timeout <seconds>'];
  const NAMES = ['MANDATE_DATA_URL', 'MANDATE_ADMIN_URL', 'MANDATE_CREDENTIAL'];

  test.concurrent.each(['', 'check', 'audit', 'audit query', 'token exchange'])(
    'shows the options of every command, and their variables: mandate %s --help',
    async (command) => {
      const words = command.split(' ').filter((word) => word !== '');
      const { code, stdout } = await mandate([...words, '--help'], { MANDATE_CREDENTIAL: 'never shown' });
      for (const shown of [...GLOBAL, ...NAMES]) expect(stdout).toContain(shown);
      expect(stdout).not.toContain('never shown');
      expect(code).toBe(0);
    },
  );

  test('is pointed to after an error of any command', async () => {
    const more = '(add --help for more)';
    await Promise.all([
      refused(['nosuch'], "unknown command 'nosuch'", more),
      refused(['tenant', 'list', '--nosuch'], "unknown option '--nosuch'", more),
      refused(['audit', 'nosuch'], "unknown command 'nosuch'", more),
      refused(['audit', 'query'], "required option '-t, --tenant <id>'", more),
    ]);
  });

  test('of a command is shown by `help` too, that of an unknown one is refused', async () => {
    const helps = await Promise.all(
      [
        ['help', 'token', 'exchange'],
        ['token', 'help', 'exchange'],
        ['token', 'exchange', '--help'],
      ].map((args) => mandate(args)),
    );
    expect(helps[0]).toMatchObject({ code: 0, stdout: expect.stringContaining('--subject-token') as string });
    expect(new Set(helps.map(({ stdout }) => stdout)).size).toBe(1);
    expect((await mandate(['help'])).stdout).toBe((await mandate(['--help'])).stdout);
    await Promise.all([
      refused(['help', 'nosuch'], "unknown command 'nosuch'"),
      refused(['help', 'token', 'nosuch'], "unknown command 'nosuch'"),
      refused(['token', 'help', 'nosuch'], "unknown command 'nosuch'"),
    ]);
  });
});
