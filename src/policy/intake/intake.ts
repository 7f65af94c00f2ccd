import { channel } from 'node:diagnostics_channel';
import type { TenantId } from '../../ids.ts';
import type { Administration } from '../../tenancy/administration.ts';
import type { readTenantFiles, TenantFiles } from '../../tenancy/folder/read.ts';
import { MANIFEST, ManifestInvalid } from '../../tenancy/manifest-invalid.ts';
import { readTenant, type Tenant, type Tenants } from '../../tenancy/tenants.ts';
import { Turns } from '../../turns.ts';
import type { Policies } from '../policies.ts';
import type { Pulls } from '../pulling/pulls.ts';
import type { Releases } from '../revisions/releases.ts';
import { keepsOut } from '../sources.ts';
import { diagnosticsIn, isMistake, untaken } from './rejections.ts';
import { Retries } from './retries.ts';

/** Published when files on disk were not taken: {tenant, diagnostics, kept: the revision that stays}. */
export const rejectionChannel = channel('mandate:policy.rejected');

/** Published when files that were not taken are mended, and the revision stays: {tenant, revision}. */
export const mendingChannel = channel('mandate:policy.mended');

/** For how long a folder that changed must stand still; a save in place takes a fraction of it. In milliseconds. */
export const QUIET_MS = 20;

export interface IntakeParts {
  readonly tenants: Tenants;
  readonly policies: Policies;
  readonly releases: Releases;
  readonly administration: Administration;
  /** Tenants whose policy is pulled from elsewhere. */
  readonly pulls?: Pick<Pulls, 'has' | 'enter' | 'forget'> | undefined;
  /** Reads a tenant's files where it stands. */
  readonly read: typeof readTenantFiles;
}

/** A look at a tenant's folder; numbers rise. */
interface Look {
  readonly tenant: Tenant;
  readonly caller: string;
  readonly number: number;
  /** Whether somebody asked for just what stands there. */
  readonly isAsked: boolean;
}

/** How many looks there were, and what the newest found, until it is loaded. */
interface Looks {
  begun: number;
  found: (Look & { readonly files: TenantFiles }) | undefined;
}

/**
 * Takes what stands in the folders of tenants: the manifest at once, the policy when it is compiled. Of what was saved
 * in quick succession the newest counts.
 */
export class Intake implements Disposable {
  readonly #parts: IntakeParts;
  /** A manifest is taken, and Rego compiled, one after the other, and neither waits for the other. */
  readonly #taking = new Turns<TenantId>();
  readonly #loading = new Turns<TenantId>();
  readonly #looks = new Map<TenantId, Looks>();
  readonly #retries = new Retries<TenantId>();
  /** What still loads ends without a word, as it would be about the end alone. */
  #isOver = false;

  constructor(parts: IntakeParts) {
    this.#parts = parts;
  }

  /** Loads what was read of a tenant whose manifest is taken. Resolves also where it could not be loaded. */
  async enter(tenant: Tenant, files: TenantFiles): Promise<void> {
    const number = this.#begin(tenant.id);
    await this.#queue({ tenant, files, caller: 'start', number, isAsked: false }).catch(() => undefined);
  }

  /**
   * Reads the tenant's folder again, for a caller. Throws `policy_invalid` or `config_invalid`, and the old stays;
   * `unavailable` or `audit_unavailable` where it cannot be taken now, and then it is tried again.
   */
  async reload(tenant: Tenant, caller: string): Promise<boolean> {
    return (await this.#look(tenant, caller, true))();
  }

  /**
   * Takes the manifest as it is now. What it answers resolves when the Rego beside it is compiled, which may take a
   * minute: whoever is disabled is not allowed for as long.
   */
  async #look(tenant: Tenant, caller: string, isAsked: boolean): Promise<() => Promise<boolean>> {
    const number = this.#begin(tenant.id);
    const taken = this.#taking.run(tenant.id, () => this.#take(tenant));
    const next = taken.then(
      (both) => this.#queue({ ...both, caller, number, isAsked }),
      (error: unknown) => this.#missed({ tenant, caller, number, isAsked }, error),
    );
    next.catch(() => undefined);
    await taken.catch(() => undefined);
    return () => next;
  }

