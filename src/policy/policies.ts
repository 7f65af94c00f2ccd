import { channel } from 'node:diagnostics_channel';
import type { Clock } from '../effects.ts';
import type { PrincipalRef, TenantId } from '../ids.ts';
import type { Share } from '../storage/revisions/rows.ts';
import type { Tenant } from '../tenancy/tenants.ts';
import { Active, type ActivePolicy, noPolicy } from './active.ts';
import type { Bundle } from './bundle.ts';
import type { Diagnostic } from './diagnostics.ts';
import type { Limits as PolicyLimits } from './engine/instance.ts';
import { type FailureListener, PolicyHealth } from './health.ts';
import { Instances } from './instances.ts';
import { limitsFor, type Proven, prove } from './proof.ts';
import { isIn } from './share.ts';

/** Published when a tenant's revision changes: {tenant, revision}. */
export const activationChannel = channel('mandate:policy.activated');

export interface PoliciesOptions {
  readonly clock: Clock;
  /** What an evaluation may spend unless the tenant's manifest says otherwise. */
  readonly fuel: number;
  readonly memoryMib: number;
  /** How many instances are kept, of all revisions. */
  readonly maxInstances: number;
  /** Hears of every evaluation that failed by the policy's own fault. */
  readonly onFailure?: FailureListener | undefined;
  /** Hears of every change of what `of` answers, right after it. */
  readonly onChange?: ((tenant: TenantId) => void) | undefined;
}

/** What decides for some, and for whom. */
export interface Staged {
  readonly bundle: Bundle;
  readonly share: Share;
}

/** Where the failures of a staged policy are counted: apart from those of the active one. */
const stagedSlot = (tenant: TenantId): TenantId => `${tenant} staged` as TenantId;

/**
 * The active policies. Each tenant evaluates in a memory that holds nothing of another's: an instance of its own, or one
 * that is made as new before it (`Circle`). Tenants on the same revision share the compiled module, which holds no state.
 */
export class Policies {
  readonly #options: PoliciesOptions;
  readonly health: PolicyHealth;
  readonly #active = new Map<TenantId, Active>();
  readonly #staged = new Map<TenantId, { readonly policy: Active; readonly share: Share }>();
  /** Tenants whose first policy did not compile, and why. */
  readonly #absent = new Map<TenantId, ActivePolicy>();
  readonly #revisions = new Map<string, Proven>();
  readonly #instances: Instances;

  constructor(options: PoliciesOptions) {
    this.#options = options;
    this.health = new PolicyHealth(options.onFailure);
    this.#instances = new Instances(options.maxInstances);
  }

