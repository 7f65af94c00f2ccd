import { create } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import type { ServiceImpl } from '@connectrpc/connect';
import { ServiceError } from '../../errors.ts';
import {
  type KeptRevision,
  KeptRevisionSchema,
  type PolicyService,
  type Revision,
  RevisionSchema,
} from '../../gen/mandate/v1/policy_pb.ts';
import { type Contents, filesOf } from '../../policy/revisions/contents.ts';
import type { SourceFile } from '../../policy/sources.ts';
import type { TestResult } from '../../policy/testing/gate.ts';
import type { RevisionRow, Share } from '../../storage/revisions/rows.ts';
import type { RevisionStore } from '../../storage/revisions/store.ts';
import type { Tenant } from '../../tenancy/tenants.ts';
import { admit } from './context.ts';
import { type ReplayParts, replayMethod } from './replay.ts';
import { type TrialParts, trialMethods } from './trial.ts';

const PAGE = 100;
const MAX_PAGE = 1_000;
const MAX_MESSAGE_LENGTH = 1_000;

interface PolicyParts extends ReplayParts, TrialParts {
  /** Compiles and activates, recorded; answers whether the revision changed. Throws `policy_invalid`. */
  readonly reload: (tenant: Tenant, caller: string) => Promise<boolean>;
  readonly revisions: RevisionStore;
}

export function policyService(parts: PolicyParts): ServiceImpl<typeof PolicyService> {
  const { policies, revisions, releases } = parts;
  const revisionOf = (tenant: Tenant): Revision => {
    const active = policies.of(tenant);
    return create(RevisionSchema, {
      tenant: tenant.id,
      revision: active.revision,
      activatedAt: timestampFromMs(active.activatedAt),
      files: [...active.files],
      current: active.rejected.length === 0,
      diagnostics: [...active.rejected],
    });
  };
  /** By its whole name, or a beginning that no other has. */
  const named = (tenant: Tenant, name: string): RevisionRow => {
    const wanted = name.startsWith('sha256:') ? name : `sha256:${name}`;
    const found = /^sha256:[0-9a-f]{4,64}$/.test(wanted) ? revisions.beginning(tenant.no, wanted) : [];
    const [row, other] = found;
    if (!row) throw new ServiceError('not_found', `no revision ${name.slice(0, 80)} is kept`);
    if (other) throw new ServiceError('invalid_request', `several revisions begin with ${name}`);
    return row;
  };
  const shareOf = (tenant: Tenant): Share | undefined => {
    const { share } = revisions.policy(tenant.no);
    return share === '' ? undefined : (JSON.parse(share) as Share);
  };
  return {
    ...replayMethod(parts, (tenant, name) => named(tenant, name).revision),
    ...trialMethods(parts, named),
    async getActiveRevision(message, context) {
      const { tenant } = await admit(parts, context, message.tenant, 'policy.read');
      return { revision: revisionOf(tenant) };
    },
    async reloadPolicy(message, context) {
      const { tenant, caller } = await admit(parts, context, message.tenant, 'policy.activate');
      const changed = await parts.reload(tenant, caller.id);
      return { changed, revision: revisionOf(parts.tenants.get(tenant.id)) };
    },
    async pushRevision(message, context) {
      const { tenant, caller } = await admit(parts, context, message.tenant, 'policy.write');
      if (message.activate) await admit(parts, context, message.tenant, 'policy.activate');
      if (message.message.length > MAX_MESSAGE_LENGTH)
        throw new ServiceError('invalid_request', `a message is at most ${MAX_MESSAGE_LENGTH} characters`);
      const files = message.files.map(({ path, content }) => ({ path, bytes: content }));
      const parent = message.parent === '' ? '' : named(tenant, message.parent).revision;
      const { activate, draft } = message;
      if (activate && draft)
        throw new ServiceError('invalid_request', 'a draft is not made active: its tests are not run');
      const push = { files, message: message.message, parent, activate, draft };
      return { revision: kept(await releases.push(tenant, caller.id, push)) };
    },
    async validateRevision({ tenant: id, revision }, context) {
      const { tenant, caller } = await admit(parts, context, id, 'policy.write');
      return { revision: kept(await releases.validate(tenant, caller.id, named(tenant, revision).revision)) };
    },
    async listRevisions({ tenant: id, limit, before }, context) {
      const { tenant } = await admit(parts, context, id, 'policy.read');
      if (limit > MAX_PAGE) throw new ServiceError('invalid_request', `limit: ${MAX_PAGE} at most`);
      const rows = revisions.list(tenant.no, limit || PAGE, before === 0n ? undefined : Number(before));
      const share = shareOf(tenant);
      return {
        revisions: rows.map((row) => kept(row, undefined, row.state === 'staged' ? share : undefined)),
      };
    },
    async getRevision({ tenant: id, revision, withContents }, context) {
      const { tenant } = await admit(parts, context, id, 'policy.read');
      const row = named(tenant, revision || revisions.policy(tenant.no).active);
      const read = (digest: string): Buffer => revisions.file(tenant.no, digest);
      return { revision: withContents ? kept(row, filesOf(row.contents, read)) : kept(row) };
    },
    async activateRevision({ tenant: id, revision, expected }, context) {
      const { tenant, caller } = await admit(parts, context, id, 'policy.activate');
      const now = expected === '' ? '' : named(tenant, expected).revision;
      const row = await releases.activate(tenant, caller.id, named(tenant, revision).revision, now);
      return { revision: kept(row) };
    },
    async rollBack({ tenant: id, expected }, context) {
      const { tenant, caller } = await admit(parts, context, id, 'policy.activate');
      const now = expected === '' ? '' : named(tenant, expected).revision;
      return { revision: kept(await releases.rollback(tenant, caller.id, now)) };
    },
  };
}

function kept(row: RevisionRow, read?: readonly SourceFile[], share?: Share): KeptRevision {
  const { files } = JSON.parse(row.contents) as Contents;
  const { passed = 0, skipped = 0, coverage } = JSON.parse(row.tests) as Partial<TestResult>;
  return create(KeptRevisionSchema, {
    revision: row.revision,
    number: BigInt(row.number),
    state: row.state,
    parent: row.parent,
    author: row.author,
    message: row.message,
    madeAt: timestampFromMs(row.madeAt),
    activatedAt: row.activatedAt === null ? undefined : timestampFromMs(row.activatedAt),
    tests: { passed, skipped, coverage },
    share: share && { percent: share.percent, principals: [...share.principals] },
    files:
      read?.map(({ path, bytes }) => ({ path, content: Uint8Array.from(bytes) })) ??
      files.map(([path]) => ({ path })),
  });
}
