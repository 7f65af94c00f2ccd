import { create } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import type { ServiceImpl } from '@connectrpc/connect';
import type { Delegations } from '../../delegation/delegations.ts';
import { ACCESS_TOKEN_TYPE, type TokenType, tokenTypes } from '../../delegation/exchange.ts';
import type { Introspection } from '../../delegation/introspection.ts';
import type { Revocation } from '../../delegation/revocation.ts';
import { ServiceError } from '../../errors.ts';
import {
  type DelegationService,
  ExchangeResponseSchema,
  IntrospectResponseSchema,
  RevokeResponseSchema,
} from '../../gen/mandate/v1/delegation_pb.ts';
import type { Callers } from '../../tenancy/callers.ts';
import type { Tenants } from '../../tenancy/tenants.ts';
import { admit } from './context.ts';

export function delegationService(parts: {
  tenants: Tenants;
  callers: Callers;
  delegations: Delegations;
  introspection: Introspection;
  revocation: Revocation;
}): ServiceImpl<typeof DelegationService> {
  const { delegations, introspection, revocation } = parts;
  return {
    async exchange(message, context) {
      const { tenant, caller } = await admit(parts, context, message.tenant, 'exchange');
      const type = message.subjectTokenType || ACCESS_TOKEN_TYPE;
      if (!Object.hasOwn(tokenTypes, type))
        throw new ServiceError(
          'unsupported_token_type',
          `subject_token_type is one of ${Object.keys(tokenTypes).join(', ')}`,
        );
      const exchanged = await delegations.exchange(tenant, caller, {
        subjectToken: message.subjectToken,
        subjectTokenType: type as TokenType,
        audience: message.audience,
        scopes: message.scopes,
        lifetimeSeconds: message.lifetimeSeconds,
      });
      const { grant, token } = exchanged;
      return create(ExchangeResponseSchema, {
        accessToken: token,
        issuedTokenType: ACCESS_TOKEN_TYPE,
        tokenType: 'Bearer',
        expiresInSeconds: Math.floor((grant.expiresAt - grant.issuedAt) / 1000),
        scopes: [...grant.scopes],
        grantId: grant.id,
        decisionId: exchanged.decisionId,
        recordIndex: BigInt(exchanged.recordIndex),
      });
    },
    async introspect(message, context) {
      const { tenant, caller } = await admit(parts, context, message.tenant, 'introspect');
      const grant = await introspection.introspect(tenant, caller, message.token);
      if (!grant) return create(IntrospectResponseSchema, { active: false });
      return create(IntrospectResponseSchema, {
        active: true,
        subject: grant.subject,
        actors: [...grant.actors],
        scopes: [...grant.scopes],
        audience: grant.audience,
        grantId: grant.id,
        issuedAt: timestampFromMs(grant.issuedAt),
        expiresAt: timestampFromMs(grant.expiresAt),
      });
    },
    async revoke(message, context) {
      const { tenant, caller } = await admit(parts, context, message.tenant, 'revoke');
      const { target } = message;
      if (target.case === undefined)
        throw new ServiceError('invalid_request', 'token or grant_id is missing');
      const revoked = await revocation.revoke(
        tenant,
        caller,
        target.case === 'token' ? { token: target.value } : { grantId: target.value },
      );
      return create(RevokeResponseSchema, { revoked });
    },
  };
}
