import { ServiceError } from '../../errors.ts';
import type { PrincipalRef } from '../../ids.ts';
import type { Held } from '../../tenancy/held.ts';
import type { Tenant } from '../../tenancy/tenants.ts';
import type { ExchangeAsked } from '../asked.ts';
import { checkCertified } from './certificates.ts';
import type { DpopProofs } from './dpop.ts';

/**
 * What the client of an exchange is known to hold. A tenant may ask for a certificate, and for a key (RFC 9449 section 5).
 * Throws `certificate_invalid`, `dpop_invalid` or `dpop_nonce_required`.
 */
export async function heldBy(
  proofs: Pick<DpopProofs, 'verify'>,
  tenant: Tenant,
  actor: PrincipalRef,
  { proof, certificate }: ExchangeAsked,
): Promise<Held> {
  const { required, nonce } = tenant.manifest.dpop;
  checkCertified(tenant, actor, { x5tS256: certificate });
  if (proof) {
    const { dpop, method, uri } = proof;
    const asked = { proof: dpop, method, uri, nonce: nonce ? 'required' : 'ours' } as const;
    return { jkt: await proofs.verify(tenant.no, asked), x5tS256: certificate };
  }
  if (required.includes(actor.class))
    throw new ServiceError(
      'dpop_invalid',
      `tokens of class ${actor.class} are bound to a key here: send a DPoP proof`,
    );
  return { x5tS256: certificate };
}
