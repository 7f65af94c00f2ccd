import { create } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import type { HandlerContext, ServiceImpl } from '@connectrpc/connect';
import type { Proof } from '../../decision/request.ts';
import { useIn } from '../../delegation/asked.ts';
import type { Capping } from '../../delegation/capping.ts';
import type { Delegations } from '../../delegation/delegations.ts';
import { ID_JAG_TYPE } from '../../delegation/exchange.ts';
import type { Introspection } from '../../delegation/introspection.ts';
import { type Cut, cutMembers } from '../../delegation/limits.ts';
import type { Revocation } from '../../delegation/revocation.ts';
import { TASK_TYPE } from '../../delegation/tasks.ts';
import { tokenTypeOf } from '../../delegation/tokens.ts';
import { ServiceError } from '../../errors.ts';
import {
  CapTaskResponseSchema,
  type DelegationService,
  ExchangeResponseSchema,
  IntrospectResponseSchema,
  RevokeResponseSchema,
} from '../../gen/mandate/v1/delegation_pb.ts';
import { signInOf } from '../../storage/rows.ts';
import type { Callers } from '../../tenancy/callers.ts';
import type { Tenants } from '../../tenancy/tenants.ts';
import { admit, peerKey } from './context.ts';
import { exchangeAsked } from './exchange.ts';
import { capMessage, proto } from './messages.ts';

export function delegationService(parts: {
  tenants: Tenants;
  callers: Callers;
  delegations: Delegations;
  introspection: Introspection;
  revocation: Revocation;
  capping: Capping;
  base: () => string;
}): ServiceImpl<typeof DelegationService> {
  const { delegations, introspection, revocation, capping } = parts;
  return {
    async exchange(message, context) {
      const { tenant, caller } = await admit(parts, context, message.tenant, 'exchange');
      const proof = proofIn(context, parts.base());
      const certificate = context.values.get(peerKey).x5tS256;
      const asked = exchangeAsked(message, { proof, certificate });
      const exchanged = await delegations.exchange(tenant, caller, asked);
      const { grant, token, cut } = exchanged;
      return create(ExchangeResponseSchema, {
        accessToken: token,
        issuedTokenType: asked.issuedTokenType,
        tokenType: NO_TOKENS.has(asked.issuedTokenType) ? 'N_A' : tokenTypeOf(grant),
        expiresInSeconds: Math.floor((grant.expiresAt - grant.issuedAt) / 1000),
        scopes: [...grant.scopes],
        use: grant.use,
        authorizationDetails: grant.details.map(proto),
        grantId: grant.id,
        ...(grant.task && {
          taskId: grant.task.id,
          taskExpiresInSeconds: Math.floor((grant.task.endsAt - grant.issuedAt) / 1000),
        }),
        decisionId: exchanged.decisionId,
        recordIndex: BigInt(exchanged.recordIndex),
        ...(cutMembers(cut) ? { cut: cutMessage(cut) } : {}),
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
        use: grant.use,
        authorizationDetails: grant.details.map(proto),
        audience: grant.audience,
        moreAudiences: [...grant.moreAudiences],
        ...(grant.mayAct ? { mayAct: grant.mayAct } : {}),
        authentication: proto(signInOf(grant.authentication)),
        jkt: grant.jkt ?? '',
        x5tS256: grant.x5tS256 ?? '',
        grantId: grant.id,
        issuedAt: timestampFromMs(grant.issuedAt),
        expiresAt: timestampFromMs(grant.expiresAt),
        ...(grant.task && { taskId: grant.task.id }),
        ...(grant.task?.cap && { taskCap: capMessage(grant.task.cap) }),
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
    async capTask(message, context) {
      const { tenant, caller } = await admit(parts, context, message.tenant, 'revoke');
      const { expiresAt, scopes, use, details, task } = await capping.cap(tenant, caller, {
        taskId: message.taskId,
        lifetimeSeconds: message.lifetimeSeconds,
        scopes: message.scopes,
        use: useIn(message.use || undefined),
        details: message.authorizationDetails,
        budget: message.budget,
        reason: message.reason,
      });
      return create(CapTaskResponseSchema, {
        endsAt: timestampFromMs(expiresAt),
        scopes: [...scopes],
        use,
        authorizationDetails: details.map(proto),
        budget: { ...task?.budget },
      });
    },
  };
}

/** RFC 8693 section 2.2.1: what gives no access by itself. */
const NO_TOKENS: ReadonlySet<string> = new Set([TASK_TYPE, ID_JAG_TYPE]);

/** The metadata entry `dpop`, for this method's own address. */
function proofIn({ requestHeader, method, service }: HandlerContext, base: string): Proof | undefined {
  const dpop = requestHeader.get('dpop') ?? undefined;
  return dpop === undefined
    ? undefined
    : { dpop, method: 'POST', uri: `${base}/${service.typeName}/${method.name}` };
}

const cutMessage = ({ scopes = [], lifetimeSeconds = 0, use, details = 0 }: Cut) => ({
  scopes: [...scopes],
  lifetimeSeconds,
  ...(use ? { use } : {}),
  authorizationDetails: details,
});
