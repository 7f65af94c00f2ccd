import { execFile } from 'node:child_process';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { aliceReads, check, connect } from '../e2e/requests.ts';
import { bearer, type Running, secrets, startServer } from '../e2e/server.ts';

/** What meters have counted, as operators and agents see it. */

let server: Running;
let now = Date.UTC(2026, 0, 1);

beforeAll(async () => {
  server = await startServer({
    clock: () => now,
    acme: (manifest) => {
      manifest.meters = {
        reads: { actions: ['document.read'], per: 'subject' },
        hourly: { actions: ['document.read'], per: 'subject', window: '1h' },
      };
    },
  });
  for (const id of ['alice', 'bob', 'alice'])
    expect((await check(server.data, { ...aliceReads, subject: { type: 'user', id } })).body.decision).toBe(
      'DECISION_ALLOW',
    );
});

afterAll(() => server[Symbol.asyncDispose]());

interface Listed {
  usage?: { meter: string; countedFor: string; amount: number }[];
  nextPageToken?: string;
}
const list = (more: object = {}, authorization?: string) =>
  connect<Listed>(server.data, 'GrantService/ListUsage', { tenant: 'acme', ...more }, authorization);

const ALL = [
  { meter: 'hourly', countedFor: 'subject user:alice', amount: 2 },
  { meter: 'hourly', countedFor: 'subject user:bob', amount: 1 },
  { meter: 'reads', countedFor: 'subject user:alice', amount: 2 },
  { meter: 'reads', countedFor: 'subject user:bob', amount: 1 },
];

test('is listed by meter and by whom it is for, page by page, each once', async () => {
  expect((await list()).body.usage).toEqual(ALL);
  for (const pageSize of [1, 2, 3]) {
    const pages: Listed['usage'] = [];
    let pageToken = '';
    for (let round = 0; round < 10; round += 1) {
      const { body } = await list({ pageSize, pageToken });
      pages.push(...(body.usage ?? []));
      pageToken = body.nextPageToken ?? '';
      if (pageToken === '') break;
    }
    expect(pages).toEqual(ALL);
  }
  expect((await list({ meter: 'reads' })).body.usage).toEqual(ALL.slice(2));
});

test('is told of no meter that is not there, by no token that was not given, and no agent', async () => {
  expect((await list({ meter: 'writes' })).status).toBe(404);
  expect((await list({ pageToken: 'nonsense' })).status).toBe(400);
  expect((await list({ pageSize: 1_001 })).status).toBe(400);
  expect((await list({}, bearer(secrets.agent))).status).toBe(403);
});

test('of a window is what counts now; on the command line as a table', async () => {
  now += 2 * 3_600_000;
  expect((await list()).body.usage).toEqual(ALL.slice(2));
  const { stdout } = await promisify(execFile)(path.resolve(import.meta.dirname, '../../bin/mandate.mjs'), [
    '--data',
    server.data,
    'meter',
    'list',
    '-t',
    'acme',
  ]);
  expect(stdout.split('\n').map((line) => line.split(/\s{2,}/))).toEqual([
    ['METER', 'FOR', 'AMOUNT'],
    ['reads', 'subject user:alice', '2'],
    ['reads', 'subject user:bob', '1'],
    [''],
  ]);
});
