import type { DescService } from '@bufbuild/protobuf';
import type { ConnectRouter, HandlerContext } from '@connectrpc/connect';
import type { Keeper } from '../audit/keeping/keeper.ts';
import type { NodeLogs } from '../audit/logs.ts';
import type { Erasure } from '../audit/privacy/erasure.ts';
import type { MemberKeys } from '../audit/privacy/keys.ts';
import type { LogKeys } from '../audit/proof/keys.ts';
import type { MlDsaKeys } from '../audit/proof/ml-dsa.ts';
import type { LogProofs } from '../audit/proof/proofs.ts';
import type { Reads } from '../audit/reads.ts';
import type { Receiving } from '../audit/receiving/thread.ts';
import type { AccessRequests } from '../decision/approval/access-requests.ts';
import type { Approvers } from '../decision/approval/approvers.ts';
import type { ApprovalRequests } from '../decision/approval/requests.ts';
import type { DataQueries } from '../decision/data.ts';
import type { Decisions } from '../decision/decisions.ts';
import type { Leases } from '../decision/metering/leasing/leases.ts';
import type { Recounts } from '../decision/metering/recounts.ts';
import type { Plans } from '../decision/plan.ts';
import type { PolicyQueries } from '../decision/queries.ts';
import type { Replays } from '../decision/replay/replays.ts';
import type { Shadows } from '../decision/replay/shadows.ts';
import type { Trials } from '../decision/replay/trials.ts';
import type { Search } from '../decision/search.ts';
import type { Capping } from '../delegation/capping.ts';
import type { Delegations } from '../delegation/delegations.ts';
import type { Grants } from '../delegation/grants.ts';
import type { Introspection } from '../delegation/introspection.ts';
import type { Keys } from '../delegation/keys/keys.ts';
import type { TenantSealing } from '../delegation/keys/tenant-sealing.ts';
import type { KillSwitches } from '../delegation/kill-switches.ts';
import type { Revocation } from '../delegation/revocation.ts';
import type { DpopProofs } from '../delegation/sender/dpop.ts';
import type { Tokens } from '../delegation/tokens.ts';
import type { Clock } from '../effects.ts';
import { ServiceError } from '../errors.ts';
import type { Explanations } from '../explaining/explanations.ts';
import type { ChangeSource } from '../fleet/source.ts';
import { Authorization } from '../gen/envoy/service/auth/v3/external_auth_pb.ts';
import { Health } from '../gen/grpc/health/v1/health_pb.ts';
import { ServerReflection } from '../gen/grpc/reflection/v1/reflection_pb.ts';
import { ApprovalService } from '../gen/mandate/v1/approval_pb.ts';
import { AuditService } from '../gen/mandate/v1/audit_pb.ts';
import { DecisionService } from '../gen/mandate/v1/decision_pb.ts';
import { DelegationService } from '../gen/mandate/v1/delegation_pb.ts';
import { GrantService } from '../gen/mandate/v1/grant_pb.ts';
import { KeyService } from '../gen/mandate/v1/key_pb.ts';
import { KillService } from '../gen/mandate/v1/kill_pb.ts';
import { LeaseService } from '../gen/mandate/v1/lease_pb.ts';
import { PolicyService } from '../gen/mandate/v1/policy_pb.ts';
import { SyncService } from '../gen/mandate/v1/sync_pb.ts';
import { TenantService } from '../gen/mandate/v1/tenant_pb.ts';
import type { Bundle } from '../policy/bundle.ts';
import type { TenantPuts } from '../policy/intake/put.ts';
import type { PlanMade } from '../policy/plan/by-revision.ts';
import type { Policies } from '../policy/policies.ts';
import type { Allowance } from '../policy/proof.ts';
import type { OpaAnswer, OpaQuestion } from '../policy/query/query.ts';
import type { Releases } from '../policy/revisions/releases.ts';
import type { ServedBundles } from '../policy/revisions/served.ts';
import type { PartStore } from '../storage/log/parts.ts';
import type { RecordStore } from '../storage/log/records.ts';
import type { PrincipalStore } from '../storage/principals/store.ts';
import type { ReceivedStore } from '../storage/received/store.ts';
import type { RevisionStore } from '../storage/revisions/store.ts';
import type { VolumeStore } from '../storage/volume/store.ts';
import type { Writer } from '../storage/writer.ts';
import type { Administration } from '../tenancy/administration.ts';
import type { Callers } from '../tenancy/callers.ts';
import type { Issuers } from '../tenancy/issuers.ts';
import type { Kills } from '../tenancy/kills.ts';
import type { Credentials } from '../tenancy/registry/changes.ts';
import type { StateVersions } from '../tenancy/state-versions.ts';
import type { Tenant, Tenants } from '../tenancy/tenants.ts';
import type { SharedBounds } from './accepting/protocol.ts';
import type { AcceptingThreads } from './accepting/threads.ts';
import { approvalService } from './connect/approval.ts';
import { auditService } from './connect/audit.ts';
import { presentedIn } from './connect/context.ts';
import { decisionService } from './connect/decision.ts';
import { delegationService } from './connect/delegation.ts';
import { type ExtAuthzOptions, extAuthzService } from './connect/extauthz.ts';
import { grantService } from './connect/grant.ts';
import { healthService } from './connect/health.ts';
import { keyService } from './connect/key.ts';
import { killService } from './connect/kill.ts';
import { leaseService } from './connect/lease.ts';
import { policyService } from './connect/policy.ts';
import { reflectionService } from './connect/reflection.ts';
import { syncService } from './connect/sync.ts';
import { tenantService } from './connect/tenant/service.ts';
import { hotMethods } from './grpc/check.ts';
import { shipMethod } from './grpc/ship.ts';
import { accessRequestRoutes } from './http/authzen/requests.ts';
import { authzenRoutes } from './http/authzen.ts';
import { bundleRoutes } from './http/bundle.ts';
import type { HttpRequest } from './http/exchange.ts';
import { healthRoutes, type Readiness } from './http/health.ts';
import { logRoutes } from './http/log.ts';
import { oauthRoutes } from './http/oauth.ts';
import { opaRoutes } from './http/opa.ts';
import { type Route, Router } from './http/router.ts';
import { searchRoutes } from './http/search.ts';
import { isNamedRightly } from './intake/hosts.ts';
import { Shipments } from './intake/shipments.ts';
import type { Offload } from './offload/offload.ts';
import type { Kind } from './offload/protocol.ts';
import type { PassingOn } from './passing-on.ts';
import { presentedBy } from './peer.ts';
import type { HotMethod, Plane } from './server.ts';