  #begin(tenant: TenantId): number {
    const looks = this.#looks.get(tenant) ?? { begun: 0, found: undefined };
    this.#looks.set(tenant, looks);
    looks.begun += 1;
    return looks.begun;
  }

  /** Answers whether the revision changed: false also where a newer look is to decide that. */
  #queue(found: Look & { files: TenantFiles }): Promise<boolean> {
    const looks = this.#looks.get(found.tenant.id);
    if (looks) looks.found = found;
    return this.#loading.run(found.tenant.id, async () => {
      if (looks?.found !== found) return false;
      looks.found = undefined;
      return this.#load(found);
    });
  }

  async #take(tenant: Tenant): Promise<{ tenant: Tenant; files: TenantFiles }> {
    const { administration, tenants, read } = this.#parts;
    const files = await read(tenant, QUIET_MS);
    const source = await readTenant(files);
    if (source.id !== tenant.id)
      throw new ManifestInvalid(MANIFEST, 'id: it does not change while the tenant is served');
    // A manifest that parses counts at once, whatever the Rego beside it: a credential taken out of it is gone.
    const current = await administration.adopt(source, (adopted) => {
      if (this.#isServed(adopted)) tenants.put(adopted);
    });
    return { tenant: current, files };
  }

  /** A mistake is told after what was saved before it has been loaded; what failed is tried again from now on. */
  async #missed(look: Look, error: unknown): Promise<never> {
    const tell = (): Promise<void> => this.#notTaken(look, error, MANIFEST);
    await (isMistake(error) ? this.#loading.run(look.tenant.id, tell) : tell());
    throw error;
  }

  async #load(look: Look & { files: TenantFiles }): Promise<boolean> {
    const { policies, releases } = this.#parts;
    const { tenant, files, caller } = look;
    if (this.#parts.pulls?.has(tenant.id)) {
      // What comes of it is told by whoever pulls.
      this.#settle(look);
      return this.#parts.pulls.enter(tenant, look, files.files.size > 0);
    }
    try {
      const before = policies.of(tenant);
      const isMended = before.rejected.length > 0;
      const isServed = (): boolean => this.#isServed(tenant);
      const changed = await releases.take(tenant, files, { caller, isAsked: look.isAsked, isServed });
      if (!isServed()) return false;
      this.#settle(look);
      // A policy that was made anew is announced as activated.
      if (isMended && policies.of(tenant) === before && mendingChannel.hasSubscribers)
        mendingChannel.publish({ tenant: tenant.id, revision: before.revision });
      return changed;
    } catch (error) {
      await this.#notTaken(look, error, 'policy', files);
      throw error;
    }
  }

  /** Says so and records it. What was nobody's mistake is tried again instead, until it is taken or shown to be one. */
  async #notTaken(look: Look, error: unknown, what: string, files?: TenantFiles): Promise<void> {
    if (!this.#isServed(look.tenant)) return;
    const { policies, administration } = this.#parts;
    const { tenant, caller } = look;
    const again = (): void => this.#retries.plan(tenant.id, () => this.changed(tenant.id, caller));
    const diagnostics = isMistake(error) ? diagnosticsIn(error, what) : [untaken(error)];
    const isNews = JSON.stringify(policies.of(tenant).rejected) !== JSON.stringify(diagnostics);
    policies.reject(tenant, diagnostics, files !== undefined && keepsOut(files));
    const kept = policies.of(tenant).revision;
    if ((isMistake(error) || isNews) && rejectionChannel.hasSubscribers)
      rejectionChannel.publish({ tenant: tenant.id, diagnostics, kept });
    if (!isMistake(error)) return again();
    const settle = (): void => this.#settle(look);
    await administration.recordRefusedPolicy(tenant, caller, kept, error).then(settle, again);
  }

  /** What a newer look failed at is still to be tried again. */
  #settle({ tenant, number }: Look): void {
    if (this.#looks.get(tenant.id)?.begun === number) this.#retries.settle(tenant.id);
  }

  /** Resolves when the manifest is taken, so that the next save of it does not wait for the compiler. */
  async changed(tenant: TenantId, caller = 'watch'): Promise<void> {
    await this.#look(this.#parts.tenants.get(tenant), caller, false);
  }

  /** Its folder may have gone meanwhile. */
  #isServed({ id }: Tenant): boolean {
    return !this.#isOver && this.#parts.tenants.find(id) !== undefined;
  }

  /** Of a tenant that is served no more. What is under way comes to nothing. */
  forget(tenant: TenantId): void {
    this.#looks.delete(tenant);
    this.#retries.settle(tenant);
    this.#parts.pulls?.forget(tenant);
  }

  [Symbol.dispose](): void {
    this.#isOver = true;
    this.#retries[Symbol.dispose]();
  }
}
