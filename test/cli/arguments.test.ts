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
