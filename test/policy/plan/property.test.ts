import { expect, test } from 'vitest';
import type { Condition } from '../../../src/policy/plan/condition.ts';
import { holds } from '../../../src/policy/plan/evaluate.ts';
import { fitsPostgres, fitsSqlite, postgresStore, type Store, sqliteStore } from './databases.ts';
import type { Resource } from './grammar.ts';
import { eachPlan, meanings, PATIENCE_MS, type Planned, RUNS, wrong } from './planned.ts';

/** A plan is what Check says, of resources among which attributes are missing, null and of other types. */

test(
  'a condition holds of a resource if and only if the engine allows it',
  async () => {
    const decided = { allowed: 0, denied: 0 };
    const { planned, refused } = await eachPlan((each, all) => {
      for (const resource of all) {
        const allowed = each.subject.allows(resource);
        decided[allowed ? 'allowed' : 'denied'] += 1;
        const held = holds(each.subject.plan.condition, { resource });
        if (held ? !allowed : allowed && each.isCertain) throw wrong(each, resource, allowed);
      }
    });
    expect(planned).toBeGreaterThan(0);
    // Of a few it is chance.
    if (RUNS < 100) return;
    expect(planned).toBeGreaterThan(refused);
    expect(decided.allowed).toBeGreaterThan(RUNS);
    expect(decided.denied).toBeGreaterThan(RUNS);
  },
  PATIENCE_MS,
);

async function selects(
  store: Store,
  each: Planned,
  all: readonly Resource[],
  asked: (resource: Resource) => readonly Resource[],
): Promise<void> {
  const condition: Condition = each.subject.plan.condition;
  await store.fill(all);
  const selected = await store.select(condition);
  for (const [at, row] of all.entries()) {
    const answers = asked(row).map(each.subject.allows);
    const isIn = selected.has(at);
    if (isIn ? answers.includes(false) : answers.length === 1 && answers[0] && each.isCertain)
      throw wrong(each, row, !isIn);
  }
}

test.each(['absent', 'null', 'either', 'never'] as const)(
  'SQLite selects what is allowed, where a NULL is %s',
  async (meaning) => {
    const store = sqliteStore(meaning);
    const { planned } = await eachPlan((each, all) =>
      selects(store, each, all.filter(fitsSqlite), meanings[meaning]),
    );
    expect(planned).toBeGreaterThan(0);
  },
  PATIENCE_MS,
);

test.each(['absent', 'null', 'either', 'never'] as const)(
  'PostgreSQL selects what is allowed, where a NULL is %s',
  async (meaning) => {
    await using store = await postgresStore(meaning);
    const { planned } = await eachPlan((each, all) =>
      selects(store, each, all.filter(fitsPostgres), meanings[meaning]),
    );
    expect(planned).toBeGreaterThan(0);
  },
  PATIENCE_MS,
);
