import { createContextKey, type HandlerContext } from '@connectrpc/connect';
import type { Caller, Callers, Presented } from '../../tenancy/callers.ts';
import type { Operation } from '../../tenancy/manifest.ts';
import type { Tenant, Tenants } from '../../tenancy/tenants.ts';
import { type Peer, presentedBy } from '../peer.ts';

/** The connection a call came over; set by the server for each request. */
export const peerKey = createContextKey<Peer>({ loopback: false, certified: undefined });

export const presentedIn = (context: HandlerContext): Presented =>
  presentedBy(context.requestHeader.get('authorization') ?? undefined, context.values.get(peerKey));

/** The tenant that a call names and the caller it comes from. Throws `tenant_unknown`, `unauthenticated`, `permission_denied`. */
export async function admit(
  { tenants, callers }: { tenants: Tenants; callers: Callers },
  context: HandlerContext,
  tenantId: string,
  operation: Operation,
): Promise<{ tenant: Tenant; caller: Caller }> {
  const caller = await callers.authenticate(tenants.get(tenantId), presentedIn(context), operation);
  // It may have changed while the caller was looked at.
  return { tenant: tenants.get(tenantId), caller };
}
