import { createClient } from '@connectrpc/connect';
import type { Lessor } from '../decision/metering/leasing/borrowing.ts';
import { ServiceError } from '../errors.ts';
import { LeaseService } from '../gen/mandate/v1/lease_pb.ts';
import { type AuthorityPlace, transportTo } from './authority.ts';

/** How long an authority may take: who waits for a part has an authority decide meanwhile. In milliseconds. */
const TIMEOUT_MS = 3_000;

/** Authorities that lease, asked in turn until one answers. `node`: what this server is called. */
export function lessorAt(places: readonly AuthorityPlace[], node: string): Lessor {
  const clients = places.map((place) => createClient(LeaseService, transportTo(place)));
  let at = 0;
  return {
    async lease(tenant, { wanted, returned }) {
      const client = clients[at % clients.length];
      if (!client) throw new ServiceError('unavailable', 'there is no authority');
      const request = {
        tenant,
        node,
        wanted: wanted.map(({ meter, of, least }) => ({ meter, of, least: BigInt(least) })),
        returned: returned.map(({ lease, unused }) => ({ id: lease, unused: BigInt(unused) })),
      };
      try {
        const { leases, milliseconds: ms } = await client.lease(request, { timeoutMs: TIMEOUT_MS });
        return {
          leases: leases.map(({ id, amount, limit }) =>
            id === '' ? undefined : { id, amount: Number(amount), limit: Number(limit) },
          ),
          ms,
        };
      } catch (error) {
        at += 1;
        throw error;
      }
    },
  };
}
