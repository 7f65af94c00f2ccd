import { create } from '@bufbuild/protobuf';
import type { ServiceImpl } from '@connectrpc/connect';
import type { Recounts } from '../../../decision/metering/recounts.ts';
import { ServiceError } from '../../../errors.ts';
import { type Principal, TenantSchema, type TenantService } from '../../../gen/mandate/v1/tenant_pb.ts';
import { type PrincipalRef, principalClass, principalKey } from '../../../ids.ts';
import type { TenantPuts } from '../../../policy/intake/put.ts';
import type { Policies } from '../../../policy/policies.ts';
import type { RecordStore } from '../../../storage/log/records.ts';
import type { PrincipalStore, StoredPrincipal } from '../../../storage/principals/store.ts';
import type { Administration } from '../../../tenancy/administration.ts';
import { type Caller, type Callers, operationsOf } from '../../../tenancy/callers.ts';
import type { Issuers, IssuerToken } from '../../../tenancy/issuers.ts';
import type { Kills } from '../../../tenancy/kills.ts';
import type { ManifestPrincipal } from '../../../tenancy/manifest.ts';
import type { Credentials } from '../../../tenancy/registry/changes.ts';
import type { Tenant, Tenants } from '../../../tenancy/tenants.ts';
import { admit, presentedIn } from '../context.ts';
import { issuerMessage, trustedIn } from './issuers.ts';
import { listed } from './listing.ts';
import { draftOf, isDisabled, principalMessage, timeOf } from './principals.ts';
import { usageMessage } from './usage.ts';

const MAX_PRINCIPALS = 10_000;
const MAX_REASON = 1_024;

