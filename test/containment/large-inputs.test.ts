import { afterAll, beforeAll, expect, test } from 'vitest';
import { check, connect } from '../e2e/requests.ts';
import { type Served, serve } from './tenants.ts';

/** A policy that is at its ease with the tags that its authors know of: what it takes is the square of them. */
const REGO = `package authz

default allow := false

allow if {
	some a, b in input.context.tags
	some c, d in input.context.tags
	a != c
	b == d
}
`;

let served: Served;
beforeAll(async () => {
  served = await serve([{ id: 'square', rego: REGO }]);
});
afterAll(() => served[Symbol.asyncDispose]());

const ask = (tags: readonly string[]) =>
  check(served.data, {
    tenant: 'square',
    subject: { type: 'user', id: 'u' },
    action: { name: 'read' },
    resource: { type: 'document', id: 'd' },
    context: { tags },
  });

test('a caller whose questions are too large to be decided hurts nobody else', async () => {
  const tags = Array.from({ length: 800 }, (_, index) => `tag-${index}`);
  for (let round = 0; round < 6; round += 1) {
    const { status, body } = await ask(tags);
    expect([status, body.reasons?.map(({ code }) => code)]).toEqual([200, ['deadline_exceeded']]);
  }
  const { status, body } = await ask(['a', 'a']);
  expect([status, body.decision]).toEqual([200, 'DECISION_ALLOW']);
  const { body: listed } = await connect<{ tenants: { id: string; degraded?: string }[] }>(
    served.admin,
    'TenantService/ListTenants',
    {},
  );
  expect(listed.tenants.find(({ id }) => id === 'square')?.degraded).toBeUndefined();
});
