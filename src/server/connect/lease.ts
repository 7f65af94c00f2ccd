import type { ServiceImpl } from '@connectrpc/connect';
import { LEASE_MS, type Leases } from '../../decision/metering/leasing/leases.ts';
import { ServiceError } from '../../errors.ts';
import type { LeaseService } from '../../gen/mandate/v1/lease_pb.ts';
import { nodePattern } from '../../ids.ts';
import type { Callers } from '../../tenancy/callers.ts';
import type { Tenants } from '../../tenancy/tenants.ts';
import { admit } from './context.ts';

/** LeaseService: whoever may follow a tenant may count a part of what it counts. */
export function leaseService(parts: {
  readonly leases: Leases;
  readonly callers: Callers;
  readonly tenants: Tenants;
  /** Of a sidecar, which has nothing to lease. */
  readonly passingOn: unknown;
}): ServiceImpl<typeof LeaseService> {
  return {
    async lease({ tenant: id, wanted, returned, node }, context) {
      if (parts.passingOn) throw new ServiceError('unimplemented', 'this is a sidecar: ask its authority');
      const { tenant, caller } = await admit(parts, context, id, 'sync.follow');
      if (node !== '' && !nodePattern.test(node))
        throw new ServiceError('invalid_request', 'node: 1 to 63 of a-z, 0-9 and -, or nothing');
      const leases = await parts.leases.lease(
        tenant,
        { holder: caller.id, node },
        {
          wanted: wanted.map(({ meter, of, least }) => ({ meter, of, least: Number(least) })),
          returned: returned.map(({ id: lease, unused }) => ({ lease, unused: Number(unused) })),
        },
      );
      return {
        leases: leases.map((lease) =>
          lease ? { id: lease.id, amount: BigInt(lease.amount), limit: BigInt(lease.limit) } : {},
        ),
        milliseconds: LEASE_MS,
      };
    },
  };
}
