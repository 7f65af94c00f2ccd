import { channel } from 'node:diagnostics_channel';
import type { Clock } from '../effects.ts';
import { describe, ServiceError } from '../errors.ts';
import type { TenantId } from '../ids.ts';
import type { Administration } from '../tenancy/administration.ts';
import type { TenantPlace } from '../tenancy/folder/list.ts';
import { tenantPlaces } from '../tenancy/folder/places.ts';
import { readTenantFiles, type TenantFiles } from '../tenancy/folder/read.ts';
import { MANIFEST, ManifestInvalid } from '../tenancy/manifest-invalid.ts';
import { readTenant, type Tenant, type Tenants } from '../tenancy/tenants.ts';
import type { Compiler } from './compiler.ts';
import type { Policies } from './policies.ts';
import { diagnosticsIn, isMistake, rejectionOf, untaken } from './rejections.ts';
import { Retries } from './retries.ts';
import { sourcesOf } from './sources.ts';
import { watchFolder } from './watch.ts';

/** Published when files on disk were not taken: {tenant, diagnostics, kept: the revision that stays}. */
export const rejectionChannel = channel('mandate:policy.rejected');

/** Published when files that were not taken are mended, and the revision stays: {tenant, revision}. */
export const mendingChannel = channel('mandate:policy.mended');

/** How many tenants are loaded at once: they share the commits of what they store. The compiler has its own bound. */
const PARALLEL = 64;

/** For how long a folder that changed must stand still; a save in place takes a fraction of it. In milliseconds. */
const QUIET_MS = 20;

interface FleetParts {
  readonly tenants: Tenants;
  readonly policies: Policies;
  readonly compiler: Compiler;
  readonly administration: Administration;
  readonly clock: Clock;
}

/** A folder on its way in. However long each takes to read, tenants come in the order of their folders. */
interface Entry {
  readonly place: TenantPlace;
  /** The one before it is in, and says so; this one says so too. */
  readonly before: Promise<void>;
  readonly isIn: () => void;
  /** Something was saved before the tenant was known. */
  isMissed: boolean;
  id: TenantId | undefined;
}

/** The tenants' folders: loaded at start, watched, and loaded again when a file changes. */
export class Fleet implements Disposable {
  readonly #parts: FleetParts;
  readonly #watches: Disposable[] = [];
  readonly #retries = new Retries<TenantId>();
  /** Of folders whose tenant is not known yet. */
  readonly #entering = new Retries<string>();
  /** Loads of one tenant run one after the other. */
  readonly #queue = new Map<string, Promise<unknown>>();
  /** Folders whose tenant the store could not take, with its error; each is tried again until it can. */
  readonly #waiting = new Map<string, unknown>();
  /** The server does not start, or stops: what still loads ends without a word, as it would be about the end alone. */
  #isOver = false;

  constructor(parts: FleetParts) {
    this.#parts = parts;
  }

  /**
   * Loads every tenant. Throws `config_invalid` for a manifest that does not parse; a policy that does not compile is
   * reported, and its tenant denies until it does.
   */
  async load(places: readonly string[]): Promise<void> {
    const next = places.flatMap(tenantPlaces).values();
    let turn = Promise.resolve();
    const loader = async (): Promise<void> => {
      for (const place of next) {
        if (this.#isOver) return;
        const before = turn;
        const { promise, resolve } = Promise.withResolvers<void>();
        turn = promise;
        await this.#add({ place, before, isIn: resolve, isMissed: false, id: undefined });
      }
    };
    try {
      await Promise.all(Array.from({ length: PARALLEL }, loader));
    } catch (error) {
      this.#isOver = true;
      throw error;
    }
  }

  async #add(entry: Entry): Promise<void> {
    const { folder } = entry.place;
    const changed = async (): Promise<void> => {
      if (entry.id === undefined) entry.isMissed = true;
      else await this.#changed(entry.id);
    };
    // Watched before it is read, so that nothing is saved in between.
    this.#watches.push(watchFolder(folder, changed));
    try {
      await this.#enter(entry);
    } catch (error) {
      // No fault of the tenant's, and a server that does not start says less than one that is not ready.
      if (isMistake(error)) throw error;
      this.#wait(entry, error);
    }
  }

