import { create } from '@bufbuild/protobuf';
import { ServiceError } from '../../../errors.ts';
import {
  type IdentityAssertions,
  IdentityAssertionsSchema,
  type Issuer,
  IssuerSchema,
} from '../../../gen/mandate/v1/tenant_pb.ts';
import { parseIssuer, type TrustedIssuer } from '../../../tenancy/manifest.ts';
import { ManifestInvalid } from '../../../tenancy/manifest-invalid.ts';

/** An issuer that is to be put. Throws `invalid_request`. */
export function trustedIn(message: Issuer | undefined): TrustedIssuer {
  if (!message) throw refused('issuer is missing');
  if (message.$unknown?.length) throw refused('the issuer has a member that is not known here');
  if (message.managedBy !== '' && message.managedBy !== 'api')
    throw refused('managed_by is api for what is put here');
  const said = {
    issuer: message.issuer,
    jwks_uri: message.jwksUri,
    algorithms: message.algorithms,
    audiences: message.audiences,
    subject_class: message.subjectClass,
    subject_claim: message.subjectClaim,
    subject_claim_trusted: message.subjectClaimTrusted,
    client_claim: message.clientClaim,
    groups_claim: message.groupsClaim,
    roles_claim: message.rolesClaim,
    access_token_types: message.accessTokenTypes,
    access_token_claims: message.accessTokenClaims,
    id_token_claims: message.idTokenClaims,
  };
  const assertions = assertionsIn(message.identityAssertions);
  try {
    return parseIssuer({
      ...Object.fromEntries(Object.entries(said).filter(([, value]) => !isEmpty(value))),
      ...(assertions && { identity_assertions: assertions }),
    });
  } catch (cause) {
    throw cause instanceof ManifestInvalid ? refused(cause.message) : cause;
  }
}

function assertionsIn(message: IdentityAssertions | undefined) {
  if (!message) return undefined;
  if (message.$unknown?.length) throw refused('identity_assertions has a member that is not known here');
  const { maxLifetimeSeconds: lifetime, maxSessionSeconds: session, tenant } = message;
  return {
    ...(lifetime && { max_lifetime_seconds: lifetime }),
    ...(session && { max_session_seconds: session }),
    ...(tenant && { tenant }),
  };
}

const isEmpty = (value: string | boolean | readonly string[]): boolean =>
  typeof value !== 'boolean' && value.length === 0;

export const issuerMessage = (issuer: TrustedIssuer, managedBy: 'manifest' | 'api'): Issuer =>
  create(IssuerSchema, {
    issuer: issuer.issuer,
    jwksUri: issuer.jwks_uri ?? '',
    algorithms: issuer.algorithms,
    audiences: issuer.audiences,
    subjectClass: issuer.subject_class,
    subjectClaim: issuer.subject_claim,
    subjectClaimTrusted: issuer.subject_claim_trusted,
    clientClaim: issuer.client_claim ?? '',
    groupsClaim: [...(issuer.groups_claim ?? [])],
    rolesClaim: [...(issuer.roles_claim ?? [])],
    accessTokenTypes: issuer.access_token_types,
    accessTokenClaims: issuer.access_token_claims,
    idTokenClaims: issuer.id_token_claims,
    managedBy,
    ...(issuer.identity_assertions && { identityAssertions: assertionsMessage(issuer.identity_assertions) }),
  });

const assertionsMessage = ({
  max_lifetime_seconds: maxLifetimeSeconds,
  max_session_seconds: maxSessionSeconds = 0,
  tenant = '',
}: NonNullable<TrustedIssuer['identity_assertions']>) =>
  create(IdentityAssertionsSchema, { maxLifetimeSeconds, maxSessionSeconds, tenant });

const refused = (message: string): ServiceError => new ServiceError('invalid_request', message);
