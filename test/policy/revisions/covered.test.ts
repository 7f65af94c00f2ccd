import { rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { eventually, type Running, startIn, startServer } from '../../e2e/server.ts';
import { type Kept, policyOf, STRICTER } from './lab.ts';

/** What a revision's tests came to, and what they reach, is kept with it however it came: also from a folder. */

let server: Running;
let policy: ReturnType<typeof policyOf>;
beforeAll(async () => {
  server = await startServer({ tested: true });
  policy = policyOf(server);
});
afterAll(() => server[Symbol.asyncDispose]());

const active = async (): Promise<Kept> => (await policy.get(await policy.active())).body.revision;
const isCovered = ({ tests }: Kept): void => {
  expect(tests?.passed).toBeGreaterThan(0);
  expect(tests?.coverage).toBeGreaterThan(0);
  expect(tests?.coverage).toBeLessThan(100);
};
const closed = () => path.join(server.tenantFolder('acme'), 'authz', 'closed.rego');
/** Of rules that no test reaches, so that it falls. */
const saved = (name: string) => writeFile(closed(), STRICTER.replaceAll('bob', name));

test('at the start, by a save, by a reload, and after a restart on what was changed meanwhile', async () => {
  const first = await active();
  isCovered(first);
  await saved('nobody-1');
  const watched = await eventually(active, ({ revision }) => revision !== first.revision);
  isCovered(watched);
  expect(watched.tests?.coverage).toBeLessThan(first.tests?.coverage ?? 0);
  await saved('nobody-2');
  expect((await policy.reload()).status).toBe(200);
  const reloaded = await eventually(active, ({ revision }) => revision !== watched.revision);
  isCovered(reloaded);
  const { folder } = server;
  await server.stop();
  await rm(closed());
  server = await startIn(folder);
  policy = policyOf(server);
  // What it was before, with what its tests came to then.
  expect(await active()).toMatchObject({ revision: first.revision, tests: first.tests });
});
