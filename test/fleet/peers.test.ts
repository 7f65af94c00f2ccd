import { afterAll, beforeAll, expect, test } from 'vitest';
import { eventually, type Running, startServer } from '../e2e/server.ts';
import { authorityOverrides, SIDECAR_SECRET } from './fleet.ts';
import { BASE, decided, idsOf, logsAt, queried } from './kept.ts';
import { Line } from './line.ts';

/** Authorities that send each other their records: each answers for all. */

let one: Running;
let two: Running;
let line: Line;

const authority = (node: string, peer: string): Promise<Running> =>
  startServer({
    overrides: { ...authorityOverrides, base_url: BASE, node, peers: { admin: peer } },
    environment: { MANDATE_PEERS_SECRET: SIDECAR_SECRET },
  });

beforeAll(async () => {
  // Each is to know where the other one is before that is there.
  line = await Line.to('http://127.0.0.1:9');
  one = await authority('one', line.url);
  two = await authority('two', one.admin);
  line.leadTo(two.admin);
});

afterAll(async () => {
  await two[Symbol.asyncDispose]();
  await one[Symbol.asyncDispose]();
  await line[Symbol.asyncDispose]();
});

test('a query at either finds what both have decided, and nothing goes round', async () => {
  const ids = [...(await decided(one, 5)), ...(await decided(two, 6)), ...(await decided(one, 4))];
  for (const server of [one, two]) {
    const asked = { kind: 'decision', oldestFirst: true };
    const found = await eventually(
      () => queried(server, asked),
      (records) => records.length >= ids.length,
    );
    expect(idsOf(found)).toEqual(ids);
    expect((await logsAt(server)).map(({ node }) => node).toSorted()).toEqual(['one', 'two']);
  }
});
