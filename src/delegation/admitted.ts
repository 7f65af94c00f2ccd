import type { Admission } from '../decision/admission.ts';
import type { Tenant } from '../tenancy/tenants.ts';

/** Does what takes a place among what is under way, as a decision does. Throws `resource_exhausted` where there is none. */
export async function admitted<T>(
  admission: Pick<Admission, 'enter' | 'leave'>,
  tenant: Tenant,
  work: () => Promise<T>,
): Promise<T> {
  const place = admission.enter(tenant, 1);
  try {
    return await work();
  } finally {
    admission.leave(place, 1);
  }
}
