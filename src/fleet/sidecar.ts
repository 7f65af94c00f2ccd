import { ServiceError } from '../errors.ts';
import type { TenantId } from '../ids.ts';
import { reachOf } from '../storage/changes/reach.ts';
import type { ChangeStore } from '../storage/changes/store.ts';
import type { TenantNo } from '../storage/rows.ts';
import type { Order } from '../storage/writer.ts';
import type { Administration } from '../tenancy/administration.ts';
import type { FactSource } from '../tenancy/facts.ts';
import type { Kills } from '../tenancy/kills.ts';
import type { StateVersions } from '../tenancy/state-versions.ts';
import { readManifest, type Tenant, type Tenants } from '../tenancy/tenants.ts';
import type { ReplicaHooks } from './replica.ts';

export interface ServedParts {
  readonly store: ChangeStore;
  readonly tenants: Tenants;
  readonly administration: Pick<Administration, 'follow'>;
  readonly facts: FactSource;
  readonly kills: Pick<Kills, 'changed'>;
  readonly keys: { changed(tenant: Tenant): void };
  readonly releases: { follow(tenant: Tenant): Promise<void> };
  readonly trials: { follow(tenant: Tenant): Promise<void> };
  readonly policies: { retire(tenant: TenantId): void };
  readonly versions: StateVersions;
  /** Called with one that was retired. */
  readonly left: (id: TenantId) => Promise<void>;
  /** Called where keys of sealed members were destroyed. */
  readonly erased: (no: TenantNo) => void;
  /** Called with a tenant before it is first served. */
  readonly served: (tenant: Tenant) => Promise<unknown>;
}

/** After these the policy may be another. */
const OF_POLICY: ReadonlySet<string> = new Set(['keepRevision', 'tryRevision', 'putManifest']);

/** Brings what decides into line with the store, where another server's changes come into it. */
export function servedByReplica(parts: ServedParts): ReplicaHooks {
  const {
    store,
    tenants,
    administration,
    facts,
    kills,
    keys,
    releases,
    trials,
    policies,
    versions,
    erased,
    left,
  } = parts;
  /** Where those stand that are not served for a while: they come back to their own folder. */
  const stood = new Map<TenantId, Pick<Tenant, 'folder' | 'root'>>();
  const gone = (id: TenantId): void => {
    const before = tenants.find(id);
    if (before) stood.set(id, { folder: before.folder, root: before.root });
    tenants.remove(id);
    policies.retire(id);
    if (before) facts.changed(before);
  };
  const built = async (id: TenantId, no: TenantNo): Promise<Tenant> => {
    const text = store.manifest(no);
    if (text === undefined)
      throw new ServiceError('unavailable', 'the authority has no manifest of the tenant');
    const { folder = '', root = '' } = tenants.find(id) ?? stood.get(id) ?? {};
    const source = await readManifest({ folder, root }, text);
    if (source.id !== id) throw new ServiceError('unavailable', `its manifest is that of ${source.id}`);
    return administration.follow(source, no);
  };
  return {
    stale(id) {
      const before = tenants.find(id);
      if (!before) return;
      facts.changed(before);
      kills.changed(before);
    },
    async refresh(id, no, changes, isOver) {
      if (!changes || changes.has('destroyMemberKeys')) erased(no);
      const before = tenants.find(id);
      if (store.manifest(no) === undefined) {
        await left(id);
        gone(id);
        stood.delete(id);
        return;
      }
      if (before) {
        facts.changed(before);
        kills.changed(before);
        keys.changed(before);
      }
      let tenant: Tenant;
      try {
        tenant = await built(id, no);
      } catch (error) {
        // What it was is over, and what it is nobody knows.
        gone(id);
        throw error;
      }
      kills.changed(tenant);
      keys.changed(tenant);
      if (!before) await parts.served(tenant);
      if (isOver()) return;
      tenants.put(tenant);
      facts.changed(tenant);
      if (before && changes && ![...changes].some((name) => OF_POLICY.has(name))) return;
      await releases.follow(tenant);
      await trials.follow(tenant);
    },
    reached: (no, version) => versions.reached(no, version),
    set: (no, version) => versions.set(no, version),
    retire: (id) => {
      gone(id);
      return Promise.resolve();
    },
  };
}

/** A sidecar changes nothing that is the same wherever a tenant is served, and counts nothing. */
export const refusedHere: Order = (name) => {
  const isKey = name === 'putTenantKey' || name === 'sealTenantKey';
  if (reachOf(name) === 'node' || isKey) return undefined;
  return Promise.reject(
    new ServiceError('unavailable', 'this is a sidecar: an authority does that, and was not asked for it', {
      detail: name,
    }),
  );
};
