import { expect, test } from 'vitest';
import { Planner } from '../../../src/policy/plan/planner.ts';
import { compiler, read, withFolder } from '../sources.ts';
import { refusalOf } from './subject.ts';

/** How many plans run and wait: those of one tenant wait for themselves, and what is too much is refused at once. */

const input = (id: string): string =>
  JSON.stringify({
    now: '2026-01-01T00:00:00.000Z',
    tenant: { id: 'acme' },
    subject: { class: 'user', type: 'user', id, properties: {}, groups: [], roles: [], status: 'active' },
    actors: [],
    action: { name: 'read', properties: {} },
    resource: { type: 'document', id: '', properties: {} },
    context: {},
    grant: null,
  });

const BUSY = 'resource_exhausted: too many plans are under way';

test('beyond its bounds a plan is refused at once, and what waited is made', async () => {
  const policy = {
    'authz.rego': 'package authz\n\nallow if input.resource.properties.x == input.subject.id\n',
  };
  await withFolder(policy, async (folder) => {
    const sources = await read(folder);
    const planner = new Planner(compiler(), { running: 1, perTenant: 2, waiting: 2 });
    const { promise: gate, resolve: open } = Promise.withResolvers<void>();
    let looked = 0;
    const ask = (tenant: string, subject: string) =>
      planner.plan({
        tenant,
        revision: 'r1',
        input: input(subject),
        sources: async () => {
          looked += 1;
          await gate;
          return sources;
        },
      });
    const accepted = [ask('one', 'a'), ask('one', 'b')];
    // Of a tenant no more run or wait.
    expect(await refusalOf(ask('one', 'c'))).toBe(BUSY);
    accepted.push(ask('two', 'a'));
    // Of all of them no more wait.
    expect(await refusalOf(ask('three', 'a'))).toBe(BUSY);
    // One at a time.
    expect(looked).toBe(1);
    open();
    const plans = await Promise.all(accepted);
    expect(plans.map(({ condition }) => condition)).toEqual(
      ['a', 'b', 'a'].map((value) => ({ op: 'eq', attribute: ['resource', 'properties', 'x'], value })),
    );
    // Nothing of it is left: there is room for as many again.
    await Promise.all([ask('one', 'c'), ask('one', 'd'), ask('three', 'a')]);
    expect(looked).toBe(6);
    // What is kept takes no place.
    await Promise.all(Array.from({ length: 50 }, () => ask('one', 'a')));
    expect(looked).toBe(6);
  });
});
