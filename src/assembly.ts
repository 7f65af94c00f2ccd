import { assembleKeys } from './assembly/keys.ts';
import { assembleLogs, assembleSending } from './assembly/logs.ts';
import type { Parts } from './assembly/parts.ts';
import { assemblePolicies } from './assembly/policies.ts';
import { readinessOf } from './assembly/readiness.ts';
import { assembleSidecar, metersOfSidecar } from './assembly/sidecar.ts';
import type { Keeper } from './audit/keeping/keeper.ts';
import { NodeLogs } from './audit/logs.ts';
import type { Presence } from './audit/presence.ts';
import { Erasure } from './audit/privacy/erasure.ts';
import type { Checkpointer } from './audit/proof/checkpointer.ts';
import { Reads } from './audit/reads.ts';
import { Refusals } from './audit/refusals.ts';
import { isShared } from './config.ts';
import { Admission } from './decision/admission.ts';
import { AccessRequests } from './decision/approval/access-requests.ts';
import { Approvers } from './decision/approval/approvers.ts';
import { ApprovalRequests } from './decision/approval/requests.ts';
import { DataQueries } from './decision/data.ts';
import { Decisions } from './decision/decisions.ts';
import { SharedCounts } from './decision/ledger.ts';
import { Leases } from './decision/metering/leasing/leases.ts';
import { Unreported } from './decision/metering/leasing/unreported.ts';
import { Meters } from './decision/metering/meters.ts';
import { Recounts } from './decision/metering/recounts.ts';
import { Plans } from './decision/plan.ts';
import { PolicyQueries } from './decision/queries.ts';
import { Recorder } from './decision/recorder.ts';
import { Replays } from './decision/replay/replays.ts';
import { Search } from './decision/search.ts';
import { ExchangeApprovals } from './delegation/approval.ts';
import { Callbacks } from './delegation/callbacks/callbacks.ts';
import { Capping } from './delegation/capping.ts';
import { Delegations } from './delegation/delegations.ts';
import { Grants } from './delegation/grants.ts';
import { Introspection } from './delegation/introspection.ts';
import { KillSwitches } from './delegation/kill-switches.ts';
import { Revocation } from './delegation/revocation.ts';
import { DpopProofs } from './delegation/sender/dpop.ts';
import { Tokens } from './delegation/tokens.ts';
import { systemClock, systemMonotonic, systemRandom } from './effects.ts';
import type { ServiceError } from './errors.ts';
import { Explanations } from './explaining/explanations.ts';
import { Ordering } from './fleet/postgres/ordering.ts';
import { refusedHere, type ServedParts, servedByReplica } from './fleet/sidecar.ts';
import { ChangeSource } from './fleet/source.ts';
import type { PrincipalRef, TenantId } from './ids.ts';
import type { Fleet } from './policy/intake/fleet.ts';
import { putPlace } from './policy/intake/kept-files.ts';
import { TenantPuts } from './policy/intake/put.ts';
import { policyStateOf } from './policy/intake/state.ts';
import { plansBy } from './policy/plan/by-revision.ts';
import { Planner } from './policy/plan/planner.ts';
import { limitsFor } from './policy/proof.ts';
import { queriesBy } from './policy/query/by-revision.ts';
import { OpaQueries } from './policy/query/query.ts';
import { ServedBundles } from './policy/revisions/served.ts';
import { AcceptingThreads, sharedBounds } from './server/accepting/threads.ts';
import { toServiceError } from './server/errors.ts';
import { devIssuers } from './server/http/dev.ts';
import { Offload } from './server/offload/offload.ts';
import type { Services } from './server/planes.ts';
import { acceptingThreads, limitsOf, tenantLimitsOf } from './settings.ts';
import { approvalStore } from './storage/approvals/store.ts';
import { changeStore } from './storage/changes/store.ts';
import { killStore } from './storage/granting/ends.ts';
import { grantLister } from './storage/granting/listing.ts';
import { grantStore } from './storage/grants.ts';
import { StoreHealth } from './storage/health.ts';
import { issuerStore } from './storage/issuers.ts';
import { leaseStore } from './storage/leases.ts';
import { partStore } from './storage/log/parts.ts';
import { recordStore } from './storage/log/records.ts';
import { principalStore } from './storage/principals/store.ts';
import { useStore } from './storage/principals/uses.ts';
import type { TenantNo } from './storage/rows.ts';
import { usageStore } from './storage/usage.ts';
import { createMetrics } from './telemetry/metrics.ts';
import { Administration } from './tenancy/administration.ts';
import { Callers } from './tenancy/callers.ts';
import { factSource } from './tenancy/facts.ts';
import { ALWAYS_FRESH, Heard } from './tenancy/freshness.ts';
import { Issuers } from './tenancy/issuers.ts';
import { Kills } from './tenancy/kills.ts';
import { ClientAssertions } from './tenancy/registry/assertions.ts';
import { Credentials } from './tenancy/registry/changes.ts';
import { ChosenSecrets } from './tenancy/registry/chosen.ts';
import { Doubt } from './tenancy/registry/doubt.ts';
import { RegisteredIssuers } from './tenancy/registry/issuers.ts';
import { Registry } from './tenancy/registry/registry.ts';
import { Uses } from './tenancy/registry/uses.ts';
import { StateVersions } from './tenancy/state-versions.ts';
import { type Tenant, Tenants } from './tenancy/tenants.ts';

