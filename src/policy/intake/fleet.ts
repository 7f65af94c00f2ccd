import { channel } from 'node:diagnostics_channel';
import { realpathSync } from 'node:fs';
import type { Clock } from '../../effects.ts';
import { describe, ServiceError } from '../../errors.ts';
import type { TenantId } from '../../ids.ts';
import type { TenantPlace } from '../../tenancy/folder/list.ts';
import { tenantPlaces } from '../../tenancy/folder/places.ts';
import { readTenant, type Tenant } from '../../tenancy/tenants.ts';
import type { Compiler } from '../compiler.ts';
import { Arrivals } from './arrivals.ts';
import { Intake, type IntakeParts, QUIET_MS } from './intake.ts';
import { isPut } from './kept-files.ts';
import { Names } from './names.ts';
import { isMistake, rejectionOf } from './rejections.ts';
import { Retries } from './retries.ts';
import { watchFolder } from './watch.ts';

/** How many tenants are loaded at once: they share the commits of what they store. The compiler has its own bound. */
const PARALLEL = 64;

interface FleetParts extends IntakeParts {
  readonly compiler: Pick<Compiler, 'keepOnly'>;
  readonly clock: Clock;
  /** Tenants that the API put. */
  readonly put: () => readonly TenantPlace[];
  /** Whether what is saved counts at once, whatever the tenant says. */
  readonly watchesAll: boolean;
}

/** A folder on its way in. However long each takes to read, tenants come in the order of their folders. */
interface Entry {
  readonly place: TenantPlace;
  /** The one before it is in, and says so; this one says so too. */
  readonly before: Promise<void>;
  readonly isIn: () => void;
  /** For how long it must have stood still: one that comes while it runs is being made. In milliseconds. */
  readonly quietMs: number;
  /** Something was saved since it is read, and before the tenant was known. */
  isMissed: boolean;
  id: TenantId | undefined;
}

/** A folder that was found, whether its tenant could be taken or not. */
interface Known {
  readonly entry: Entry;
  readonly watch: Disposable;
  readonly real: string;
  /** Tries to take it once more. */
  readonly again: () => Promise<void>;
}

/** Published when a tenant's folder came, went, or could not be taken, while it runs: FolderNews. */
export const folderChannel = channel('mandate:tenant.folder');

/** Published where something was saved in a folder that is read only when somebody asks for it: {tenant}. */
export const unreadChannel = channel('mandate:policy.unread');

const UNREAD = 'its folder changed, and counts once somebody reloads it';

export interface FolderNews {
  readonly folder: string;
  readonly what: 'served' | 'retired' | 'refused';
  /** Undefined where it could not be taken. */
  readonly tenant: TenantId | undefined;
  readonly why: string;
}

/** The tenants' folders: loaded at start and as they come, watched, and loaded again when a file changes. */
export class Fleet implements Disposable {
  readonly #parts: FleetParts;
  readonly #folders = new Map<string, Known>();
  readonly #names = new Names();
  readonly #intake: Intake;
  /** Whose folder changed since it was read. */
  readonly #unread = new Set<TenantId>();
  /** Of folders whose tenant is not known yet. */
  readonly #entering = new Retries<string>();
  /** Folders whose tenant the store could not take, with its error; each is tried again until it can. */
  readonly #waiting = new Map<string, unknown>();
  /** The server does not start, or stops: what still loads ends without a word, as it would be about the end alone. */
  #isOver = false;

  #arrivals: Arrivals | undefined;
  #served: (tenant: Tenant) => Promise<unknown> = async () => undefined;

  constructor(parts: FleetParts) {
    this.#parts = parts;
    this.#intake = new Intake(parts);
  }

