import path from 'node:path';
import { Keeper } from './audit/keeping/keeper.ts';
import { NodeLogs } from './audit/logs.ts';
import { keyMade, ownRecord } from './audit/own.ts';
import { Presence } from './audit/presence.ts';
import { Erasure } from './audit/privacy/erasure.ts';
import { MemberKeys } from './audit/privacy/keys.ts';
import { Checkpointer } from './audit/proof/checkpointer.ts';
import { LogKeys } from './audit/proof/keys.ts';
import { MlDsaKeys } from './audit/proof/ml-dsa.ts';
import { LogProofs } from './audit/proof/proofs.ts';
import { Reads } from './audit/reads.ts';
import { Receiver } from './audit/receiving/receiver.ts';
import { roomFor } from './audit/receiving/room.ts';
import { Refusals } from './audit/refusals.ts';
import { Sinks } from './audit/sinks/thread.ts';
import { unsentOf } from './audit/sinks/unsent.ts';
import { Witnessing } from './audit/witness/witnessing.ts';
import { type Config, isShared } from './config.ts';
import { Admission } from './decision/admission.ts';
import { AccessRequests } from './decision/approval/access-requests.ts';
import { Approvers } from './decision/approval/approvers.ts';
import { ApprovalRequests } from './decision/approval/requests.ts';
import { DataQueries } from './decision/data.ts';
import { Decisions } from './decision/decisions.ts';
import { Leases } from './decision/metering/leasing/leases.ts';
import { Meters } from './decision/metering/meters.ts';
import { Recounts } from './decision/metering/recounts.ts';
import { Plans } from './decision/plan.ts';
import { PolicyQueries } from './decision/queries.ts';
import { Recorder } from './decision/recorder.ts';
import { recentQuestions } from './decision/replay/recent.ts';
import { Replays } from './decision/replay/replays.ts';
import { Shadows } from './decision/replay/shadows.ts';
import { Trials } from './decision/replay/trials.ts';
import { Search } from './decision/search.ts';
import { ExchangeApprovals } from './delegation/approval.ts';
import { Callbacks } from './delegation/callbacks/callbacks.ts';
import { Capping } from './delegation/capping.ts';
import { Delegations } from './delegation/delegations.ts';
import { Grants } from './delegation/grants.ts';
import { Introspection } from './delegation/introspection.ts';
import { Keys } from './delegation/keys/keys.ts';
import { KmsTenantKeys } from './delegation/keys/kms/tenant-keys.ts';
import { openFormerMaster, openMasterKey } from './delegation/keys/open-master-key.ts';
import { TenantKeys } from './delegation/keys/tenant-keys.ts';
import { KillSwitches } from './delegation/kill-switches.ts';
import { Revocation } from './delegation/revocation.ts';
import { DpopProofs } from './delegation/sender/dpop.ts';
import { Tokens } from './delegation/tokens.ts';
import { type Clock, type Random, systemClock, systemMonotonic, systemRandom } from './effects.ts';
import type { ServiceError } from './errors.ts';
import { Explanations } from './explaining/explanations.ts';
import { Ordering } from './fleet/postgres/ordering.ts';
import { cursorOf, Shipping } from './fleet/shipping/thread.ts';
import { refusedHere, type ServedParts, servedByReplica } from './fleet/sidecar.ts';
import { ChangeSource } from './fleet/source.ts';
import type { PrincipalRef } from './ids.ts';
import { vkeyOf } from './merkle/keys.ts';
import type { Bundle } from './policy/bundle.ts';
import { Compiler } from './policy/compiler.ts';
import { Fleet } from './policy/intake/fleet.ts';
import { filesReader, putPlace } from './policy/intake/kept-files.ts';
import { TenantPuts } from './policy/intake/put.ts';
import { policyStateOf } from './policy/intake/state.ts';
import { plansBy } from './policy/plan/by-revision.ts';
import { Planner } from './policy/plan/planner.ts';
import { Policies } from './policy/policies.ts';
import { limitsFor } from './policy/proof.ts';
import { Pulls } from './policy/pulling/pulls.ts';
import { Memory } from './policy/pulling/remembered.ts';
import { queriesBy } from './policy/query/by-revision.ts';
import { OpaQueries } from './policy/query/query.ts';
import { Releases } from './policy/revisions/releases.ts';
import { ServedBundles } from './policy/revisions/served.ts';
import { TestGate } from './policy/testing/gate.ts';
import { toServiceError } from './server/errors.ts';
import { devIssuers } from './server/http/dev.ts';
import { Offload } from './server/offload/offload.ts';
import type { Services } from './server/planes.ts';
import {
  archiveOf,
  kmsOf,
  limitsOf,
  pulledTenants,
  retentionOf,
  shippingPlaces,
  sinkSettings,
  tenantLimitsOf,
  witnessPeer,
} from './settings.ts';
import { assembleSidecar, metersOfSidecar } from './sidecar.ts';
import { approvalStore } from './storage/approvals/store.ts';
import { changeStore } from './storage/changes/store.ts';
import type { Connection } from './storage/database.ts';
import type { StoreFault } from './storage/faults.ts';
import { killStore } from './storage/granting/ends.ts';
import { grantLister } from './storage/granting/listing.ts';
import { grantStore } from './storage/grants.ts';
import { StoreHealth } from './storage/health.ts';
import { issuerStore } from './storage/issuers.ts';
import { keyStore } from './storage/keys.ts';
import { leaseStore } from './storage/leases.ts';
import { partStore } from './storage/log/parts.ts';
import { recordStore } from './storage/log/records.ts';
import { LogTrees } from './storage/log/tree.ts';
import { logKeyStore } from './storage/log-keys.ts';
import { memberKeyStore } from './storage/member-keys.ts';
import { principalStore } from './storage/principals/store.ts';
import { useStore } from './storage/principals/uses.ts';
import { putTenantStore } from './storage/put-tenants.ts';
import { type ReceivedStore, receivedStore } from './storage/received/store.ts';
import { revisionStore } from './storage/revisions/store.ts';
import type { TenantNo } from './storage/rows.ts';
import { tenantKeyStore } from './storage/tenant-keys.ts';
import { usageStore } from './storage/usage.ts';
import { volumeStore } from './storage/volume/store.ts';
import type { Writer } from './storage/writer.ts';
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

