import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import type { ServiceImpl } from '@connectrpc/connect';
import type { Shadows } from '../../decision/replay/shadows.ts';
import type { Trials } from '../../decision/replay/trials.ts';
import { ServiceError } from '../../errors.ts';
import type { PolicyService } from '../../gen/mandate/v1/policy_pb.ts';
import { principalClass } from '../../ids.ts';
import type { Bundle } from '../../policy/bundle.ts';
import { fourEyes, isDraft, type Releases } from '../../policy/revisions/releases.ts';
import type { RevisionRow, Share } from '../../storage/revisions/rows.ts';
import type { Callers } from '../../tenancy/callers.ts';
import type { Tenant, Tenants } from '../../tenancy/tenants.ts';
import { admit } from './context.ts';
import { reportOf } from './replay.ts';

const MAX_PRINCIPALS = 1_000;

export interface TrialParts {
  readonly tenants: Tenants;
  readonly callers: Callers;
  readonly shadows: Shadows;
  readonly trials: Trials<Bundle>;
  readonly releases: Releases;
}

/** What of a revision is tried before it is active for all. */
export const trialMethods = (
  parts: TrialParts,
  named: (tenant: Tenant, name: string) => RevisionRow,
): Pick<ServiceImpl<typeof PolicyService>, 'setShadow' | 'getShadow' | 'setStaged'> => ({
  async setShadow({ tenant: id, revision, package: only }, context) {
    const { tenant, caller } = await admit(parts, context, id, 'policy.write');
    if (revision === '') {
      if (only !== '') throw new ServiceError('invalid_request', 'package: of which revision?');
      await parts.trials.shadow(tenant, caller.id, '', '');
      return {};
    }
    const { revision: name, state } = named(tenant, revision);
    if (state === 'draft') throw isDraft(name);
    const packages = await parts.releases.kept.differing(tenant, name);
    await parts.trials.shadow(tenant, caller.id, name, only);
    return { packages };
  },
  async getShadow({ tenant: id }, context) {
    await admit(parts, context, id, 'policy.read');
    const { tenant } = await admit(parts, context, id, 'audit.read');
    const shadow = parts.shadows.of(tenant);
    if (!shadow) return {};
    const { revision, only, since, tally, behind, problem } = shadow;
    return {
      revision,
      package: only,
      since: timestampFromMs(since),
      report: reportOf(tally),
      behind: BigInt(behind),
      // What failed is in the operator's log.
      problem: problem === '' ? '' : 'it is asked no more: a restart, or setting it again, asks it anew',
    };
  },
  async setStaged({ tenant: id, revision, share }, context) {
    const { tenant, caller } = await admit(parts, context, id, 'policy.activate');
    if (revision === '') {
      await parts.trials.stage(tenant, caller.id, '', { percent: 0, principals: [] });
      return {};
    }
    const row = named(tenant, revision);
    if (row.state === 'draft') throw isDraft(row.revision);
    if (tenant.manifest.policy.four_eyes && row.author === caller.id && row.activatedAt === null)
      throw fourEyes();
    await parts.trials.stage(tenant, caller.id, row.revision, shareIn(share));
    return {};
  },
});

function shareIn({ percent = 0, principals = [] }: { percent?: number; principals?: string[] } = {}): Share {
  if (!(percent >= 0 && percent <= 100))
    throw new ServiceError('invalid_request', 'share.percent is between 0 and 100');
  if (principals.length > MAX_PRINCIPALS)
    throw new ServiceError('invalid_request', `share.principals: ${MAX_PRINCIPALS} at most`);
  for (const name of principals) {
    principalClass(name.slice(0, Math.max(0, name.indexOf(':'))));
    if (name.endsWith(':') || name.length > 300)
      throw new ServiceError('invalid_request', 'share.principals are class:id');
  }
  if (percent === 0 && principals.length === 0)
    throw new ServiceError('invalid_request', 'share: a percent, or principals');
  return { percent, principals };
}
