import { ServiceError } from '../../errors.ts';
import type { PrincipalRef } from '../../ids.ts';
import type { GrantRow } from '../../storage/rows.ts';
import { areEqual, type Held } from '../../tenancy/held.ts';
import type { Tenant } from '../../tenancy/tenants.ts';

/** Tokens that are bound to the certificate of a connection (RFC 8705 section 3). */

/** What a grant's token is bound to. */
export type Binding = Pick<GrantRow, 'jkt' | 'x5tS256'>;

/**
 * What a token for the actor is bound to, by what it asks with: always to the key of a proof; to the certificate where
 * the tenant has it so for its class, and where the token that it hands in is bound to it. `isCertificateBound`: that one.
 */
export function bindingFor(
  { manifest: { mtls } }: Tenant,
  { class: cls }: PrincipalRef,
  { jkt, x5tS256 }: Held,
  isCertificateBound: boolean,
): Binding {
  const isBound = isCertificateBound || mtls.bound.includes(cls) || mtls.required.includes(cls);
  return { jkt: jkt ?? null, x5tS256: (isBound ? x5tS256 : undefined) ?? null };
}

/** Throws `certificate_invalid` where the tenant gives the actor's class no other tokens. */
export function checkCertified({ manifest: { mtls } }: Tenant, actor: PrincipalRef, held: Held): void {
  if (held.x5tS256 === undefined && mtls.required.includes(actor.class))
    throw new ServiceError(
      'certificate_invalid',
      `tokens of class ${actor.class} are bound to a certificate here: connect with one`,
    );
}

/** `certificate_invalid` where the token of the grant is bound to a certificate, and that is not held. */
export function uncertified({ x5tS256: bound }: Binding, { x5tS256: held }: Held): ServiceError | undefined {
  if (bound === null || areEqual(held, bound)) return undefined;
  const what = held === undefined ? 'it comes with none' : 'it comes with another';
  return new ServiceError('certificate_invalid', `the token is bound to a certificate: ${what}`);
}
