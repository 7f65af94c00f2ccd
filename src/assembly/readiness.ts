import type { Keeper } from '../audit/keeping/keeper.ts';
import type { Receiving } from '../audit/receiving/thread.ts';
import type { Sinks } from '../audit/sinks/thread.ts';
import type { Witnessing } from '../audit/witness/witnessing.ts';
import type { TenantSealing } from '../delegation/keys/tenant-sealing.ts';
import type { Follower } from '../fleet/follower.ts';
import type { Ordering } from '../fleet/postgres/ordering.ts';
import type { Shipping } from '../fleet/shipping/thread.ts';
import type { Fleet } from '../policy/intake/fleet.ts';
import type { Pulls } from '../policy/pulling/pulls.ts';
import type { AcceptingThreads } from '../server/accepting/threads.ts';
import type { Offload } from '../server/offload/offload.ts';
import type { Services } from '../server/planes.ts';
import type { StoreFault } from '../storage/faults.ts';
import type { StoreHealth } from '../storage/health.ts';
import type { ReceivedStore } from '../storage/received/store.ts';
import type { TenantNo } from '../storage/rows.ts';
import type { Writer } from '../storage/writer.ts';
import type { Freshness } from '../tenancy/freshness.ts';
import type { Tenants } from '../tenancy/tenants.ts';

/** What is asked whether it is well. */
export interface Watched {
  readonly writer: Pick<Writer, 'problem'>;
  readonly stopping: AbortSignal;
  readonly health: StoreHealth;
  readonly witnessing: Pick<Witnessing, 'disputes'>;
  readonly receiving: Pick<Receiving, 'problems'>;
  readonly received: Pick<ReceivedStore, 'ofNumber'>;
  readonly shipping: Pick<Shipping, 'problems'>;
  readonly tenants: Tenants;
  readonly tenantKeys: Pick<TenantSealing, 'problems'>;
  readonly fleet: Pick<Fleet, 'problems'>;
  readonly follower: Follower | undefined;
  /** Known once it has its place. */
  readonly ordering: () => Ordering | undefined;
  readonly offload: Pick<Offload, 'problem'> | undefined;
  readonly accepting: Pick<AcceptingThreads, 'problem'> | undefined;
  readonly freshness: Freshness;
  readonly pulls: Pick<Pulls, 'problems'>;
  readonly sinks: Pick<Sinks, 'problems'>;
  readonly keeper: Pick<Keeper, 'problem'>;
}

/** Whether it serves, and all that is wrong, which is told to who may see it. */
export function readinessOf(watched: Watched): Services['readiness'] {
  const { writer, stopping, health, witnessing, receiving, received, shipping, tenants, tenantKeys, fleet } =
    watched;
  const { follower, ordering, offload, accepting, freshness, pulls, sinks, keeper } = watched;
  return {
    ready: () => writer.problem === '' && health.ready && !stopping.aborted && follower?.isComplete !== false,
    problems: () => [
      ...(stopping.aborted ? ['the server stops'] : []),
      ...(writer.problem ? [`store: ${writer.problem}`] : []),
      ...health.problems(),
      ...orderProblem(ordering()),
      ...(follower && !follower.isComplete
        ? [`authority: ${follower.problem || 'its tenants are on their way'}`]
        : []),
      ...(offload?.problem ? [offload.problem] : []),
      ...(accepting?.problem ? [accepting.problem] : []),
    ],
    ofTenants: () => [
      ...logProblems([...health.ofTenants(), ...witnessing.disputes], tenants, received),
      ...receiving.problems(),
      ...shipping.problems(),
      ...tenantKeys.problems().map(({ tenant, why }) => `tenant ${tenant}: its key cannot be had: ${why}`),
      ...fleet.problems(),
      ...(follower?.problems() ?? []),
      ...(ordering()?.ofTenants() ?? []),
      ...(freshness.isStale
        ? [`authority: nothing was heard of it for ${Math.round(freshness.ageMs / 1_000)} s`]
        : []),
      ...pulls.problems(),
      ...sinks.problems(),
      ...(keeper.problem ? [`volumes: ${keeper.problem}`] : []),
    ],
  };
}

const orderProblem = (ordering: Ordering | undefined): string[] =>
  ordering?.problem ? [ordering.problem] : [];

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