/** What the two planes serve, from. */
export interface Services {
  readonly tenants: Tenants;
  readonly callers: Callers;
  readonly puts: TenantPuts;
  readonly decisions: Decisions;
  readonly offload: Offload | undefined;
  /** Threads that accept the data plane's connections, where there are any, and main's part of the bounds they share. */
  readonly accepting: AcceptingThreads | undefined;
  readonly bounds: SharedBounds | undefined;
  readonly versions: StateVersions;
  /** What followers are told; and, of a sidecar, what is passed on to its authority. */
  readonly source: ChangeSource;
  readonly passingOn: PassingOn | undefined;
  readonly leases: Leases;
  readonly tokens: Tokens;
  readonly search: Search;
  readonly accessRequests: AccessRequests;
  readonly approvalRequests: ApprovalRequests;
  readonly approvers: Approvers;
  readonly data: DataQueries;
  readonly queries: PolicyQueries<OpaQuestion, OpaAnswer>;
  readonly delegations: Delegations;
  readonly introspection: Introspection;
  readonly revocation: Revocation;
  readonly capping: Capping;
  readonly grants: Grants;
  readonly killSwitches: KillSwitches;
  readonly keys: Keys;
  readonly tenantKeys: TenantSealing;
  readonly logKeys: LogKeys;
  /** Undefined where logs have one key. */
  readonly mlDsaKeys: MlDsaKeys | undefined;
  readonly proofs: LogProofs;
  readonly nodeLogs: NodeLogs;
  readonly received: ReceivedStore;
  /** Keeps other servers' logs. */
  readonly receiving: Pick<Receiving, 'take'>;
  readonly writer: Writer;
  readonly volumes: VolumeStore;
  readonly keeper: Keeper;
  readonly memberKeys: MemberKeys;
  readonly erasure: Erasure;
  readonly explanations: Explanations;
  readonly policies: Policies;
  readonly administration: Administration;
  readonly credentials: Credentials;
  readonly dpop: DpopProofs;
  readonly issuers: Issuers;
  readonly principals: PrincipalStore;
  readonly recounts: Recounts;
  readonly credentialKilledAt: Kills['credentialKilledAt'];
  readonly records: RecordStore;
  readonly reads: Reads;
  readonly clock: Clock;
  /** Clients may come with certificates, which TLS verifies. */
  readonly takesCertificates: boolean;
  /** What the outside calls the data plane. */
  readonly base: () => string;
  readonly parts: PartStore;
  readonly issuerOf: (tenant: string) => string;
  readonly reload: (tenant: Tenant, caller: string) => Promise<boolean>;
  readonly revisions: RevisionStore;
  readonly releases: Releases;
  readonly bundles: ServedBundles;
  readonly replays: Replays;
  readonly shadows: Shadows;
  readonly trials: Trials<Bundle>;
  readonly plans: Plans<PlanMade>;
  readonly allowance: Allowance;
  /** Throws `resource_exhausted` for a tenant whose policy is slowed down. */
  readonly throttle: (tenant: Tenant) => void;
  /** Whether the tenant has a policy that decides. */
  readonly isServed: (tenant: Tenant) => boolean;
  /** Of Mandate. */
  readonly version: string;
  /** Why the tenant is degraded; empty if it is not. */
  readonly degraded: (tenant: Tenant) => string;
  /** ok, killed, degraded or stale, and why. */
  readonly state: (tenant: Tenant) => { readonly state: string; readonly why: string };
  readonly readiness: Readiness;
  readonly metrics: () => Promise<string>;
  readonly stopping: AbortSignal;
  readonly extAuthz: ExtAuthzOptions;
  readonly dev: boolean;
}

