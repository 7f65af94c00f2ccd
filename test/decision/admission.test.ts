import { expect, test } from 'vitest';
import { Admission } from '../../src/decision/admission.ts';
import type { Tenant } from '../../src/tenancy/tenants.ts';

const limited = { id: 'limited', manifest: { limits: { decisions_per_second: 2 } } } as Tenant;

test('a clock that is set back by an hour does not lock a tenant out for an hour', () => {
  let now = 10_000_000;
  const admission = new Admission(() => now, 100);
  const enter = () => admission.leave(admission.enter(limited, 1), 1);
  enter();
  enter();
  expect(enter).toThrow("the tenant's rate limit is reached");
  now -= 3_600_000;
  expect(enter).toThrow("the tenant's rate limit is reached");
  now += 1_000;
  expect(enter).not.toThrow();
});