/** Makes the services from what they need, in the order in which they need each other. */
export function assemble(
  parts: Parts,
  stack: AsyncDisposableStack,
): {
  services: Services;
  fleet: Fleet;
  checkpointer: Checkpointer;
  keeper: Keeper;
  presence: Pick<Presence, 'begin'>;
  /** What nobody gave back of what was leased. */
  unreported: Unreported;
  /** Answers what ends it from elsewhere. */
  join: () => Promise<{ readonly failed: Promise<ServiceError> } | undefined>;
} {
  const { config, writer, reader, directory, clock, random, base } = parts;
  const [grants, records, principals] = [
    grantStore(reader, () => writer.ends),
    recordStore(reader),
    principalStore(directory),
  ];
  const issuerOf = (tenant: string): string => `${base()}/t/${tenant}`;

  /** What threads know of the tenant holds no more. */
  const forget = (tenant: TenantId): void => {
    offload?.forget(tenant);
    accepting?.forget(tenant);
  };
  const registry = new Registry();
  const registeredIssuers = new RegisteredIssuers();
  const changes = changeStore(reader);
  const versions = new StateVersions(
    (no) => changes.at(no).version,
    (no, version) => accepting?.reached(no, version),
  );
  const tenants = new Tenants(
    (tenant) => {
      forget(tenant);
      source.changed(tenant);
    },
    registry,
    registeredIssuers,
  );
  const source = new ChangeSource({
    store: changes,
    folder: config.data_dir,
    tenants,
    monotonic: systemMonotonic,
    current:
      config.store === undefined
        ? undefined
        : () => ordering?.current() ?? Promise.reject(new Error('not yet')),
  });
  let ordering: Ordering | undefined;
  writer.onChange((no, version) => {
    versions.reached(no, version);
    source.made(no);
  });
  const { authority } = config;
  const isOneOfMany = authority !== undefined || config.store !== undefined;
  const heard = isOneOfMany ? new Heard(systemMonotonic, config.max_staleness_seconds * 1_000) : undefined;
  const freshness = heard ?? ALWAYS_FRESH;
  if (authority) writer.orderBy(refusedHere);
  if (isOneOfMany) grants.heard = (no, id) => versions.when(no, () => grants.find(no, id) !== undefined);
  const facts = factSource(principals, (tenant) => {
    offload?.changed(tenant);
    accepting?.changed(tenant);
  });
  const killed = killStore(reader);
  const kills = new Kills(killed, () => writer.ends);
  const doubt = stack.use(new Doubt(writer));
  const administration = new Administration({
    writer,
    facts,
    principals: { store: principals, registry },
    issuers: { store: issuerStore(reader), registered: registeredIssuers },
    doubt,
    manifestBefore: (no) => changes.manifest(no),
    current: (tenant) => tenants.find(tenant.id) ?? tenant,
    limits: tenantLimitsOf(config),
    clock,
    random,
  });
  const shared = partStore(reader);
  const { policies, compilerOptions, compiler, revisions, releases, shadows, trials, pulls, fleet } =
    assemblePolicies(parts, { tenants, administration, records, shared, forget }, stack);
  const policyOf = (tenant: Tenant, subject?: PrincipalRef) => policies.of(tenant, subject);
  const health = stack.use(new StoreHealth());

  const issuers = new Issuers(
    clock,
    systemMonotonic,
    config.dev,
    config.dev ? devIssuers(base) : undefined,
    (tenant, issuer) => kills.isIssuerKilled(tenant, issuer),
  );
  const { tenantKeys, keys, logKeys, memberStore, memberKeys, mlDsaKeys } = assembleKeys(
    parts,
    issuerOf,
    stack,
  );
  const { proofs, witnessing, checkpointer, presence, received, receiving, volumes, keeper } = assembleLogs(
    parts,
    { tenants, policies, administration, logKeys, mlDsaKeys },
    stack,
  );
  const dpop = new DpopProofs({ writer, clock, nonceKey: random(32) });
  const tokens = new Tokens({
    dpop,
    keys,
    grants,
    issuers,
    issuerOf: (tenant) => issuerOf(tenant.id),
    monotonic: systemMonotonic,
    freshness,
    behind: isOneOfMany ? versions : undefined,
  });
  const reads = stack.use(new Reads(writer, clock, systemMonotonic, random));
  const refusals = stack.use(new Refusals(writer, clock, random));
  const uses = stack.use(new Uses({ writer, store: useStore(reader) }));
  const assertions = new ClientAssertions({
    issuerOf: (tenant) => issuerOf(tenant.id),
    fetchKeys: (uri) => issuers.fetched(uri),
    writer,
    clock,
    monotonic: systemMonotonic,
  });
  const callers = new Callers({
    operators: config.operators.map((each) => ({ ...each, secretSha256: each.secret_sha256 })),
    dev: config.dev,
    facts,
    tenants,
    verifyJwt: (...presented) => issuers.verifyCaller(...presented),
    chosen: new ChosenSecrets({ clock, monotonic: systemMonotonic, random }),
    verifyAssertion: (...asserted) => assertions.verify(...asserted),
    clock,
    isKilled: (tenant, issuer) => kills.isIssuerKilled(tenant, issuer),
    isCredentialKilled: (...of) => kills.credentialKilledAt(...of) !== undefined,
    freshness,
    onUse: (tenant, holder, now) => uses.note(tenant, holder, now),
    onRefusal: ({ tenant, presented: { address = 'socket file' }, ...refusal }) =>
      refusals.note({ ...refusal, tenantNo: tenant.no, tenant: tenant.id, address }),
  });

  const { sinks, shipping } = assembleSending(parts, stack);
  // Functions do not travel: with a clock or randomness of its own, main decides alone.
  const isSystem = clock === systemClock && random === systemRandom;
  const [bounds, ...boundsOfThreads] =
    acceptingThreads(config) > 0 && isSystem ? sharedBounds(acceptingThreads(config)) : [];
  const admission = new Admission(
    clock,
    config.max_open_decisions,
    bounds && new SharedCounts(bounds.ledger),
  );
  const recorder = new Recorder({ policyOf, keys: memberKeys, admission, random });
  const current = ({ id }: Tenant): Tenant | undefined => tenants.find(id);
  const versionOf = (no: TenantNo): number => versions.of(no);
  const common = { facts, kills, policyOf, current, writer, recorder, clock, random, versionOf };
  const offload =
    config.decision_threads > 0 && isSystem
      ? stack.use(
          new Offload({
            threads: config.decision_threads,
            clock,
            writer,
            policies,
            admission,
            folder: config.data_dir,
            versionOf,
            ...limitsOf(config),
          }),
        )
      : undefined;
  const accepting =
    bounds &&
    stack.use(
      new AcceptingThreads({
        settings: {
          folder: config.data_dir,
          maxOpen: config.max_open_decisions,
          connections: { total: config.max_connections, each: config.max_connections_per_address },
          guardHost: config.dev,
          passesOn: config.authority !== undefined,
          ...limitsOf(config),
        },
        bounds: boundsOfThreads,
        from: config.accept_from,
        isRelieved: () => offload?.isFull ?? false,
        writer,
        policies,
        admission,
        tenants,
        callers,
        vouches: (...of) => tokens.vouches(...of),
        freshness,
        clock,
        versionOf,
      }),
    );
  const usage = usageStore(reader);
  const meters = new Meters({ store: usage, grants, doubt, isShared: config.store !== undefined });
  const recounts = new Recounts({
    records,
    usage,
    grants,
    meters,
    writer,
    atOnce: (read) => reader.transaction(read)(),
    record: (tenant, caller, detail) =>
      administration.record(tenant, caller, 'meters.rebuild', undefined, detail),
    isShared: isShared(config),
    clock,
  });
  const leased = { store: leaseStore(reader), writer, clock, random };
  const leases = new Leases({ meters, ...leased });
  const unreported = stack.use(new Unreported({ tenants, ...leased }));
  const approvals = approvalStore(reader);
  const callbacks = new Callbacks({
    keys,
    issuerOf: (tenant) => issuerOf(tenant.id),
    loopback: config.dev,
    clock,
    random,
    stopping: parts.stopping,
    failed: (error) => void toServiceError(error, 'callbacks'),
  });
  const { notify: settled } = callbacks;
  const requests = new ApprovalRequests({ store: approvals, writer, clock, random, settled });
  const decisions = new Decisions({
    ...common,
    admission,
    meters: authority ? metersOfSidecar(authority, { config, grants }, stack) : meters,
    resolveToken: tokens.resolve,
    approvals: requests,
  });
  const metrics = stack.use(
    createMetrics({
      tenantLabels: config.tenant_labels,
      waiting: () => writer.waiting + (offload?.waiting ?? 0) + (accepting?.waiting ?? 0),
      open: () => admission.open,
      tenants: () => tenants.size,
      degraded: () => fleet.degraded(),
      bundlesStale: () => pulls.stale(),
      threadAnswers: () => offload?.answered ?? 0,
      threads: () => offload?.ready ?? 0,
      accepting: () => ({
        threads: accepting?.ready ?? 0,
        ...(accepting?.counts ?? { decided: 0, handed: 0 }),
      }),
      sinks: () => sinks.states,
      disputes: () => witnessing.disputes.length,
      keeping: () => (keeper.problem === '' ? 0 : 1),
      ready: () => (services.readiness.ready() ? 1 : 0),
      unstated: () => checkpointer.unstatedMs / 1_000,
      stateAge: () => freshness.ageMs / 1_000,
      followers: () => source.followers,
      shipping: () => shipping.states,
    }),
  );
  const erasure = stack.use(
    new Erasure({ store: memberStore, keys: memberKeys, writer, clock, random, isShared: isShared(config) }),
  );
  const served: ServedParts = {
    store: changes,
    tenants,
    administration,
    facts,
    kills,
    keys,
    releases,
    trials,
    policies,
    versions,
    erased: (no) => erasure.follow(no),
    left: (id) => fleet.leavePut(putPlace(id).folder),
    served: (tenant) => logKeys.makeMissing([tenant.no]),
  };
  const sidecar =
    authority &&
    heard &&
    assembleSidecar(authority, { ...served, config, writer, callers, heard, base }, stack);
  const { store } = config;
  /** Takes its place among others, before it serves anything of its own. */
  const join = async (): Promise<{ readonly failed: Promise<ServiceError> } | undefined> => {
    if (store === undefined || !heard) {
      await follower?.begin();
      return undefined;
    }
    const hooks = servedByReplica(served);
    ordering = stack.use(
      await Ordering.open({
        url: store,
        node: config.node,
        writer,
        store: changes,
        hooks: {
          ...hooks,
          refresh: async (id, no, made, isOver) => {
            if (!made || made.has('putTenantKey')) await tenantKeys.heard(id);
            await hooks.refresh(id, no, made, isOver);
          },
          counted: (no) => meters.counted(no),
          durable: (no) => source.made(no),
        },
        heard,
        monotonic: systemMonotonic,
        failed: (error) => void toServiceError(error, 'store'),
        folder: config.data_dir,
        copyEvery: config.store_copy_every,
      }),
    );
    return { failed: ordering.failed };
  };
  const follower = sidecar?.follower;
  const services: Services = {
    tenants,
    callers,
    puts: new TenantPuts({ tenants, fleet, releases, administration, writer, clock }),
    policies,
    administration,
    issuers,
    recounts,
    credentials: new Credentials({ principals: administration.principals, uses, clock, random }),
    principals,
    credentialKilledAt: (...of) => kills.credentialKilledAt(...of),
    records,
    reads,
    parts: shared,
    memberKeys,
    erasure,
    explanations: new Explanations({
      compiler,
      sourcesOf: (tenant, revision) => releases.kept.sourcesOf(tenant, revision),
      source: { records, partOf: (no, digest) => shared.find(no, digest) },
      memberKeys,
      limitsOf: ({ manifest }) => limitsFor(manifest, limitsOf(config)),
    }),
    dpop,
    keys,
    tenantKeys,
    logKeys,
    mlDsaKeys,
    proofs,
    nodeLogs: new NodeLogs(received, config.node),
    received,
    receiving,
    writer,
    volumes,
    keeper,
    clock,
    base,
    takesCertificates: config.tls?.client_ca !== undefined,
    issuerOf,
    decisions,
    offload,
    accepting,
    bounds,
    versions,
    source,
    passingOn: sidecar?.passingOn,
    leases,
    version: config.version,
    accessRequests: new AccessRequests({
      decisions,
      requests,
      source: { records, partOf: (no, digest) => shared.find(no, digest) },
      admission,
      clock,
    }),
    approvalRequests: requests,
    approvers: new Approvers({ ...common, store: approvals, requests, issuers, admission, settled }),
    search: new Search({ decisions, principals, random }),
    plans: new Plans({
      ...common,
      admission,
      resolveToken: tokens.resolve,
      plan: plansBy(new Planner(compiler), (tenant, revision) => releases.kept.sourcesOf(tenant, revision)),
    }),
    data: new DataQueries({ ...common, admission }),
    queries: new PolicyQueries({
      ...common,
      admission,
      ask: queriesBy(new OpaQueries(compiler), (tenant, revision) =>
        releases.kept.sourcesOf(tenant, revision),
      ),
    }),
    isServed: (tenant) => policies.bundleOf(tenant) !== undefined,
    delegations: new Delegations({
      dpop,
      ...common,
      admission,
      tokens,
      issuers,
      approvals: new ExchangeApprovals({ store: approvals, requests, clock }),
    }),
    tokens,
    introspection: new Introspection({ ...common, admission, tokens }),
    revocation: new Revocation({ ...common, tokens, grants }),
    capping: new Capping({ ...common, admission, grants }),
    killSwitches: new KillSwitches({ ...common, tokens, issuers, grants, store: killed, administration }),
    grants: new Grants({ grants, lister: grantLister(reader), usage, clock }),
    reload: (tenant, caller) => fleet.reload(tenant, caller),
    revisions,
    releases,
    bundles: new ServedBundles({
      policies: compilerOptions.policies,
      activeOf: (tenant) => policies.bundleOf(tenant),
      sourcesOf: (tenant, revision) => releases.kept.sourcesOf(tenant, revision),
    }),
    replays: new Replays(config.data_dir),
    shadows,
    trials,
    allowance: limitsOf(config),
    throttle: (tenant) => policies.health.admit(tenant.id, clock()),
    state: (tenant) =>
      kills.isKilled(tenant)
        ? { state: 'killed', why: '' }
        : policyStateOf(tenant.id, policies.of(tenant), policies.health, clock(), pulls.problemOf(tenant.id)),
    degraded: (tenant) => (kills.isKilled(tenant) ? 'killed' : policies.health.degraded(tenant.id, clock())),
    readiness: readinessOf({
      writer,
      stopping: parts.stopping,
      health,
      witnessing,
      receiving,
      received,
      shipping,
      tenants,
      tenantKeys,
      fleet,
      follower,
      ordering: () => ordering,
      offload,
      accepting,
      freshness,
      pulls,
      sinks,
      keeper,
    }),
    metrics: metrics.text,
    stopping: parts.stopping,
    extAuthz: { tenantHeader: config.ext_authz?.tenant_header },
    dev: config.dev,
  };
  return { services, fleet, checkpointer, keeper, presence, unreported, join };
}
