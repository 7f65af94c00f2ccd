import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Running, startServer } from '../e2e/server.ts';
import { at, mandate, type Ran } from './run.ts';

/** What a command says of a server that refuses, is another one, or is not there. */

let server: Running;
let dev: (...args: string[]) => Promise<Ran>;
beforeAll(async () => {
  server = await startServer();
  dev = at(server);
});
afterAll(() => server[Symbol.asyncDispose]());

const CHECK = ['check', '-t', 'acme', '-s', 'user:alice', '-a', 'document.read', '-r', 'document:roadmap'];
const TAIL = ['audit', 'tail', '-t', 'acme', '--from', '0'];
const refusal = (stderr: string): Ran => ({ code: 2, stdout: '', stderr: `mandate: ${stderr}\n` });

describe('an error is one line: code and message,', () => {
  test("the server's own for a call and for a stream", async () => {
    const unknown = refusal('tenant_unknown: no such tenant');
    const [check, query, tail] = await Promise.all([
      dev('check', '-t', 'nosuch', ...CHECK.slice(3)),
      dev('audit', 'query', '-t', 'nosuch'),
      dev('audit', 'tail', '-t', 'nosuch'),
    ]);
    expect([check, query, tail]).toEqual([unknown, unknown, unknown]);
  });

  test('unavailable where nothing listens', async () => {
    const nowhere = 'http://127.0.0.1:1';
    const silent = refusal(`unavailable: nothing answers at ${nowhere}; is "mandate serve" running?`);
    const [check, tail] = await Promise.all([
      mandate(['--data', nowhere, ...CHECK]),
      mandate(['--admin', nowhere, ...TAIL]),
    ]);
    expect([check, tail]).toEqual([silent, silent]);
  });
});
