import { create } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import type { ServiceImpl } from '@connectrpc/connect';
import type { Grants, ShownGrant, GrantState as State } from '../../delegation/grants.ts';
import { type Grant, GrantSchema, type GrantService, GrantState } from '../../gen/mandate/v1/grant_pb.ts';
import type { PrincipalRef as PrincipalMessage } from '../../gen/mandate/v1/model_pb.ts';
import { type PrincipalRef, principalClass } from '../../ids.ts';
import { audiencesOf, isTaskNode } from '../../storage/rows.ts';
import type { Callers } from '../../tenancy/callers.ts';
import type { Tenants } from '../../tenancy/tenants.ts';
import { admit } from './context.ts';
import { capMessage, proto } from './messages.ts';

const DEFAULT_PAGE = 100;

export function grantService(parts: {
  tenants: Tenants;
  callers: Callers;
  grants: Grants;
}): ServiceImpl<typeof GrantService> {
  const { grants } = parts;
  return {
    async listGrants(message, context) {
      const { tenant, caller } = await admit(parts, context, message.tenant, 'grant.read');
      const page = grants.list(tenant, caller, {
        subject: refIn(message.subject),
        actor: refIn(message.actor),
        audience: message.audience || undefined,
        under: message.under || undefined,
        tasks: message.tasks,
        includesEnded: message.includeEnded,
        pageSize: message.pageSize || DEFAULT_PAGE,
        pageToken: message.pageToken,
      });
      return { grants: page.grants.map(grantMessage), nextPageToken: page.nextPageToken };
    },
    async getGrant(message, context) {
      const { tenant, caller } = await admit(parts, context, message.tenant, 'grant.read');
      const shown = grants.show(tenant, caller, message.id);
      return { grant: { ...grantMessage(shown), taskUsed: grants.used(tenant, shown.grant) } };
    },
    async listUsage(message, context) {
      const { tenant, caller } = await admit(parts, context, message.tenant, 'grant.read');
      const { usage, nextPageToken } = grants.usage(tenant, caller, {
        meter: message.meter || undefined,
        pageSize: message.pageSize || DEFAULT_PAGE,
        pageToken: message.pageToken,
      });
      return {
        usage: usage.map(({ meter, of, amount }) => ({ meter, countedFor: of, amount })),
        nextPageToken,
      };
    },
  };
}

/** Throws `principal_class_unknown`. */
export const refIn = (message: PrincipalMessage | undefined): PrincipalRef | undefined =>
  message && { class: principalClass(message.class), id: message.id };

const states = {
  living: GrantState.LIVING,
  expired: GrantState.EXPIRED,
  ended: GrantState.ENDED,
} as const satisfies Record<State, GrantState>;

const grantMessage = ({ grant, state }: ShownGrant): Grant =>
  create(GrantSchema, {
    id: grant.id,
    parentId: grant.parentId ?? '',
    depth: grant.depth,
    subject: grant.subject,
    actors: [...grant.actors],
    scopes: [...grant.scopes],
    audiences: [...audiencesOf(grant)],
    use: grant.use,
    authorizationDetails: grant.details.map(proto),
    ...(grant.mayAct && { mayAct: grant.mayAct }),
    issuer: grant.issuer,
    ...(grant.task && { taskId: grant.task.id, taskPurpose: grant.task.purpose }),
    isTask: isTaskNode(grant),
    taskBudget: { ...grant.task?.budget },
    ...(grant.task?.cap && { taskCap: capMessage(grant.task.cap) }),
    issuedAt: timestampFromMs(grant.issuedAt),
    expiresAt: timestampFromMs(grant.expiresAt),
    state: states[state],
    ...(grant.revokedAt === null ? {} : { endedAt: timestampFromMs(grant.revokedAt) }),
  });
