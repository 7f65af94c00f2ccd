import { channel } from 'node:diagnostics_channel';
import type { Clock } from '../effects.ts';
import { describe, ServiceError } from '../errors.ts';
import type { Administration } from '../tenancy/administration.ts';
import { MANIFEST, ManifestInvalid } from '../tenancy/manifest-invalid.ts';
import { readTenant, type Tenant, type Tenants, tenantFolders } from '../tenancy/tenants.ts';
import type { Compiler } from './compiler.ts';
import { type Diagnostic, PolicyInvalid, rejectionOf } from './diagnostics.ts';
import type { Policies } from './policies.ts';
import { readSources } from './sources.ts';
import { watchFolder } from './watch.ts';

/** Published when files on disk were not taken: {tenant, diagnostics, kept: the revision that stays}. */
export const rejectionChannel = channel('mandate:policy.rejected');

/** Published when files that were not taken are mended, and the revision stays: {tenant, revision}. */
export const mendingChannel = channel('mandate:policy.mended');

/** How many tenants are loaded at once: they share the commits of what they store. The compiler has its own bound. */
const PARALLEL = 64;

/** What the store answers when it is at fault, and how long until it is asked again. */
const ofTheStore: ReadonlySet<string> = new Set(['audit_unavailable', 'unavailable', 'resource_exhausted']);
const AGAIN_MS = 5_000;

interface FleetParts {
  readonly tenants: Tenants;
  readonly policies: Policies;
  readonly compiler: Compiler;
  readonly administration: Administration;
  readonly clock: Clock;
}

/** The tenants' folders: loaded at start, watched, and loaded again when a file changes. */
export class Fleet implements Disposable {
  readonly #parts: FleetParts;
  readonly #watches = new Map<string, Disposable>();
  /** Loads of one tenant run one after the other. */
  readonly #queue = new Map<string, Promise<unknown>>();
  /** Folders whose tenant the store could not take, with its error; each is tried again until it can. */
  readonly #waiting = new Map<string, ServiceError>();
  #again: NodeJS.Timeout | undefined;
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
    const folders = places.flatMap(tenantFolders);
    const next = folders.values();
    const loader = async (): Promise<void> => {
      for (const folder of next) {
        if (this.#isOver) return;
        await this.#add(folder);
      }
    };
    try {
      await Promise.all(Array.from({ length: PARALLEL }, loader));
    } catch (error) {
      this.#isOver = true;
      throw error;
    }
  }

  async #add(folder: string): Promise<void> {
    const source = readTenant(folder);
    let tenant: Tenant;
    try {
      tenant = await this.#parts.administration.adopt(source);
      this.#waiting.delete(folder);
    } catch (error) {
      // No fault of the tenant's, and a server that does not start says less than one that is not ready.
      if (!(error instanceof ServiceError) || !ofTheStore.has(error.code)) throw error;
      this.#waiting.set(folder, error);
      this.#again ??= setInterval(() => void this.#addWaiting(), AGAIN_MS).unref();
      return;
    }
    const twin = this.#parts.tenants.find(tenant.id);
    if (twin)
      throw new ServiceError(
        'config_invalid',
        `tenant ${tenant.id} stands in ${twin.folder} and in ${folder}`,
      );
    this.#parts.tenants.put(tenant);
    await this.#load(tenant, 'start').catch(() => undefined);
    if (this.#isOver) return;
    const watch = watchFolder(folder, () => this.#changed(tenant));
    this.#watches.set(tenant.id, watch);
  }

  async #addWaiting(): Promise<void> {
    for (const folder of this.#waiting.keys()) await this.#add(folder).catch(() => undefined);
  }

  /** Reads the tenant's folder again, for a caller. Throws `policy_invalid` or `config_invalid`; the old stays. */
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
    try {
      const source = readTenant(tenant.folder);
      if (source.id !== tenant.id)
        throw new ManifestInvalid(MANIFEST, 'id: it does not change while the tenant is served');
      current = await administration.adopt(source);
    } catch (error) {
      await this.#rejected(tenant, caller, error, MANIFEST);
      throw error;
    }
    // A manifest that parses counts at once, whatever the Rego beside it: a credential taken out of it is gone.
    tenants.put(current);
    return this.#load(current, caller);
  }

  async #load(tenant: Tenant, caller: string): Promise<boolean> {
    const { policies, compiler, administration } = this.#parts;
    try {
      const sources = await readSources(tenant.folder, tenant.manifest);
      const bundle = await compiler.compile(sources);
      if (this.#isOver) return false;
      const before = policies.of(tenant);
      const isMended = before.rejected.length > 0;
      const changed = policies.activate(tenant, bundle);
      // A policy that was made anew is announced as activated.
      if (isMended && policies.of(tenant) === before && mendingChannel.hasSubscribers)
        mendingChannel.publish({ tenant: tenant.id, revision: before.revision });
      if (changed) await administration.recordPolicy(tenant, caller, policies.of(tenant).revision);
      return changed;
    } catch (error) {
      await this.#rejected(tenant, caller, error, 'policy');
      throw error;
    }
  }

  async #rejected(tenant: Tenant, caller: string, error: unknown, what: string): Promise<void> {
    if (this.#isOver) return;
    const { policies, administration } = this.#parts;
    const diagnostics = diagnosticsIn(error, what);
    policies.reject(tenant, diagnostics);
    const kept = policies.of(tenant).revision;
    if (rejectionChannel.hasSubscribers) rejectionChannel.publish({ tenant: tenant.id, diagnostics, kept });
    const known = error instanceof ServiceError ? error : new ServiceError('policy_invalid', describe(error));
    await administration.recordPolicy(tenant, caller, kept, known);
  }

  async #changed(tenant: Tenant): Promise<void> {
    await this.reload(this.#parts.tenants.get(tenant.id), 'watch').catch(() => undefined);
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
    clearInterval(this.#again);
    for (const watch of this.#watches.values()) watch[Symbol.dispose]();
  }
}

/** `file` is named where the error itself names no place. */
function diagnosticsIn(error: unknown, file: string): readonly Diagnostic[] {
  if (error instanceof PolicyInvalid) return error.diagnostics;
  if (error instanceof ManifestInvalid) return [{ file, line: error.line, message: error.problem }];
  return [{ file, line: 0, message: describe(error) }];
}