  /**
   * The tenant's active policy; for a subject what decides for it, where something is staged. Until the tenant has one,
   * every evaluation throws `policy_undefined`.
   */
  of(tenant: Tenant, subject?: PrincipalRef): ActivePolicy {
    const active = this.#active.get(tenant.id);
    if (!active) return this.#absent.get(tenant.id) ?? noPolicy;
    if (this.#staged.size === 0 || subject === undefined) return active;
    const staged = this.#staged.get(tenant.id);
    return staged && isIn(staged.share, tenant.id, subject) ? staged.policy : active;
  }

  /** What decides for some of the tenant's principals; undefined where nothing does. */
  stagedOf(tenant: Tenant): Staged | undefined {
    const staged = this.#staged.get(tenant.id);
    return staged && { bundle: staged.policy.bundle, share: staged.share };
  }

  /**
   * Lets a bundle decide for some of the tenant's principals, at once and whole; `undefined` ends that. What the active
   * policy keeps out of records stays out. Throws `policy_invalid`.
   */
  stage(tenant: Tenant, staged: Staged | undefined): void {
    const before = this.#staged.get(tenant.id);
    if (staged) {
      const limits = limitsFor(tenant.manifest, this.#options);
      const shared = this.#shared(staged.bundle, limits);
      before?.policy.end();
      const policy = this.#made(stagedSlot(tenant.id), staged.bundle, limits, shared);
      this.#staged.set(tenant.id, { policy, share: staged.share });
    } else if (before) this.#unstage(tenant.id);
    else return;
    if (before) this.#forget(before.policy.revision);
    this.#options.onChange?.(tenant.id);
  }

  #unstage(tenant: TenantId): void {
    this.#staged.get(tenant)?.policy.end();
    this.#staged.delete(tenant);
  }

  /** What the tenant's active revision was made from; undefined if it has none. */
  bundleOf(tenant: Tenant): Bundle | undefined {
    return this.#active.get(tenant.id)?.bundle;
  }

  /**
   * Proves that a bundle can be the tenant's policy, so that after its activation was recorded it cannot fail. Answers
   * whether it would change the revision. Throws `policy_invalid`.
   */
  prove(tenant: Tenant, bundle: Bundle): boolean {
    this.#shared(bundle, limitsFor(tenant.manifest, this.#options));
    return this.#active.get(tenant.id)?.revision !== bundle.revision;
  }

  /** What was proven and is not activated after all. */
  discard(bundle: Bundle): void {
    this.#forget(bundle.revision);
  }

  /**
   * Makes a bundle the tenant's policy, at once and whole: a request evaluates the old revision or the new one.
   * Answers whether anything changed. Throws `policy_invalid`, and then the old revision stays.
   */
  activate(tenant: Tenant, bundle: Bundle): boolean {
    const limits = limitsFor(tenant.manifest, this.#options);
    const before = this.#active.get(tenant.id);
    const unchanged = before?.revision === bundle.revision;
    if (unchanged && before.limits.fuel === limits.fuel && before.limits.memoryPages === limits.memoryPages) {
      before.rejected = [];
      return false;
    }
    const shared = this.#shared(bundle, limits);
    before?.end();
    this.#absent.delete(tenant.id);
    this.#active.set(tenant.id, this.#made(tenant.id, bundle, limits, shared));
    if (before && !unchanged) this.#forget(before.revision);
    this.#options.onChange?.(tenant.id);
    if (activationChannel.hasSubscribers)
      activationChannel.publish({ tenant: tenant.id, revision: bundle.revision, changed: !unchanged });
    return !unchanged;
  }

  #made(slot: TenantId, bundle: Bundle, limits: PolicyLimits, shared: Proven): Active {
    const circle = this.#instances.of(shared, limits);
    return new Active(slot, bundle, this.#options.clock(), limits, circle, this.health);
  }

  /** Of a tenant that is served no more: whoever holds on to it is denied. */
  retire(tenant: TenantId): void {
    const before = this.#active.get(tenant);
    this.#active.delete(tenant);
    this.#absent.delete(tenant);
    before?.end();
    const staged = this.#staged.get(tenant);
    this.#unstage(tenant);
    if (staged) this.#forget(staged.policy.revision);
    if (before) this.#forget(before.revision);
    this.#options.onChange?.(tenant);
  }

  /**
   * Remembers why the files on disk were not taken. `masks` says whether they keep something out of records: until they
   * compile nobody can say what, so all that may be is kept out.
   */
  reject(tenant: Tenant, diagnostics: readonly Diagnostic[], masks: boolean): void {
    const active = this.#active.get(tenant.id);
    if (active) active.rejected = diagnostics;
    else this.#absent.set(tenant.id, { ...noPolicy, masks, rejected: diagnostics });
  }

  /** What tenants on a revision share, proven in the least memory that any of them has. */
  #shared(bundle: Bundle, limits: PolicyLimits): Proven {
    const known = this.#revisions.get(bundle.revision);
    if (known && known.memoryPages <= limits.memoryPages) return known;
    const proven = prove(bundle, limits, known?.module);
    // Instances know each other's revision by what they share of it, so that stays the same.
    if (known) known.memoryPages = limits.memoryPages;
    else this.#revisions.set(bundle.revision, proven);
    return known ?? proven;
  }

  /** Drops what is shared of a revision that no tenant runs any more. */
  #forget(revision: string): void {
    for (const active of this.#active.values()) if (active.revision === revision) return;
    for (const { policy } of this.#staged.values()) if (policy.revision === revision) return;
    this.#revisions.delete(revision);
  }
}
