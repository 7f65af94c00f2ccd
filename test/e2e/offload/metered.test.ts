import { expect, test } from 'vitest';
import { asks } from '../../containment/tenants.ts';
import { type Answer, ask, onThread, started } from './started.ts';

/** What is counted is counted in one place; the rest of the tenant's decisions are the threads' as before. */

test('decisions that meet a meter are main’s, and the others of the tenant a thread’s', async () => {
  await using fresh = await started();
  const decide = (action: string) => ask(fresh.pep, 'metered', { action: { name: action } });
  const batch = (...actions: string[]) =>
    fresh.pep.call<{ results: Answer[] }>('DecisionService', 'CheckBatch', {
      ...asks('metered'),
      context: undefined,
      action: { name: actions[0] },
      items: actions.map((name, at) => (at === 0 ? {} : { action: { name } })),
    });
  const allowed = (answers: readonly Answer[]): number =>
    answers.filter(({ decision }) => decision === 'DECISION_ALLOW').length;

  const reads = await onThread(fresh.served, () => Promise.all([decide('read'), batch('read', 'read')]));
  expect(reads.answered).toBe(2);
  const writes = await onThread(fresh.served, () =>
    Promise.all([
      batch('write', 'read'),
      ...Array.from({ length: 10 }, () => decide('write')),
      batch('read', 'write'),
    ]),
  );
  expect(writes.answered).toBe(0);
  const answers = writes.value.flatMap((each) => ('results' in each ? each.results : [each]));
  expect(allowed(answers)).toBe(5 + 2);
  expect(allowed([await decide('write')])).toBe(0);
});
