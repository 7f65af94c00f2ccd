import { expect, test } from 'vitest';
import { eventually } from '../server.ts';
import { allSay, ask, counted, principals, started } from './started.ts';

/** What takes long is main's to decide, so that nobody else on the thread waits for it. */

const POLICY = `package authz

default allow := false

allow if input.action.name == "read"

# A good part of a millisecond, and within the budget.
allow if {
	input.action.name == "dear"
	count([x | some x in numbers.range(1, 600); x > 0]) > 0
}
`;

test('a tenant whose decision was dear is handed over for a while, and no other tenant', async () => {
  await using fresh = await started(
    { fuel: 3_000_000 },
    ['one', 'two'].map((id) => ({ id, rego: POLICY, manifest: { principals } })),
    1,
  );
  const { served, peps } = fresh;
  const [pep] = peps;
  if (!pep) throw new Error('there is no connection');
  for (const tenant of ['one', 'two']) await allSay(fresh, tenant, 'DECISION_ALLOW');
  const dear = () => ask(pep, 'one', { action: { name: 'dear' } });
  const { value } = await eventually(
    () => counted(served, 1, dear),
    ({ decided }) => decided === 1,
  );
  expect(value.cost).toBeGreaterThan(200_000);
  expect(await counted(served, 1, () => ask(pep, 'one'))).toMatchObject({ decided: 0, handed: 1 });
  await allSay(fresh, 'two', 'DECISION_ALLOW');
  // What is cheap again is decided by the thread again.
  await allSay(fresh, 'one', 'DECISION_ALLOW');
});

test('what is large is handed over each time', async () => {
  await using fresh = await started({}, undefined, 1);
  const [pep] = fresh.peps;
  if (!pep) throw new Error('there is no connection');
  await allSay(fresh, 'two', 'DECISION_ALLOW');
  const resource = { type: 'thing', id: 'x'.repeat(900) };
  await allSay(fresh, 'two', 'DECISION_ALLOW', { resource });
  const padding = { fields: { padding: { stringValue: 'x'.repeat(5_000) } } };
  for (let time = 0; time < 3; time += 1)
    expect(await counted(fresh.served, 1, () => ask(pep, 'two', { context: padding }))).toMatchObject({
      decided: 0,
      handed: 1,
    });
});
