import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type CountBy, countings, countRecords, MOST_GROUPS } from '../../src/audit/count.ts';
import type { LogSource } from '../../src/audit/query.ts';
import type { TenantNo } from '../../src/storage/rows.ts';
import type { Writer } from '../../src/storage/writer.ts';
import { appendRows, rowOf, sourceOf, tenantNo } from '../storage/store.ts';
import { anyFilter, type Entry, type Filter, matching, openModel } from './log-model.ts';

let model: Awaited<ReturnType<typeof openModel>>;
let writer: Writer;
let source: LogSource;
let no: TenantNo;

beforeAll(async () => {
  model = await openModel();
  ({ writer, no } = model);
  source = sourceOf(model.store);
});
afterAll(() => model[Symbol.asyncDispose]());

const never = new AbortController().signal;

/** What all answers say together, and how many there were. */
async function all(
  of: TenantNo,
  filter: Filter,
  by: CountBy | undefined,
): Promise<{ count: number; groups: Map<string, number>; answers: number }> {
  const groups = new Map<string, number>();
  let [count, pageToken] = [0, ''];
  let left = Number.POSITIVE_INFINITY;
  for (let answers = 1; answers < 1_000; answers += 1) {
    const counted = await countRecords(source, of, { ...filter, pageToken }, by, never);
    count += counted.count;
    for (const [name, more] of counted.groups) groups.set(name, (groups.get(name) ?? 0) + more);
    expect(counted.groups.size).toBeLessThanOrEqual(MOST_GROUPS);
    expect(counted.left).toBeLessThan(left);
    left = counted.left;
    pageToken = counted.nextPageToken;
    if (pageToken === '') return { count, groups, answers };
  }
  throw new Error('the answers do not end');
}

const groupOf = (entry: Entry, by: CountBy): string => {
  const [acting] = [...entry.actors, entry.subject];
  return {
    outcome: entry.outcome,
    reason: entry.reason ?? '',
    action: entry.action,
    kind: entry.kind,
    principal: `${acting?.class}:${acting?.id}`,
    caller: entry.caller,
    resource_type: entry.resource.type,
  }[by];
};

describe('a count', () => {
  test('is what a plain count of what the query finds is, all together and by each member', async () => {
    await fc.assert(
      fc.asyncProperty(
        anyFilter,
        fc.option(fc.constantFrom(...countings), { nil: undefined }),
        async (filter, by) => {
          const wanted = new Map<string, number>();
          const found = matching(model.entries, filter);
          if (by)
            for (const entry of found)
              wanted.set(groupOf(entry, by), (wanted.get(groupOf(entry, by)) ?? 0) + 1);
          const { count, groups } = await all(no, filter, by);
          expect(count).toBe(found.length);
          expect(Object.fromEntries(groups)).toEqual(Object.fromEntries(wanted));
        },
      ),
      { numRuns: 60 },
    );
  });

  test('has a bound of groups an answer, and goes on behind it without losing any', async () => {
    const tenant = await tenantNo(writer, 'many');
    const rows = Array.from({ length: 2_500 }, (_, at) => rowOf(tenant, { caller: `service:s${at}` }));
    for (let at = 0; at < rows.length; at += 500) await appendRows(writer, rows.slice(at, at + 500));
    const { count, groups, answers } = await all(tenant, {}, 'caller');
    expect({ count, groups: groups.size }).toEqual({ count: 2_500, groups: 2_500 });
    expect([...groups.values()].every((each) => each === 1)).toBe(true);
    expect(answers).toBeGreaterThanOrEqual(3);
  });

  test('ends where nobody waits for it any more', async () => {
    const gone = AbortSignal.abort();
    await expect(countRecords(source, no, { pageToken: '' }, 'caller', gone)).rejects.toMatchObject({
      code: 'deadline_exceeded',
    });
  });

  test('sees no other tenant', async () => {
    const tenant = await tenantNo(writer, 'other');
    await appendRows(writer, [rowOf(tenant), rowOf(tenant)]);
    expect((await all(tenant, {}, 'kind')).count).toBe(2);
  });
});
