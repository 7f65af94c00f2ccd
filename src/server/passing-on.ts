import { fromBinary, toBinary } from '@bufbuild/protobuf';
import type { Elsewhere } from '../decision/elsewhere.ts';
import { isLeasable, isMetered, metersMet } from '../decision/metering/met.ts';
import type { UncheckedRequest } from '../decision/request.ts';
import { systemClock } from '../effects.ts';
import { ApprovalService } from '../gen/mandate/v1/approval_pb.ts';
import { AuditService } from '../gen/mandate/v1/audit_pb.ts';
import {
  CheckRequestSchema,
  CheckResponseSchema,
  CheckStreamRequestSchema,
  DecisionService,
} from '../gen/mandate/v1/decision_pb.ts';
import { DelegationService } from '../gen/mandate/v1/delegation_pb.ts';
import { GrantService } from '../gen/mandate/v1/grant_pb.ts';
import { KeyService } from '../gen/mandate/v1/key_pb.ts';
import { KillService } from '../gen/mandate/v1/kill_pb.ts';
import { PolicyService } from '../gen/mandate/v1/policy_pb.ts';
import { TenantService } from '../gen/mandate/v1/tenant_pb.ts';
import type { Tenant, Tenants } from '../tenancy/tenants.ts';
import { answerIn, requestMessage } from './connect/messages.ts';
import type { Forwarding } from './forwarding.ts';

/** What a sidecar does not do itself: whatever grants, changes or counts is for an authority. */
export class PassingOn {
  readonly #data: Forwarding;
  readonly #admin: Forwarding;
  readonly #tenants: Pick<Tenants, 'find'>;

  constructor(options: { data: Forwarding; admin: Forwarding; tenants: Pick<Tenants, 'find'> }) {
    this.#data = options.data;
    this.#admin = options.admin;
    this.#tenants = options.tenants;
  }

  /** For requests of the data plane, and of the other: who passes them on; undefined for what is served here. */
  data(path: string): Forwarding | undefined {
    return isOf(DATA, path) || DATA_PATH.test(path) || this.#searchesCounted(path) ? this.#data : undefined;
  }

  /** A search asks what would be decided, and of what is counted only an authority knows how much it is. */
  #searchesCounted(path: string): boolean {
    const [, id] = SEARCH_PATH.exec(path) ?? [];
    const tenant = id === undefined ? undefined : this.#tenants.find(id);
    return tenant !== undefined && isMetered(tenant.manifest);
  }

  admin(path: string): Forwarding | undefined {
    return isOf(ADMIN, path) || path === ERASE ? this.#admin : undefined;
  }

  /** Whether a question takes what only an authority can do: to count it, or to take something once. */
  takes(tenantId: string, request: UncheckedRequest): boolean {
    return takesOnce(request) || isCountedThere(this.#tenants.find(tenantId), request);
  }

  /** Whether a batch does so as one: its items share a proof, which is good once. */
  takesBatch({ proof }: UncheckedRequest): boolean {
    return Boolean(proof?.dpop);
  }

  /** For who came with this credential. `until`: when nobody waits any more, in milliseconds since the epoch. */
  elsewhere(authorization: string | undefined, until = Number.POSITIVE_INFINITY): Elsewhere {
    return {
      takes: (tenant, request) => takesOnce(request) || isCountedThere(tenant, request),
      decide: async ({ id }, request) => {
        const message = toBinary(CheckRequestSchema, requestMessage(id, request));
        return answerIn(fromBinary(CheckResponseSchema, await this.check(authorization, message, until)));
      },
    };
  }

  /** A CheckRequest, and the CheckResponse to it. */
  check(authorization: string | undefined, message: Uint8Array, until: number): Promise<Uint8Array> {
    return this.#unary('Check', authorization, message, until);
  }

  /** A CheckBatchRequest, and the CheckBatchResponse to it. */
  batch(authorization: string | undefined, message: Uint8Array, until: number): Promise<Uint8Array> {
    return this.#unary('CheckBatch', authorization, message, until);
  }

  #unary(
    method: 'Check' | 'CheckBatch',
    authorization: string | undefined,
    message: Uint8Array,
    until: number,
  ): Promise<Uint8Array> {
    const timeoutMs = Math.min(MOST_MS, until - systemClock());
    return this.#data.unary(`/${DecisionService.typeName}/${method}`, authorization, message, timeoutMs);
  }
}

const takesOnce = ({ approval, proof }: UncheckedRequest): boolean =>
  approval !== undefined || Boolean(proof?.dpop);

/** Whether it is counted, and no lease can cover it. */
function isCountedThere(tenant: Tenant | undefined, { action }: UncheckedRequest): boolean {
  const met = tenant && action && metersMet(tenant.manifest, action.name);
  return met !== undefined && !isLeasable(met);
}

const MOST_MS = 10_000;

const DATA = [DelegationService, GrantService];
const ADMIN = [PolicyService, TenantService, KillService, ApprovalService, KeyService];
/** The log is each server's own; that somebody is erased is a change that all of them hear of. */
const ERASE = `/${AuditService.typeName}/Erase`;

const DATA_PATH =
  /^\/t\/[^/?]+\/(?:oauth2\/(?:token|introspect|revoke)|access\/v1\/requests(?:\/[^/?]+(?:\/cancel)?)?)$/;

const SEARCH_PATH = /^\/t\/([^/?]+)\/access\/v1\/search\/(?:subject|resource|action)$/;

const isOf = (services: readonly { readonly typeName: string }[], path: string): boolean =>
  services.some(({ typeName }) => path.startsWith(`/${typeName}/`));

/** The CheckRequest in a CheckStreamRequest. */
export function requestIn(message: Uint8Array): Uint8Array {
  const { request } = fromBinary(CheckStreamRequestSchema, message);
  return request ? toBinary(CheckRequestSchema, request) : new Uint8Array();
}
