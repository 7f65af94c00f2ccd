import { create } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import type { ServiceImpl } from '@connectrpc/connect';
import type { Keys } from '../../delegation/keys/keys.ts';
import { keptUntil, signsFrom } from '../../delegation/keys/lifecycle.ts';
import type { VerifyingKey } from '../../delegation/keys/signing-key.ts';
import type { TenantSealing } from '../../delegation/keys/tenant-sealing.ts';
import { ServiceError } from '../../errors.ts';
import { type Key, KeySchema, type KeyService, KeyState } from '../../gen/mandate/v1/key_pb.ts';
import type { Caller, Callers } from '../../tenancy/callers.ts';
import type { Tenant, Tenants } from '../../tenancy/tenants.ts';
import { admit, presentedIn } from './context.ts';

const MAX_REASON = 1_024;

export function keyService(parts: {
  tenants: Tenants;
  callers: Callers;
  keys: Keys;
  tenantKeys: Pick<TenantSealing, 'rotateMaster'>;
}): ServiceImpl<typeof KeyService> {
  const { tenants, callers, keys, tenantKeys } = parts;
  const listed = async (tenant: Tenant) => ({ keys: (await keys.list(tenant)).map(keyMessage) });
  return {
    async listKeys(message, context) {
      const { tenant } = await admit(parts, context, message.tenant, 'key.read');
      return listed(tenant);
    },
    async rotateKey({ compromised, reason, ...message }, context) {
      const { tenant, caller } = await admit(parts, context, message.tenant, 'key.write');
      if (reason.length > MAX_REASON)
        throw new ServiceError('invalid_request', `reason: at most ${MAX_REASON} characters`);
      if (compromised) await keys.replace(tenant, caller.id, reason);
      else await keys.rotate(tenant, caller.id, reason);
      return listed(tenant);
    },
    async rotateMasterKey(_message, context) {
      let caller: Caller | undefined;
      for (const tenant of tenants)
        caller = await callers.authenticate(tenant, presentedIn(context), 'key.write');
      if (!caller) throw new ServiceError('tenant_unknown', 'there is no tenant whose key could be sealed');
      return tenantKeys.rotateMaster(caller.id);
    },
  };
}

const states = {
  next: KeyState.NEXT,
  active: KeyState.ACTIVE,
  retiring: KeyState.RETIRING,
  gone: KeyState.UNSPECIFIED,
} as const satisfies Record<VerifyingKey['state'], KeyState>;

const keyMessage = (key: VerifyingKey): Key =>
  create(KeySchema, {
    kid: key.kid,
    algorithm: key.alg,
    state: states[key.state],
    createdAt: timestampFromMs(key.createdAt),
    ...(key.state === 'next' && { signsFrom: timestampFromMs(signsFrom(key)) }),
    ...(key.state === 'retiring' && { keptUntil: timestampFromMs(keptUntil(key)) }),
  });
