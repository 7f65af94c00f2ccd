import { createContextKey, type HandlerContext } from '@connectrpc/connect';
import type { Elsewhere } from '../../decision/elsewhere.ts';
import { systemClock } from '../../effects.ts';
import type { Caller, Callers, Presented } from '../../tenancy/callers.ts';
import type { Operation } from '../../tenancy/manifest.ts';
import type { Tenant, Tenants } from '../../tenancy/tenants.ts';
import type { PassingOn } from '../passing-on.ts';
import { type Peer, presentedBy } from '../peer.ts';

/** The connection a call came over; set by the server for each request. */
export const peerKey = createContextKey<Peer>({ loopback: false, certified: undefined });

export const presentedIn = (context: HandlerContext): Presented =>
  presentedBy(context.requestHeader.get('authorization') ?? undefined, context.values.get(peerKey));

export const credentialIn = ({ requestHeader }: HandlerContext): string | undefined =>
  requestHeader.get('authorization') ?? undefined;

/** When nobody waits any more, in milliseconds since the epoch. */
export const untilOf = ({ timeoutMs }: HandlerContext): number =>
  systemClock() + (timeoutMs() ?? Number.POSITIVE_INFINITY);

/** Who decides for the caller what a sidecar cannot; undefined where there is nothing of that kind. */
export const elsewhereFor = (
  { passingOn }: { readonly passingOn?: PassingOn | undefined },
  context: HandlerContext,
): Elsewhere | undefined => passingOn?.elsewhere(credentialIn(context), untilOf(context));

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