  /**
   * From now on tenants come and go with their folders. `served` is called with one that came, before it is said so;
   * `failed` hears of what an operator should look at.
   */
  follow(
    places: readonly string[],
    served: (tenant: Tenant) => Promise<unknown>,
    failed: (error: unknown) => void,
  ): void {
    this.#served = served;
    const reals = (): Set<string> => new Set(Array.from(this.#folders.values(), ({ real }) => real));
    this.#arrivals = new Arrivals({
      clock: this.#parts.clock,
      // One that is a tenant's itself holds no others.
      roots: places.filter((place) => !this.#folders.has(place)),
      isKnown: (folder) => this.#folders.has(folder) || reals().has(folder),
      known: (root) =>
        Array.from(this.#folders.values(), ({ entry }) => entry.place)
          .filter((place) => place.root === root)
          .map(({ folder }) => folder),
      arrived: (place) => this.#arrive(place, served),
      gone: (folder) => this.#leave(folder),
      failed,
    });
    this.#arrivals.begin();
  }

  async #arrive(place: TenantPlace, served: (tenant: Tenant) => Promise<unknown>): Promise<void> {
    if (this.#isOver) return;
    const entry: Entry = {
      place,
      before: Promise.resolve(),
      isIn: () => undefined,
      quietMs: QUIET_MS,
      isMissed: false,
      id: undefined,
    };
    let isServed = false;
    const once = async (): Promise<void> => {
      try {
        if (entry.id === undefined) await this.#enter(entry);
        const tenant = entry.id && this.#parts.tenants.find(entry.id);
        if (!tenant || isServed) return;
        await served(tenant);
        isServed = true;
        this.#waiting.delete(place.folder);
        this.#entering.settle(place.folder);
        this.#tell(place.folder, 'served', tenant.id);
      } catch (error) {
        if (!this.#isThere(entry)) return;
        // Nobody waits for it, so it does not end the server as a mistake does at its start.
        this.#waiting.set(place.folder, error);
        this.#tell(place.folder, 'refused', undefined, describe(error));
        if (!isMistake(error) && !this.#isOver) this.#entering.plan(place.folder, enter);
      }
    };
    // One after the other: taken twice at once, it would be its own twin.
    let turn = Promise.resolve();
    const enter = (): Promise<void> => (turn = turn.then(once));
    const changed = (): Promise<void> => {
      if (entry.id !== undefined) return this.#changed(entry);
      entry.isMissed = true;
      return enter();
    };
    const watch = watchFolder(place.folder, changed);
    this.#folders.set(place.folder, { entry, real: realOf(place.folder), watch, again: enter });
    await enter();
  }

  /** Takes the name of a tenant for what is put. Throws `config_invalid` where a folder has it. Answers what gives it up. */
  claim(id: TenantId, folder: string): () => void {
    this.#names.take(id, folder);
    return () => this.#names.giveUp(folder);
  }

  /** Serves a tenant that the API put, from now on. */
  async enterPut(place: TenantPlace): Promise<Tenant> {
    const entry: Entry = {
      place,
      before: Promise.resolve(),
      isIn: () => undefined,
      quietMs: 0,
      isMissed: false,
      id: undefined,
    };
    const again = (): Promise<void> => this.#again(entry);
    this.#folders.set(place.folder, { entry, real: place.folder, watch: UNWATCHED, again });
    try {
      await this.#enter(entry);
      const tenant = entry.id && this.#parts.tenants.find(entry.id);
      if (!tenant) throw new ServiceError('unavailable', `${place.folder} cannot be served now`);
      await this.#served(tenant);
      this.#tell(place.folder, 'served', tenant.id);
      return tenant;
    } catch (error) {
      if (entry.id === undefined) this.#folders.delete(place.folder);
      throw error;
    }
  }

  /** What was put of it is gone from the store, with a record. */
  async leavePut(folder: string): Promise<void> {
    this.#remove(folder);
  }

  /** What it had stays in the store, and is there again when the folder is. */
  async #leave(folder: string): Promise<void> {
    const tenant = this.#remove(folder);
    if (tenant) await this.#parts.administration.recordRetired(tenant);
  }

  #remove(folder: string): Tenant | undefined {
    const known = this.#folders.get(folder);
    if (!known || this.#isOver) return undefined;
    known.watch[Symbol.dispose]();
    this.#folders.delete(folder);
    this.#waiting.delete(folder);
    this.#entering.settle(folder);
    this.#names.giveUp(folder);
    const { id } = known.entry;
    const tenant = id && this.#parts.tenants.find(id);
    if (!tenant) return undefined;
    const { tenants, policies } = this.#parts;
    tenants.remove(tenant.id);
    this.#intake.forget(tenant.id);
    this.#unread.delete(tenant.id);
    policies.retire(tenant.id);
    this.#tell(folder, 'retired', tenant.id);
    // One of the same name may have waited for it, and waits no longer for its record.
    for (const other of this.#waiting.keys()) {
      const waits = this.#folders.get(other);
      if (waits && waits.entry.id === undefined) this.#entering.plan(other, waits.again);
    }
    return tenant;
  }

  #tell(folder: string, what: FolderNews['what'], tenant: TenantId | undefined, why = ''): void {
    if (folderChannel.hasSubscribers)
      folderChannel.publish({ folder, what, tenant, why } satisfies FolderNews);
  }

  /** It may have gone while it was on its way. */
  #isThere(entry: Entry): boolean {
    return this.#folders.get(entry.place.folder)?.entry === entry;
  }

  async #changed(entry: Entry): Promise<void> {
    // It may be served no more.
    const tenant = entry.id && this.#parts.tenants.find(entry.id);
    if (!tenant) return;
    if (this.#parts.watchesAll || tenant.manifest.watch) return this.#intake.changed(tenant.id);
    if (this.#unread.has(tenant.id)) return;
    this.#unread.add(tenant.id);
    if (unreadChannel.hasSubscribers) unreadChannel.publish({ tenant: tenant.id });
  }

  /**
   * Loads every tenant. Throws `config_invalid` for a manifest that does not parse; a policy that does not compile is
   * reported, and its tenant denies until it does.
   */
  async load(places: readonly string[]): Promise<void> {
    const next = [...places.flatMap(tenantPlaces), ...this.#parts.put()].values();
    let turn = Promise.resolve();
    const loader = async (): Promise<void> => {
      for (const place of next) {
        if (this.#isOver) return;
        const before = turn;
        const { promise, resolve } = Promise.withResolvers<void>();
        turn = promise;
        await this.#add({ place, before, isIn: resolve, quietMs: 0, isMissed: false, id: undefined });
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
      else await this.#changed(entry);
    };
    // Watched before it is read, so that nothing is saved in between.
    const again = (): Promise<void> => this.#again(entry);
    const watch = isPut(entry.place) ? UNWATCHED : watchFolder(folder, changed);
    this.#folders.set(folder, { entry, real: realOf(folder), watch, again });
    try {
      await this.#enter(entry);
    } catch (error) {
      // No fault of the tenant's, and a server that does not start says less than one that is not ready.
      if (isMistake(error) && !isPut(entry.place)) throw error;
      this.#wait(entry, error);
    }
  }

  async #enter(entry: Entry): Promise<void> {
    const { place } = entry;
    entry.isMissed = false;
    const files = await this.#parts.read(place, entry.quietMs);
    const source = await readTenant(files);
    if (!this.#isThere(entry)) return entry.isIn();
    this.#names.take(source.id, place.folder);
    const tenant = await this.#parts.administration.adopt(source).catch((error: unknown) => {
      if (this.#isThere(entry)) this.#names.giveUp(place.folder);
      throw error;
    });
    await entry.before;
    if (!this.#isThere(entry)) return entry.isIn();
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
    if (this.#isOver || !this.#isThere(entry)) return;
    entry.isIn();
    this.#waiting.set(folder, error);
    this.#entering.plan(folder, () => this.#again(entry));
  }

  async #again(entry: Entry): Promise<void> {
    await this.#enter(entry).catch((cause: unknown) => this.#wait(entry, cause));
  }

  /** See `Intake.reload`. */
  reload(tenant: Tenant, caller: string): Promise<boolean> {
    this.#unread.delete(tenant.id);
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
      const unread = this.#unread.has(tenant.id) ? UNREAD : '';
      return [degraded, refused, unread]
        .filter((each) => each !== '')
        .map((each) => `tenant ${tenant.id}: ${each}`);
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
    this.#arrivals?.[Symbol.dispose]();
    for (const { watch } of this.#folders.values()) watch[Symbol.dispose]();
    this.#intake[Symbol.dispose]();
    this.#entering[Symbol.dispose]();
  }
}

/** What is in the store changes by whoever puts it alone. */
const UNWATCHED: Disposable = { [Symbol.dispose]: () => undefined };

function realOf(folder: string): string {
  try {
    return realpathSync(folder);
  } catch {
    return folder;
  }
}
