import { timestampMs } from '@bufbuild/protobuf/wkt';
import type { HandlerContext, ServiceImpl } from '@connectrpc/connect';
import type { Reads } from '../../audit/reads.ts';
import type { Replays } from '../../decision/replay/replays.ts';
import type { Selection } from '../../decision/replay/run.ts';
import type { Tally } from '../../decision/replay/tally.ts';
import { ServiceError } from '../../errors.ts';
import type { PolicyService, ReplayRequest } from '../../gen/mandate/v1/policy_pb.ts';
import { principalClass } from '../../ids.ts';
import type { Policies } from '../../policy/policies.ts';
import { limitsFor } from '../../policy/proof.ts';
import type { Releases } from '../../policy/revisions/releases.ts';
import type { RecordStore } from '../../storage/log/records.ts';
import type { Callers } from '../../tenancy/callers.ts';
import type { Tenant, Tenants } from '../../tenancy/tenants.ts';
import { admit } from './context.ts';

const DEFAULT_LAST = 100_000;
/** How often it says how far it is. */
const NEWS_MS = 100;

export interface ReplayParts {
  readonly tenants: Tenants;
  readonly callers: Callers;
  readonly policies: Policies;
  readonly releases: Releases;
  readonly records: RecordStore;
  readonly replays: Replays;
  readonly reads: Reads;
  /** What the operator allows. */
  readonly allowance: { readonly fuel: number; readonly memoryMib: number };
  readonly stopping: AbortSignal;
}

/** Who may see what others asked, and the policy that answers them. */
export const replayMethod = (
  parts: ReplayParts,
  named: (tenant: Tenant, name: string) => string,
): Pick<ServiceImpl<typeof PolicyService>, 'replay'> => ({
  async *replay(message: ReplayRequest, context: HandlerContext) {
    const { policies, releases, records, replays, reads, allowance, stopping } = parts;
    await admit(parts, context, message.tenant, 'policy.read');
    const { tenant, caller } = await admit(parts, context, message.tenant, 'audit.read');
    const selection = selectionIn(message, tenant, records.size(tenant.no));
    const candidate = await releases.kept.bundleOf(tenant, named(tenant, message.revision));
    const base = policies.bundleOf(tenant);
    const limits = limitsFor(tenant.manifest, allowance);
    const note = (count: number): void =>
      reads.note({
        tenantNo: tenant.no,
        tenant: tenant.id,
        caller: caller.id,
        operation: 'audit.replay',
        filter: { revision: candidate.revision },
        records: count,
      });
    note(0);
    const signal = AbortSignal.any([context.signal, stopping]);
    let told = performance.now();
    let passed = 0;
    try {
      for await (const news of replays.run({ candidate, base, limits, selection }, signal)) {
        passed = news.passed;
        const place = { passed: BigInt(passed), total: BigInt(news.total) };
        if (news.tally) yield { ...place, report: reportOf(news.tally) };
        else if (performance.now() - told > NEWS_MS) {
          told = performance.now();
          yield place;
        }
      }
    } finally {
      note(passed);
    }
  },
});

function selectionIn(
  { last, since, until, principalClass: cls }: ReplayRequest,
  tenant: Tenant,
  size: number,
): Selection {
  const [from, to] = [since ? timestampMs(since) : undefined, until ? timestampMs(until) : undefined];
  if (from !== undefined && to !== undefined && from >= to)
    throw new ServiceError('invalid_request', 'since is not before until');
  const most = last > 0n ? Number(last) : from === undefined && to === undefined ? DEFAULT_LAST : size;
  return {
    tenantNo: tenant.no,
    from: Math.max(0, size - most),
    to: size,
    since: from ?? 0,
    until: to ?? Number.POSITIVE_INFINITY,
    principalClass: cls === '' ? undefined : principalClass(cls),
  };
}

export const reportOf = ({ counts, groups, examples }: Tally) => ({
  replayed: BigInt(counts.replayed),
  changed: BigInt(counts.changed),
  unasked: BigInt(counts.unasked),
  partial: BigInt(counts.partial),
  drifted: BigInt(counts.drifted),
  failed: BigInt(counts.failed),
  groups: [...groups.values()]
    .sort((a, b) => b.count - a.count)
    .map(({ count, ...group }) => ({ ...group, count: BigInt(count) })),
  examples: examples
    .toSorted((a, b) => a.index - b.index)
    .map(({ index, ...example }) => ({ ...example, actors: [...example.actors], index: BigInt(index) })),
});