/** What the services are made from; all of it can be replaced by a test. */
export interface Parts {
  readonly config: Config;
  readonly writer: Writer;
  readonly reader: Connection;
  /** Of its own for principals. */
  readonly directory: Connection;
  readonly clock: Clock;
  readonly random: Random;
  /** The address of the data plane, known once it listens. */
  readonly base: () => string;
  readonly stopping: AbortSignal;
}

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

  const registry = new Registry();
  const registeredIssuers = new RegisteredIssuers();
  const changes = changeStore(reader);
  const versions = new StateVersions((no) => changes.at(no).version);
  const tenants = new Tenants(
    (tenant) => {
      offload?.forget(tenant);
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
  const facts = factSource(principals, (tenant) => offload?.changed(tenant));
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
  const policies = new Policies({
    clock,
    ...limitsOf(config),
    onChange: (tenant) => offload?.forget(tenant),
  });
  const policyOf = (tenant: Tenant, subject?: PrincipalRef) => policies.of(tenant, subject);
  const compilerOptions = {
    opa: config.opa,
    policies: path.join(config.home, 'policies'),
    cache: path.join(config.data_dir, 'policy-cache'),
  };
  const compiler = new Compiler(compilerOptions);
  const health = stack.use(new StoreHealth());
  const revisions = revisionStore(reader);
  const shared = partStore(reader);
  const releases = new Releases({
    tenants,
    policies,
    compiler,
    gate: new TestGate(compilerOptions),
    store: revisions,
    administration,
    clock,
    allowance: limitsOf(config),
    questions: ({ no }, most) => recentQuestions({ records, parts: shared }, no, most),
    activated: (tenant) => void trials.follow(tenant).catch((error) => toServiceError(error, 'policies')),
  });
  const shadows = stack.use(
    new Shadows({
      folder: config.data_dir,
      clock,
      sizeOf: (no) => records.size(no),
      isServed: ({ id }) => tenants.find(id) !== undefined,
      record: (tenant, revision, detail) => {
        const row = administration.record(tenant, 'server', 'policy.shadow', undefined, detail, { revision });
        writer.append(row).catch((error: unknown) => toServiceError(error, 'policies'));
      },
    }),
  );
  const trials = new Trials<Bundle>({
    store: revisions,
    shadows,
    bundleOf: (tenant, revision) => releases.kept.bundleOf(tenant, revision),
    withPackage: (...of) => releases.kept.withPackage(...of),
    activeOf: (tenant) => policies.bundleOf(tenant),
    stage: (tenant, staged) => policies.stage(tenant, staged),
    limitsOf: (tenant) => limitsFor(tenant.manifest, limitsOf(config)),
    write: (...trial) => administration.tryRevision(...trial),
  });
  const pulls = stack.use(
    new Pulls(pulledTenants(config), {
      tenants,
      policies,
      releases,
      store: revisions,
      administration,
      memory: new Memory(path.join(config.data_dir, 'bundles')),
      random,
    }),
  );
  const put = putTenantStore(reader);
  const fleet = stack.use(
    new Fleet({
      pulls,
      tenants,
      policies,
      compiler,
      releases,
      administration,
      clock,
      read: filesReader(put),
      put: () => put.list().map(putPlace),
      watchesAll: config.dev,
    }),
  );

  const issuers = new Issuers(
    clock,
    systemMonotonic,
    config.dev,
    config.dev ? devIssuers(base) : undefined,
    (tenant, issuer) => kills.isIssuerKilled(tenant, issuer),
  );
  const sealed = keyStore(reader);
  const master = {
    file: config.master_key_file ?? path.join(config.data_dir, 'master.key'),
    given: config.masterKey,
  };
  const kms = kmsOf(config);
  const sealing = { store: tenantKeyStore(reader), writer, clock, monotonic: systemMonotonic, random };
  const tenantKeys = kms
    ? stack.use(new KmsTenantKeys({ kms, former: openFormerMaster(master, sealed, random), ...sealing }))
    : new TenantKeys({ source: openMasterKey(master, sealed, random), ...sealing });
  const keys = new Keys({
    store: sealed,
    writer,
    sealing: tenantKeys,
    isPassive: authority !== undefined,
    clock,
    random,
  });
  const logStore = logKeyStore(reader);
  const logKeys = new LogKeys({
    store: logStore,
    trees: new LogTrees(reader),
    writer,
    sealing: tenantKeys,
    originOf: (tenant) => `${issuerOf(tenant).replace(/^https?:\/\//, '')}/log/${config.node}`,
    recordOf: (no, key) => ownRecord(keyMade(no, vkeyOf(key), 'log', 'Ed25519'), clock, random),
    clock,
    random,
  });
  const memberStore = memberKeyStore(reader);
  const memberKeys = new MemberKeys({ store: memberStore, writer, sealing: tenantKeys, clock, random });
  const mlDsaKeys = config.ml_dsa_checkpoints
    ? new MlDsaKeys({
        store: logStore,
        writer,
        sealing: tenantKeys,
        recordOf: (no, key) => ownRecord(keyMade(no, vkeyOf(key), 'log', 'ML-DSA-44'), clock, random),
        clock,
        random,
      })
    : undefined;
  const proofs = new LogProofs(reader, clock);
  const failed = (error: unknown): void => void toServiceError(error, 'checkpoints');
  const witnessing = stack.use(
    new Witnessing({ witnesses: config.witnesses.map(witnessPeer), proofs, writer, failed }),
  );
  // It goes after all that makes records.
  const checkpointer = stack.use(
    new Checkpointer(writer, logKeys, mlDsaKeys, (no) => witnessing.stated(no), failed),
  );
  const presence = stack.use(
    new Presence({
      writer,
      node: config.node,
      version: config.version,
      tenants,
      revisionOf: (tenant) => policies.of(tenant).revision,
      clock,
      random,
    }),
  );
  const places = shippingPlaces(config);
  const received = receivedStore(reader);
  const receiver = new Receiver({
    store: received,
    records,
    trees: new LogTrees(reader),
    writer,
    full: roomFor(reader, config.data_dir, config.max_store_bytes),
    node: config.node,
    clock,
    monotonic: systemMonotonic,
    random,
  });
  const volumes = volumeStore(reader);
  const keeper = stack.use(
    new Keeper({
      folder: config.data_dir,
      writer,
      store: volumes,
      proofs,
      keyOf: (no) => logKeys.of(no),
      tenants: function* () {
        for (const { id, no, manifest } of tenants) {
          const retention = retentionOf(manifest.audit.retention, config.retention);
          yield { id, no, retention };
          for (const other of received.list(no)) yield { id, no: other.no, retention, other };
        }
      },
      reached: (...asked) => received.reached(...asked),
      settings: { maxMib: config.volumes.max_mib, maxDays: config.volumes.max_days },
      archive: archiveOf(config),
      archiveAfterDays: config.archive?.after_days,
      record: ({ id, no, other }, caller, action, detail) => {
        const whole = other ? { ...detail, node: other.node } : detail;
        return administration.record({ id, no: other?.tenantNo ?? no }, caller, action, undefined, whole);
      },
      unsent: unsentOf(reader, [
        ...config.sinks,
        ...places.map(({ url }) => ({ name: cursorOf(url), tenants: ['*'] })),
      ]),
      clock,
      failed: (error) => void toServiceError(error, 'volumes'),
    }),
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

  const sinks = stack.use(
    new Sinks({
      folder: config.data_dir,
      writer,
      sinks: config.sinks.map(sinkSettings),
      failed: (error) => void toServiceError(error, 'sinks'),
    }),
  );

  const shipping = stack.use(
    new Shipping({
      folder: config.data_dir,
      writer,
      places,
      failed: (error) => void toServiceError(error, 'shipping'),
    }),
  );

  const admission = new Admission(clock, config.max_open_decisions);
  const recorder = new Recorder({ policyOf, keys: memberKeys, admission, random });
  const current = ({ id }: Tenant): Tenant | undefined => tenants.find(id);
  const versionOf = (no: TenantNo): number => versions.of(no);
  const common = { facts, kills, policyOf, current, writer, recorder, clock, random, versionOf };
  // Functions do not travel: with a clock or randomness of its own, main decides alone.
  const isSystem = clock === systemClock && random === systemRandom;
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
  const leases = new Leases({ meters, store: leaseStore(reader), writer, clock, random });
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
      waiting: () => writer.waiting + (offload?.waiting ?? 0),
      open: () => admission.open,
      tenants: () => tenants.size,
      degraded: () => fleet.degraded(),
      bundlesStale: () => pulls.stale(),
      threadAnswers: () => offload?.answered ?? 0,
      threads: () => offload?.ready ?? 0,
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
    receiver,
    writer,
    volumes,
    keeper,
    clock,
    base,
    takesCertificates: config.tls?.client_ca !== undefined,
    issuerOf,
    decisions,
    offload,
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
    readiness: {
      ready: () =>
        writer.problem === '' && health.ready && !parts.stopping.aborted && follower?.isComplete !== false,
      problems: () => [
        ...(parts.stopping.aborted ? ['the server stops'] : []),
        ...(writer.problem ? [`store: ${writer.problem}`] : []),
        ...health.problems(),
        ...(ordering?.problem ? [ordering.problem] : []),
        ...(follower && !follower.isComplete
          ? [`authority: ${follower.problem || 'its tenants are on their way'}`]
          : []),
        ...(offload?.problem ? [offload.problem] : []),
      ],
      ofTenants: () => [
        ...logProblems([...health.ofTenants(), ...witnessing.disputes], tenants, received),
        ...receiver.problems(),
        ...shipping.problems(),
        ...tenantKeys.problems().map(({ tenant, why }) => `tenant ${tenant}: its key cannot be had: ${why}`),
        ...fleet.problems(),
        ...(follower?.problems() ?? []),
        ...(ordering?.ofTenants() ?? []),
        ...(freshness.isStale
          ? [`authority: nothing was heard of it for ${Math.round(freshness.ageMs / 1_000)} s`]
          : []),
        ...pulls.problems(),
        ...sinks.problems(),
        ...(keeper.problem ? [`volumes: ${keeper.problem}`] : []),
      ],
    },
    metrics: metrics.text,
    stopping: parts.stopping,
    extAuthz: { tenantHeader: config.ext_authz?.tenant_header },
    dev: config.dev,
  };
  return { services, fleet, checkpointer, keeper, presence, join };
}

const logProblems = (
  faults: readonly Pick<StoreFault, 'tenantNo' | 'text'>[],
  tenants: Tenants,
  received: Pick<ReceivedStore, 'ofNumber'>,
): string[] =>
  faults.map(({ tenantNo, text }) => {
    const of = (number: TenantNo | undefined) => [...tenants].find(({ no }) => no === number)?.id;
    const other = tenantNo === undefined || of(tenantNo) ? undefined : received.ofNumber(tenantNo);
    const where = other ? ` (the log of ${other.node})` : '';
    return `tenant ${of(other?.tenantNo ?? tenantNo) ?? `number ${tenantNo}`}${where}: ${text}`;
  });
