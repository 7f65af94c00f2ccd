import { ID_JAG_TYPE } from '../../../delegation/exchange.ts';
import { DPOP_ALGORITHMS } from '../../../delegation/sender/dpop.ts';
import { ServiceError } from '../../../errors.ts';
import { type PrincipalClass, principalKey } from '../../../ids.ts';
import { keyAlgorithms } from '../../../tenancy/keys-declared.ts';
import { ASSERTION_ALGORITHMS } from '../../../tenancy/registry/assertions.ts';
import type { Tenant, Tenants } from '../../../tenancy/tenants.ts';
import type { Route } from '../router.ts';
import { grantTypes } from './exchange.ts';

/** What a tenant's endpoints, and the servers it has registered, say of themselves. Read by strangers. */
export function metadataRoutes({
  tenants,
  issuerOf,
  takesCertificates,
}: {
  readonly tenants: Tenants;
  readonly issuerOf: (tenant: string) => string;
  /** Clients may come with certificates. */
  readonly takesCertificates: boolean;
}): Route[] {
  return [
    {
      method: 'GET',
      path: '/.well-known/oauth-authorization-server/t/{tenant}',
      handle: async (_request, { tenant: id = '' }) => {
        const tenant = tenants.get(id);
        return { status: 200, body: serverMetadata(issuerOf(tenant.id), tenant, takesCertificates) };
      },
    },
    {
      // RFC 6749 section 4.1.2.1: there is nobody to be sent back, and no type of answer to be had.
      method: 'GET',
      path: '/t/{tenant}/oauth2/authorize',
      handle: async (_request, { tenant: id = '' }) => {
        tenants.get(id);
        return { status: 400, headers: { 'cache-control': 'no-store' }, body: NOBODY_SIGNS_IN };
      },
    },
    {
      method: 'GET',
      path: '/t/{tenant}/.well-known/oauth-protected-resource',
      handle: async ({ url }, { tenant: id = '' }) => {
        const [resource, ...others] = url.searchParams.getAll('resource');
        const tenant = tenants.find(id);
        // No tenant and no such server are told apart by nobody.
        if (resource === undefined || others.length > 0 || !tenant || !isServer(tenant, resource))
          throw new ServiceError('not_found', 'no such resource');
        return { status: 200, body: resourceMetadata(issuerOf(tenant.id), tenant, resource) };
      },
    },
  ];
}

const NOBODY_SIGNS_IN = {
  error: 'unsupported_response_type',
  error_description: 'users sign in at their identity provider: clients come with its tokens or assertions',
  code: 'unimplemented',
};

const AUTH_METHODS = ['client_secret_basic', 'client_secret_post', 'private_key_jwt'];

/** RFC 8705 section 2.1.1. */
const authMethods = (takesCertificates: boolean): string[] =>
  takesCertificates ? [...AUTH_METHODS, 'tls_client_auth'] : AUTH_METHODS;

/** RFC 8414. */
const serverMetadata = (issuer: string, tenant: Tenant, takesCertificates: boolean) => ({
  issuer,
  // RFC 8414 section 2 asks for it only of who has response types; the MCP SDK's client reads no metadata without it.
  authorization_endpoint: `${issuer}/oauth2/authorize`,
  token_endpoint: `${issuer}/oauth2/token`,
  introspection_endpoint: `${issuer}/oauth2/introspect`,
  revocation_endpoint: `${issuer}/oauth2/revoke`,
  jwks_uri: `${issuer}/oauth2/jwks`,
  grant_types_supported: grantTypes,
  // draft-ietf-oauth-identity-assertion-authz-grant section 7: that it is done, and not by whom or for whom.
  identity_chaining_requested_token_types_supported: [ID_JAG_TYPE],
  authorization_grant_profiles_supported: ['urn:ietf:params:oauth:grant-profile:id-jag'],
  response_types_supported: [],
  token_endpoint_auth_methods_supported: authMethods(takesCertificates),
  introspection_endpoint_auth_methods_supported: authMethods(takesCertificates),
  // RFC 9701 section 7.
  introspection_signing_alg_values_supported: keyAlgorithms,
  revocation_endpoint_auth_methods_supported: authMethods(takesCertificates),
  token_endpoint_auth_signing_alg_values_supported: ASSERTION_ALGORITHMS,
  introspection_endpoint_auth_signing_alg_values_supported: ASSERTION_ALGORITHMS,
  revocation_endpoint_auth_signing_alg_values_supported: ASSERTION_ALGORITHMS,
  // RFC 9449 section 5.1.
  dpop_signing_alg_values_supported: DPOP_ALGORITHMS,
  // RFC 8705 section 3.3.
  tls_client_certificate_bound_access_tokens: takesCertificates,
  ...detailTypesOf(tenant),
  scopes_supported: scopesOf(tenant),
});

/** RFC 9728 section 2. `resource` is word for word what was registered: a client compares it with what it asked for. */
const resourceMetadata = (issuer: string, tenant: Tenant, resource: string) => ({
  resource,
  authorization_servers: [issuer],
  scopes_supported: scopesOf(tenant),
  bearer_methods_supported: ['header'],
  ...detailTypesOf(tenant),
  dpop_signing_alg_values_supported: DPOP_ALGORITHMS,
  // Where the tenant gives such.
  ...(givesBound(tenant) && { tls_client_certificate_bound_access_tokens: true }),
  dpop_bound_access_tokens_required: HOLDERS.every((each) => tenant.manifest.dpop.required.includes(each)),
});

const givesBound = ({ manifest: { mtls } }: Tenant): boolean => mtls.bound.length + mtls.required.length > 0;

/** Who may be given a token for a server. */
const HOLDERS: readonly PrincipalClass[] = ['agent', 'mcp_server', 'service', 'job'];

/** An address of a server's own, and no name of it. */
function isServer({ audiences, declared }: Tenant, resource: string): boolean {
  const owner = audiences.get(resource);
  return owner !== undefined && declared.get(principalKey(owner))?.resources.includes(resource) === true;
}

/** RFC 9396 section 10. */
function detailTypesOf({ manifest }: Tenant) {
  const types = Object.keys(manifest.authorization_details);
  return types.length === 0 ? {} : { authorization_details_types_supported: types.sort() };
}

const scopesOf = ({ manifest }: Tenant): string[] =>
  [...new Set(Object.values(manifest.roles).flatMap(({ scopes }) => scopes))].sort();
