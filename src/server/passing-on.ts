import { fromBinary, toBinary } from '@bufbuild/protobuf';
import { metersMet } from '../decision/metering/met.ts';
import type { UncheckedRequest } from '../decision/request.ts';
import { systemClock } from '../effects.ts';
import { ApprovalService } from '../gen/mandate/v1/approval_pb.ts';
import { AuditService } from '../gen/mandate/v1/audit_pb.ts';
import {
  CheckRequestSchema,
  CheckStreamRequestSchema,
  DecisionService,
} from '../gen/mandate/v1/decision_pb.ts';
import { DelegationService } from '../gen/mandate/v1/delegation_pb.ts';
import { GrantService } from '../gen/mandate/v1/grant_pb.ts';
import { KeyService } from '../gen/mandate/v1/key_pb.ts';
import { KillService } from '../gen/mandate/v1/kill_pb.ts';
import { PolicyService } from '../gen/mandate/v1/policy_pb.ts';
import { TenantService } from '../gen/mandate/v1/tenant_pb.ts';
import type { Tenants } from '../tenancy/tenants.ts';
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
    return isOf(DATA, path) || DATA_PATH.test(path) ? this.#data : undefined;
  }

  admin(path: string): Forwarding | undefined {
    return isOf(ADMIN, path) || path === ERASE ? this.#admin : undefined;
  }

  /** Whether a question takes what only an authority can do: to count it, or to take something once. */
  takes(tenantId: string, { approval, proof, action }: UncheckedRequest): boolean {
    if (approval !== undefined || proof?.dpop) return true;
    const tenant = this.#tenants.find(tenantId);
    return (
      tenant !== undefined && action !== undefined && metersMet(tenant.manifest, action.name) !== undefined
    );
  }

  /** A CheckRequest, and the CheckResponse to it. */
  check(authorization: string | undefined, message: Uint8Array, until: number): Promise<Uint8Array> {
    const timeoutMs = Math.min(CHECK_MS, until - systemClock());
    return this.#data.unary(`/${DecisionService.typeName}/Check`, authorization, message, timeoutMs);
  }
}

const CHECK_MS = 10_000;

const DATA = [DelegationService, GrantService];
const ADMIN = [PolicyService, TenantService, KillService, ApprovalService, KeyService];
/** The log is each server's own; that somebody is erased is a change that all of them hear of. */
const ERASE = `/${AuditService.typeName}/Erase`;

const DATA_PATH =
  /^\/t\/[^/?]+\/(?:oauth2\/(?:token|introspect|revoke)|access\/v1\/requests(?:\/[^/?]+(?:\/cancel)?)?)$/;

const isOf = (services: readonly { readonly typeName: string }[], path: string): boolean =>
  services.some(({ typeName }) => path.startsWith(`/${typeName}/`));

/** The CheckRequest in a CheckStreamRequest. */
export function requestIn(message: Uint8Array): Uint8Array {
  const { request } = fromBinary(CheckStreamRequestSchema, message);
  return request ? toBinary(CheckRequestSchema, request) : new Uint8Array();
}