export function tenantService(parts: {
  tenants: Tenants;
  callers: Callers;
  puts: TenantPuts;
  policies: Policies;
  administration: Administration;
  credentials: Credentials;
  issuers: Issuers;
  principals: PrincipalStore;
  recounts: Recounts;
  credentialKilledAt: Kills['credentialKilledAt'];
  records: RecordStore;
  issuerOf: (tenant: string) => string;
  degraded: (tenant: Tenant) => string;
  state: (tenant: Tenant) => { readonly state: string; readonly why: string };
}): ServiceImpl<typeof TenantService> {
  const {
    tenants,
    callers,
    puts,
    policies,
    administration,
    credentials,
    issuers,
    principals,
    recounts,
    credentialKilledAt,
    records,
    issuerOf,
    degraded,
    state,
  } = parts;
  const shown = (tenant: Tenant, ref: PrincipalRef, row: StoredPrincipal): Principal =>
    principalMessage(ref, row, {
      usedAt: (id) => credentials.usedAt(tenant, ref, id),
      killedAt: (each) => credentialKilledAt(tenant, each),
    });
  return {
    async listTenants(_message, context) {
      const visible = await callers.visible(tenants, presentedIn(context), 'tenant.read');
      return {
        tenants: visible.map((tenant) =>
          create(TenantSchema, {
            id: tenant.id,
            displayName: tenant.manifest.display_name ?? '',
            issuer: issuerOf(tenant.id),
            policyRevision: policies.of(tenant).revision,
            principals: BigInt(principals.count(tenant.no)),
            records: BigInt(records.size(tenant.no)),
            degraded: degraded(tenant),
            ...state(tenant),
          }),
        ),
      };
    },
    async putTenant({ tenant: id, files }, context) {
      const caller = callers.putter(id, presentedIn(context));
      const sources = files.map(({ path, content }) => ({ path, bytes: content }));
      const { tenant, isNew } = await puts.put(caller, id, sources);
      return { created: isNew, revision: policies.of(tenant).revision };
    },
    async retireTenant({ tenant: id, reason }, context) {
      const caller = callers.putter(id, presentedIn(context));
      if (reason.length > MAX_REASON)
        throw new ServiceError('invalid_request', `reason: at most ${MAX_REASON} characters`);
      await puts.retire(caller, id, reason);
      return {};
    },
    async getPrincipal(message, context) {
      const { tenant } = await admit(parts, context, message.tenant, 'tenant.read');
      const ref = { class: principalClass(message.class), id: message.id };
      const row = principals.find(tenant.no, ref);
      if (!row) throw new ServiceError('principal_unknown', 'no such principal in this tenant');
      return { principal: shown(tenant, ref, row) };
    },
    async listPrincipals(message, context) {
      const { tenant } = await admit(parts, context, message.tenant, 'tenant.read');
      const { found, next } = listed(principals, tenant.no, {
        class: message.class === '' ? undefined : principalClass(message.class),
        owner: message.owner,
        limit: message.limit,
        pageToken: message.pageToken,
      });
      return { principals: found.map((row) => shown(tenant, row, row)), nextPageToken: next };
    },
    async putPrincipals(message, context) {
      const { tenant, caller } = await admit(parts, context, message.tenant, 'tenant.write');
      const count = message.principals.length;
      if (count === 0 || count > MAX_PRINCIPALS)
        throw new ServiceError('invalid_request', `principals: 1 to ${MAX_PRINCIPALS} at a time`);
      const drafts = message.principals.map(draftOf);
      for (const draft of drafts) checkMay(caller, draft);
      if (new Set(drafts.map(principalKey)).size < count)
        throw new ServiceError('invalid_request', 'a principal stands twice');
      const suspended = await administration.principals.put(tenant, caller.id, drafts);
      return { written: count, suspended: suspended.map(principalKey) };
    },
    async setPrincipalStatus(message, context) {
      const { tenant, caller } = await admit(parts, context, message.tenant, 'tenant.write');
      const disabled = isDisabled(message.status);
      if (disabled === undefined) throw new ServiceError('invalid_request', 'status is missing');
      const ref = { class: principalClass(message.class), id: message.id };
      return { revoked: await administration.principals.setStatus(tenant, caller.id, ref, disabled) };
    },
    async rotateCredential(message, context) {
      const { tenant, caller } = await admit(parts, context, message.tenant, 'tenant.write');
      const ref = { class: principalClass(message.class), id: message.id };
      if (message.overlapSeconds > MAX_OVERLAP_SECONDS)
        throw new ServiceError('invalid_request', `overlap_seconds: at most ${MAX_OVERLAP_SECONDS}`);
      const declared = tenant.declared.get(principalKey(ref));
      if (declared) checkMay(caller, declared);
      const { secret, credentialId } = await credentials.rotate(tenant, caller.id, ref, {
        overlapMs: message.overlapSeconds * 1_000,
        expiresAt: message.expiresAt && timeOf(message.expiresAt),
      });
      return { secret, credentialId };
    },
    async removeCredential(message, context) {
      const { tenant, caller } = await admit(parts, context, message.tenant, 'tenant.write');
      const ref = { class: principalClass(message.class), id: message.id };
      return { revoked: await credentials.remove(tenant, caller.id, ref, message.credentialId) };
    },
    async retirePrincipal(message, context) {
      const { tenant, caller } = await admit(parts, context, message.tenant, 'tenant.write');
      const ref = { class: principalClass(message.class), id: message.id };
      return { revoked: await administration.principals.retire(tenant, caller.id, ref) };
    },
    async rebuildUsage({ tenant: id, meter, apply }, context) {
      const { tenant, caller } = await admit(parts, context, id, apply ? 'tenant.write' : 'tenant.read');
      const asked = { meter: meter || undefined, applies: apply };
      const recounted = await recounts.run(tenant, caller.id, asked, context.signal);
      return usageMessage(recounted);
    },
    async listIssuers(message, context) {
      const { tenant } = await admit(parts, context, message.tenant, 'tenant.read');
      return {
        issuers: [
          ...tenant.manifest.issuers.map((each) => issuerMessage(each, 'manifest')),
          ...administration.issuers.of(tenant).map((each) => issuerMessage(each, 'api')),
        ],
      };
    },
    async putIssuer(message, context) {
      const { tenant, caller } = await admit(parts, context, message.tenant, 'tenant.write');
      await administration.issuers.put(tenant, caller.id, trustedIn(message.issuer));
      return {};
    },
    async removeIssuer(message, context) {
      const { tenant, caller } = await admit(parts, context, message.tenant, 'tenant.write');
      await administration.issuers.remove(tenant, caller.id, message.issuer);
      return {};
    },
    async testIssuer(message, context) {
      const { tenant } = await admit(parts, context, message.tenant, 'tenant.write');
      const trusted = issuers.trusted(tenant, message.issuer);
      if (!trusted) throw new ServiceError('not_found', 'the tenant does not trust that issuer');
      const { jwksUri, keys, problem: keysProblem } = await issuers.examine(trusted);
      const token = message.token === '' ? undefined : await issuers.tried(tenant, trusted, message.token);
      return {
        jwksUri,
        keys: keys.map((each) => ({ ...each, algorithms: [...each.algorithms] })),
        keysProblem,
        ...(token && 'problem' in token && { tokenProblem: token.problem }),
        ...(token && 'subject' in token && foundIn(token)),
      };
    },
  };
}

const foundIn = ({
  subject,
  kind,
  authentication: { groups = [], roles = [] },
}: Pick<IssuerToken, 'subject' | 'kind' | 'authentication'>) => ({
  subject,
  tokenKind: kind,
  groups: [...groups],
  roles: [...roles],
});

const MAX_OVERLAP_SECONDS = 30 * 86_400;

/** Nobody gives, or takes the secret of, more than it has itself: to register is not to do all. */
function checkMay(
  caller: Caller,
  { class: cls, id, may = [] }: Pick<ManifestPrincipal, 'class' | 'id' | 'may'>,
): void {
  const beyond = may.find((each) => !operationsOf[cls].includes(each) && !caller.may.has(each));
  if (beyond !== undefined)
    throw new ServiceError(
      'permission_denied',
      `${caller.id} may not ${beyond} itself, and so not let ${cls}:${id} do it`,
    );
}