  async #enter(entry: Entry): Promise<void> {
    const { place } = entry;
    const files = await readTenantFiles(place);
    const tenant = await this.#parts.administration.adopt(await readTenant(files));
    await entry.before;
    const twin = this.#parts.tenants.find(tenant.id);
    if (twin)
      throw new ServiceError(
        'config_invalid',
        `tenant ${tenant.id} stands in ${twin.folder} and in ${place.folder}`,
      );
    this.#waiting.delete(place.folder);
    this.#entering.settle(place.folder);
    this.#parts.tenants.put(tenant);
    entry.isIn();
    await this.#load(tenant, 'start', files).catch(() => undefined);
    entry.id = tenant.id;
    if (entry.isMissed) void this.#changed(tenant.id);
  }

  #wait(entry: Entry, error: unknown): void {
    const { folder } = entry.place;
    if (this.#isOver) return;
    entry.isIn();
    this.#waiting.set(folder, error);
    this.#entering.plan(folder, () => this.#enter(entry).catch((cause: unknown) => this.#wait(entry, cause)));
  }

  /**
   * Reads the tenant's folder again, for a caller. Throws `policy_invalid` or `config_invalid`, and the old stays;
   * `unavailable` or `audit_unavailable` where it cannot be taken now, and then it is tried again.
   */
  reload(tenant: Tenant, caller: string): Promise<boolean> {
    const before = this.#queue.get(tenant.id) ?? Promise.resolve();
    const after = before.then(() => this.#refresh(tenant, caller));
    this.#queue.set(
      tenant.id,
      after.catch(() => undefined),
    );
    return after;
  }

  async #refresh(tenant: Tenant, caller: string): Promise<boolean> {
    const { administration, tenants } = this.#parts;
    let current: Tenant;
    let files: TenantFiles;
    try {
      files = await readTenantFiles(tenant, QUIET_MS);
      const source = await readTenant(files);
      if (source.id !== tenant.id)
        throw new ManifestInvalid(MANIFEST, 'id: it does not change while the tenant is served');
      current = await administration.adopt(source);
    } catch (error) {
      await this.#notTaken(tenant, caller, error, MANIFEST);
      throw error;
    }
    // A manifest that parses counts at once, whatever the Rego beside it: a credential taken out of it is gone.
    tenants.put(current);
    return this.#load(current, caller, files);
  }

  /** What decides was recorded before: a revision whose activation cannot be recorded does not decide. */
  async #load(tenant: Tenant, caller: string, files: TenantFiles): Promise<boolean> {
    const { policies, compiler, administration } = this.#parts;
    try {
      const sources = await sourcesOf(files, tenant.manifest);
      const bundle = await compiler.compile(sources);
      if (this.#isOver) return false;
      if (policies.prove(tenant, bundle))
        await administration.recordPolicy(tenant, caller, bundle.revision).catch((error: unknown) => {
          policies.discard(bundle);
          throw error;
        });
      if (this.#isOver) return false;
      const before = policies.of(tenant);
      const isMended = before.rejected.length > 0;
      const changed = policies.activate(tenant, bundle);
      this.#retries.settle(tenant.id);
      // A policy that was made anew is announced as activated.
      if (isMended && policies.of(tenant) === before && mendingChannel.hasSubscribers)
        mendingChannel.publish({ tenant: tenant.id, revision: before.revision });
      return changed;
    } catch (error) {
      await this.#notTaken(tenant, caller, error, 'policy');
      throw error;
    }
  }

  /** Says so and records it. What was nobody's mistake is tried again instead, until it is taken or shown to be one. */
  async #notTaken(tenant: Tenant, caller: string, error: unknown, what: string): Promise<void> {
    if (this.#isOver) return;
    const { policies, administration } = this.#parts;
    const again = (): void => this.#retries.plan(tenant.id, () => this.#changed(tenant.id, caller));
    const diagnostics = isMistake(error) ? diagnosticsIn(error, what) : [untaken(error)];
    const isNews = JSON.stringify(policies.of(tenant).rejected) !== JSON.stringify(diagnostics);
    policies.reject(tenant, diagnostics);
    const kept = policies.of(tenant).revision;
    if ((isMistake(error) || isNews) && rejectionChannel.hasSubscribers)
      rejectionChannel.publish({ tenant: tenant.id, diagnostics, kept });
    if (!isMistake(error)) return again();
    const settle = (): void => this.#retries.settle(tenant.id);
    await administration.recordPolicy(tenant, caller, kept, error).then(settle, again);
  }

  async #changed(tenant: TenantId, caller = 'watch'): Promise<void> {
    await this.reload(this.#parts.tenants.get(tenant), caller).catch(() => undefined);
  }

  /** What an operator should know, a line each. */
  problems(): string[] {
    const { tenants, policies, clock } = this.#parts;
    const now = clock();
    const waiting = [...this.#waiting].map(
      ([folder, error]) => `the tenant in ${folder} is not served: ${describe(error)}`,
    );
    const served = [...tenants].flatMap((tenant) => {
      const degraded = policies.health.degraded(tenant.id, now);
      const { rejected } = policies.of(tenant);
      const refused = rejected.length > 0 ? rejectionOf(rejected) : '';
      return [degraded, refused].filter((each) => each !== '').map((each) => `tenant ${tenant.id}: ${each}`);
    });
    return [...waiting, ...served];
  }

  /** How many tenants have a policy that keeps failing. */
  degraded(): number {
    const { tenants, policies, clock } = this.#parts;
    const now = clock();
    return [...tenants].filter((tenant) => policies.health.degraded(tenant.id, now) !== '').length;
  }

  [Symbol.dispose](): void {
    this.#isOver = true;
    for (const watch of this.#watches) watch[Symbol.dispose]();
    this.#retries[Symbol.dispose]();
    this.#entering[Symbol.dispose]();
  }
}
