import { create } from '@bufbuild/protobuf';
import type { ServiceImpl } from '@connectrpc/connect';
import { ServiceError } from '../../errors.ts';
import {
  type Principal,
  PrincipalSchema,
  PrincipalStatus,
  TenantSchema,
  type TenantService,
} from '../../gen/mandate/v1/tenant_pb.ts';
import { principalClass, principalKey } from '../../ids.ts';
import type { Policies } from '../../policy/policies.ts';
import type { RecordStore } from '../../storage/log/records.ts';
import type { PrincipalStore } from '../../storage/principals.ts';
import type { PrincipalRow } from '../../storage/rows.ts';
import type { Administration } from '../../tenancy/administration.ts';
import type { Callers } from '../../tenancy/callers.ts';
import type { Tenant, Tenants } from '../../tenancy/tenants.ts';
import { admit, presentedIn } from './context.ts';
import { proto } from './messages.ts';

const MAX_PRINCIPALS = 10_000;

export function tenantService(parts: {
  tenants: Tenants;
  callers: Callers;
  policies: Policies;
  administration: Administration;
  principals: PrincipalStore;
  records: RecordStore;
  issuerOf: (tenant: string) => string;
  degraded: (tenant: Tenant) => string;
}): ServiceImpl<typeof TenantService> {
  const { tenants, callers, policies, administration, principals, records, issuerOf, degraded } = parts;
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
          }),
        ),
      };
    },
    async getPrincipal(message, context) {
      const { tenant } = await admit(parts, context, message.tenant, 'tenant.read');
      const ref = { class: principalClass(message.class), id: message.id };
      const row = principals.find(tenant.no, ref);
      if (!row) throw new ServiceError('principal_unknown', 'no such principal in this tenant');
      return {
        principal: create(PrincipalSchema, {
          ...ref,
          groups: JSON.parse(row.groups) as string[],
          roles: JSON.parse(row.roles) as string[],
          scopes: JSON.parse(row.scopes) as string[],
          properties: proto(JSON.parse(row.properties) as Record<string, unknown>),
          status: row.disabledAt === null ? PrincipalStatus.ACTIVE : PrincipalStatus.DISABLED,
        }),
      };
    },
    async putPrincipals(message, context) {
      const { tenant, caller } = await admit(parts, context, message.tenant, 'tenant.write');
      const count = message.principals.length;
      if (count === 0 || count > MAX_PRINCIPALS)
        throw new ServiceError('invalid_request', `principals: 1 to ${MAX_PRINCIPALS} at a time`);
      const rows = message.principals.map(rowOf);
      if (new Set(rows.map(principalKey)).size < count)
        throw new ServiceError('invalid_request', 'a principal stands twice');
      return { written: await administration.putPrincipals(tenant, caller.id, rows) };
    },
    async setPrincipalStatus(message, context) {
      const { tenant, caller } = await admit(parts, context, message.tenant, 'tenant.write');
      const disabled = isDisabled(message.status);
      if (disabled === undefined) throw new ServiceError('invalid_request', 'status is missing');
      const ref = { class: principalClass(message.class), id: message.id };
      return { revoked: await administration.setStatus(tenant, caller.id, ref, disabled) };
    },
  };
}

/** Of groups, roles and scopes each, as in a manifest. */
const MOST_NAMES = 1_000;

function rowOf(message: Principal): PrincipalRow {
  if (message.$unknown?.length)
    throw new ServiceError('invalid_request', 'a principal has a member that is not known here');
  if (message.id === '' || message.id.length > 256)
    throw new ServiceError('invalid_request', 'a principal id is 1 to 256 characters');
  for (const [name, list] of Object.entries({
    groups: message.groups,
    roles: message.roles,
    scopes: message.scopes,
  }))
    if (list.length > MOST_NAMES || list.some((each) => each === '' || each.length > 256))
      throw new ServiceError(
        'invalid_request',
        `${name}: at most ${MOST_NAMES}, each of 1 to 256 characters`,
      );
  return {
    class: principalClass(message.class),
    id: message.id,
    groups: message.groups,
    roles: message.roles,
    scopes: message.scopes,
    properties: message.properties ?? {},
    disabled: isDisabled(message.status),
  };
}

/** Undefined where nothing is said. A status that is not known here is not for one that is active. */
function isDisabled(status: PrincipalStatus): boolean | undefined {
  if (status === PrincipalStatus.UNSPECIFIED) return undefined;
  if (status === PrincipalStatus.ACTIVE) return false;
  if (status === PrincipalStatus.DISABLED) return true;
  throw new ServiceError('invalid_request', 'status is not one of PrincipalStatus');
}
