import type { Clock } from '../../effects.ts';
import { describe, ServiceError } from '../../errors.ts';
import type { TenantId } from '../../ids.ts';
import type { TenantPlace } from '../../tenancy/folder/list.ts';
import { tenantPlaces } from '../../tenancy/folder/places.ts';
import { readTenantFiles } from '../../tenancy/folder/read.ts';
import { readTenant, type Tenant } from '../../tenancy/tenants.ts';
import { Intake, type IntakeParts } from './intake.ts';
import { isMistake, rejectionOf } from './rejections.ts';
import { Retries } from './retries.ts';
import { watchFolder } from './watch.ts';

/** How many tenants are loaded at once: they share the commits of what they store. The compiler has its own bound. */
const PARALLEL = 64;

interface FleetParts extends IntakeParts {
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
  readonly #intake: Intake;
  /** Of folders whose tenant is not known yet. */
  readonly #entering = new Retries<string>();
  /** Folders whose tenant the store could not take, with its error; each is tried again until it can. */
  readonly #waiting = new Map<string, unknown>();
  /** The server does not start, or stops: what still loads ends without a word, as it would be about the end alone. */
  #isOver = false;

  constructor(parts: FleetParts) {
    this.#parts = parts;
    this.#intake = new Intake(parts);
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
      if (this.#waiting.size === 0)
        await this.#parts.compiler.keepOnly([...this.#parts.tenants].map(({ id }) => id));
    } catch (error) {
      this.#isOver = true;
      this.#intake[Symbol.dispose]();
      throw error;
    }
  }

  async #add(entry: Entry): Promise<void> {
    const { folder } = entry.place;
    const changed = async (): Promise<void> => {
      if (entry.id === undefined) entry.isMissed = true;
      else await this.#intake.changed(entry.id);
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
    entry.id = tenant.id;
    const loaded = this.#intake.enter(tenant, files);
    if (entry.isMissed) void this.#intake.changed(tenant.id);
    await loaded;
  }

  #wait(entry: Entry, error: unknown): void {
    const { folder } = entry.place;
    if (this.#isOver) return;
    entry.isIn();
    this.#waiting.set(folder, error);
    this.#entering.plan(folder, () => this.#enter(entry).catch((cause: unknown) => this.#wait(entry, cause)));
  }

  /** See `Intake.reload`. */
  reload(tenant: Tenant, caller: string): Promise<boolean> {
    return this.#intake.reload(tenant, caller);
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
    this.#intake[Symbol.dispose]();
    this.#entering[Symbol.dispose]();
  }
}