/** The data plane: what services and agents ask. */
export function dataPlane(services: Services, extra: readonly Route[] = []): Plane {
  return {
    ...commonTo(services),
    passOn: (path) => services.passingOn?.data(path),
    passesOn: services.passingOn !== undefined,
    router: new Router([
      ...healthRoutes(services.readiness, () => false),
      ...authzenRoutes(services),
      ...searchRoutes(services),
      ...accessRequestRoutes(services),
      ...opaRoutes(services),
      ...bundleRoutes(services),
      ...oauthRoutes(services),
      ...extra,
    ]),
    services: (router) => {
      router
        .service(DecisionService, decisionService(services))
        .service(DelegationService, delegationService(services), strict)
        .service(GrantService, grantService(services), strict)
        .service(Authorization, extAuthzService(services));
      common(router, services, [DecisionService, DelegationService, GrantService, Authorization]);
    },
    hot: new Map(
      Object.entries(hotMethods(services)).map(([name, method]) => [
        `/${DecisionService.typeName}/${name}`,
        method,
      ]),
    ),
  };
}

/** Those of the data plane's methods that threads hand over. */
export function hotKinds({ hot }: Pick<Plane, 'hot'>): Readonly<Record<Kind, HotMethod>> {
  const of = (name: string): HotMethod => {
    const method = hot.get(`/${DecisionService.typeName}/${name}`);
    if (!method) throw new Error(`${name} is not served`);
    return method;
  };
  return { check: of('Check'), batch: of('CheckBatch'), stream: of('CheckStream') };
}

/** The admin plane: what operators and authors ask. */
export function adminPlane(services: Services): Plane {
  // They name the tenants and tell how busy each is.
  const mayKnow = (request: HttpRequest): boolean =>
    (request.peer.loopback && isNamedRightly(request.names, request.peer, services.base())) ||
    services.callers.isOperator(presentedBy(request.header('authorization'), request.peer));
  const metrics: Route = {
    method: 'GET',
    path: '/metrics',
    handle: async (request) => {
      if (!mayKnow(request))
        throw new ServiceError(
          'unauthenticated',
          'from elsewhere metrics are for operators: Bearer <credential>',
        );
      return {
        status: 200,
        headers: { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' },
        body: await services.metrics(),
      };
    },
  };
  const shipments = new Shipments(services);
  return {
    ...commonTo(services),
    passOn: (path) => services.passingOn?.admin(path),
    passesOn: services.passingOn !== undefined,
    router: new Router([...healthRoutes(services.readiness, mayKnow), metrics, ...logRoutes(services)]),
    services: (router) => {
      router
        .service(PolicyService, policyService(services), strict)
        .service(TenantService, tenantService(services), strict)
        .service(KillService, killService(services), strict)
        .service(ApprovalService, approvalService(services), strict)
        .service(KeyService, keyService(services), strict)
        .service(AuditService, auditService(services), strict)
        .service(SyncService, syncService({ ...services, shipments }), strict)
        .service(LeaseService, leaseService(services), strict);
      common(router, services, [
        PolicyService,
        TenantService,
        KillService,
        ApprovalService,
        KeyService,
        AuditService,
        SyncService,
        LeaseService,
      ]);
    },
    hot: new Map([[`/${SyncService.typeName}/Ship`, shipMethod({ callers: services.callers, shipments })]]),
  };
}

/** A member that is misspelt would be left out without a word, of a change, a filter or what is asked to be delegated. */
const strict = { jsonOptions: { ignoreUnknownFields: false } };

const commonTo = ({ callers, dev, base, stopping, tenants, versions }: Services) => ({
  stateVersion: (id: string) => {
    const tenant = tenants.find(id);
    return tenant && versions.newest(tenant.no);
  },
  guardHost: dev,
  greet: (context: HandlerContext) => callers.greet(presentedIn(context)),
  base,
  stopping,
});

/** What every gRPC server is asked: whether it serves, and what. */
function common(
  router: ConnectRouter,
  { readiness, stopping }: Services,
  served: readonly DescService[],
): void {
  const names = new Set(served.map(({ typeName }) => typeName));
  router
    .service(Health, healthService(readiness, names, stopping))
    .service(ServerReflection, reflectionService([...served, Health, ServerReflection], stopping));
}
