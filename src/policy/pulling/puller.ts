import { channel } from 'node:diagnostics_channel';
import type { Random } from '../../effects.ts';
import { describe, ServiceError } from '../../errors.ts';
import type { TenantId } from '../../ids.ts';
import type { RevisionStore } from '../../storage/revisions/store.ts';
import type { Administration } from '../../tenancy/administration.ts';
import type { Tenant, Tenants } from '../../tenancy/tenants.ts';
import { sha256 } from '../bundle.ts';
import { BUNDLE, type Diagnostic } from '../diagnostics.ts';
import { rejectionChannel } from '../intake/intake.ts';
import { diagnosticsIn, isMistake } from '../intake/rejections.ts';
import type { Policies } from '../policies.ts';
import { pushedFiles } from '../revisions/pushed.ts';
import type { Releases } from '../revisions/releases.ts';
import { keepsOut, type SourceFile } from '../sources.ts';
import type { Memory, Remembered } from './remembered.ts';
import { type BundleSource, NotPulled, type Pulled } from './source.ts';

/** Published after each look at a source: BundleNews. */
export const pulledChannel = channel('mandate:bundle.pulled');

export interface BundleNews {
  readonly tenant: TenantId;
  readonly source: string;
  /** `refused`: what stands there is not taken. `failed`: it could not be had, and is tried again. */
  readonly outcome: 'taken' | 'unchanged' | 'refused' | 'failed';
  /** Why, where it is one of the last two. */
  readonly why: string;
  /** It is not what was said the last time. */
  readonly isNews: boolean;
}

/** How often a source is looked at: between these, at random, so that many do not come at once. */
export interface Polling {
  readonly minMs: number;
  readonly maxMs: number;
}

export interface PullerParts {
  readonly tenants: Pick<Tenants, 'find'>;
  readonly policies: Pick<Policies, 'of' | 'reject'>;
  readonly releases: Pick<Releases, 'take' | 'goOn'>;
  readonly store: Pick<RevisionStore, 'policy'>;
  readonly administration: Pick<Administration, 'recordRefusedPolicy'>;
  readonly memory: Memory;
  readonly random: Random;
}

/** A look at the source. */
export interface Look {
  readonly caller: string;
  /** Somebody wants just what stands there, whatever was made active since it was taken. */
  readonly isAsked: boolean;
}

/** What was not taken, so that it is told once and not compiled again. */
interface Refused {
  readonly etag: string | undefined;
  readonly manifest: string;
  readonly digest: string | undefined;
  readonly error: ServiceError;
  readonly masks: boolean;
}

/** After the first failure, and by how much more after the next ones, until it is what is waited at most. */
const FIRST_MS = 1_000;
const MOST_MS = 60_000;
/** Between two looks in any case. */
const LEAST_MS = 100;

/** Keeps one tenant's policy what stands at its source. One look at a time. */
export class Puller implements Disposable {
  readonly #parts: PullerParts;
  readonly #tenant: TenantId;
  readonly source: BundleSource;
  readonly #polling: Polling;
  readonly #over = new AbortController();
  #current: AbortController | undefined;
  #turn: Promise<unknown> = Promise.resolve();
  #queued = 0;
  #timer: NodeJS.Timeout | undefined;
  #watch: Disposable | undefined;
  /** Undefined until it was read; null where there is nothing. */
  #kept: Remembered | null | undefined;
  #refused: Refused | undefined;
  #failures = 0;
  #said = '';
  /** Why what stands there could not be had; empty while it can. */
  problem = '';

  constructor(tenant: TenantId, source: BundleSource, polling: Polling, parts: PullerParts) {
    this.#tenant = tenant;
    this.source = source;
    this.#polling = polling;
    this.#parts = parts;
  }

  /** Looks now, whatever is under way or waited for. Answers whether the revision changed; rejects where it was not taken. */
  now(look: Look): Promise<boolean> {
    clearTimeout(this.#timer);
    // What is held by the server would be waited for.
    this.#current?.abort();
    this.#queued += 1;
    const done = this.#turn.then(() => {
      this.#queued -= 1;
      // The one behind it sees all that this would.
      return this.#queued > 0 && !look.isAsked ? false : this.#look(look);
    });
    this.#turn = done.catch(() => undefined);
    return done;
  }

  /** Says again what was said of what stands there, after something else made the policy anew. */
  remind(tenant: Tenant): void {
    if (this.#refused) this.#reject(tenant, this.#refused);
    else if (this.#parts.policies.of(tenant).revision === '') this.#absent(tenant, 'it was not pulled yet');
  }

  async #look(look: Look): Promise<boolean> {
    if (this.#over.signal.aborted) return false;
    const current = new AbortController();
    this.#current = current;
    const signal = AbortSignal.any([this.#over.signal, current.signal]);
    let waitMs = this.#drawn();
    try {
      this.#follow(look.caller);
      const { changed, waited } = await this.#pull(look, signal);
      this.#failures = 0;
      if (waited) waitMs = LEAST_MS;
      return changed;
    } catch (error) {
      if (signal.aborted) return false;
      if (!isMistake(error)) waitMs = this.#failed(error);
      throw error;
    } finally {
      if (this.#current === current) this.#current = undefined;
      if (!signal.aborted) this.#plan(waitMs);
    }
  }

  #plan(waitMs: number): void {
    clearTimeout(this.#timer);
    const again = (): void =>
      void this.now({ caller: this.source.name, isAsked: false }).catch(() => undefined);
    this.#timer = setTimeout(again, waitMs);
    // A server that has nothing else to do may end.
    this.#timer.unref();
  }

  /** A folder that is not there yet cannot be watched, and is looked for again. */
  #follow(caller: string): void {
    if (this.#watch || !this.source.watch) return;
    try {
      this.#watch = this.source.watch(() => void this.now({ caller, isAsked: false }).catch(() => undefined));
    } catch (cause) {
      throw new NotPulled(describe(cause), { cause });
    }
  }

  async #pull(look: Look, signal: AbortSignal): Promise<{ changed: boolean; waited: boolean }> {
    const { policies, releases } = this.#parts;
    const tenant = this.#parts.tenants.find(this.#tenant);
    if (!tenant) return { changed: false, waited: false };
    const isServed = (): boolean => this.#isServed();
    // The store may have failed when it was to go on.
    if (policies.of(tenant).revision === '') await releases.goOn(tenant, { caller: 'start', isServed });
    const manifest = manifestOf(tenant);
    const { waited, ...pulled } = await this.#pulled(tenant, manifest, look.isAsked, signal);
    this.problem = '';
    if (!pulled.files) {
      this.#tell(this.#refused ? 'refused' : 'unchanged', this.#refused ? describe(this.#refused.error) : '');
      return { changed: false, waited };
    }
    const digest = digestOf(pulled.files);
    // What was refused is not compiled again for nothing.
    const known = this.#refused;
    if (known && !look.isAsked && known.digest === digest && known.manifest === manifest) throw known.error;
    const changed = await this.#take(tenant, { ...pulled, manifest, digest }, look);
    await this.#remember(tenant, pulled.etag, manifest);
    return { changed, waited };
  }

  async #pulled(tenant: Tenant, manifest: string, isAsked: boolean, signal: AbortSignal): Promise<Pulled> {
    const etag = isAsked ? undefined : await this.#etagFor(tenant, manifest);
    try {
      return await this.source.pull(etag, signal);
    } catch (error) {
      if (isMistake(error) && !signal.aborted)
        await this.#refuse(tenant, { etag: undefined, manifest, digest: undefined, error, masks: true });
      throw error;
    }
  }

  /** What is known of what stands there holds while the tenant, the store and the source are the ones that they were. */
  async #etagFor(tenant: Tenant, manifest: string): Promise<string | undefined> {
    const { memory, policies, store } = this.#parts;
    if (this.#kept === undefined) this.#kept = (await memory.read(this.#tenant)) ?? null;
    if (this.#refused?.etag !== undefined && this.#refused.manifest === manifest) return this.#refused.etag;
    const kept = this.#kept;
    if (!kept || this.#refused || policies.of(tenant).revision === '') return undefined;
    const isSame = kept.source === this.source.name && kept.manifest === manifest;
    return isSame && kept.taken === store.policy(tenant.no).folder ? kept.etag : undefined;
  }

  async #take(
    tenant: Tenant,
    found: {
      files: readonly SourceFile[];
      label: string;
      etag: string | undefined;
      manifest: string;
      digest: string;
    },
    { caller, isAsked }: Look,
  ): Promise<boolean> {
    const { label, etag, manifest, digest } = found;
    try {
      const files = pushedFiles(found.files);
      const isServed = (): boolean => this.#isServed();
      const author = isAsked ? caller : this.source.name;
      const changed = await this.#parts.releases.take(
        tenant,
        { files, faults: [] },
        { caller: author, message: label, isAsked, isServed },
      );
      this.#refused = undefined;
      this.#tell('taken', '');
      return changed;
    } catch (error) {
      if (isMistake(error)) {
        const masks = keepsOut({
          files: new Map(found.files.map(({ path, bytes }) => [path, Buffer.from(bytes)])),
        });
        await this.#refuse(tenant, { etag, manifest, digest, error, masks });
      }
      throw error;
    }
  }

  async #remember(tenant: Tenant, etag: string | undefined, manifest: string): Promise<void> {
    const { memory, store } = this.#parts;
    const kept =
      etag === undefined
        ? undefined
        : { source: this.source.name, etag, taken: store.policy(tenant.no).folder, manifest };
    this.#kept = kept ?? null;
    // It spares a pull and no more.
    await memory.write(this.#tenant, kept).catch(() => undefined);
  }

  /** Says so and records it, once for the same. What was active goes on. */
  async #refuse(tenant: Tenant, refused: Refused): Promise<void> {
    if (!this.#isServed()) return;
    this.#refused = refused;
    const { policies, administration } = this.#parts;
    const isNews = this.#tell('refused', describe(refused.error));
    const diagnostics = this.#reject(tenant, refused);
    if (!isNews) return;
    const kept = policies.of(tenant).revision;
    if (rejectionChannel.hasSubscribers) rejectionChannel.publish({ tenant: tenant.id, diagnostics, kept });
    await administration.recordRefusedPolicy(tenant, this.source.name, kept, refused.error);
  }

  #reject(tenant: Tenant, { error, masks }: Refused): readonly Diagnostic[] {
    const from = this.source.name;
    const diagnostics = diagnosticsIn(error, 'policy').map((each) => ({ ...each, from }));
    this.#parts.policies.reject(tenant, diagnostics, masks);
    return diagnostics;
  }

  /** Answers after how long it is tried again. */
  #failed(error: unknown): number {
    this.#failures += 1;
    const why =
      error instanceof NotPulled || error instanceof ServiceError ? error.message : 'the server failed';
    this.problem = why;
    const tenant = this.#parts.tenants.find(this.#tenant);
    if (tenant && this.#parts.policies.of(tenant).revision === '') this.#absent(tenant, why);
    this.#tell('failed', why);
    const most = Math.max(MOST_MS, this.#polling.maxMs);
    const backoff = Math.min(most, FIRST_MS * 2 ** Math.min(this.#failures - 1, 20));
    const asked = error instanceof NotPulled ? (error.waitMs ?? 0) : 0;
    return Math.max(asked, backoff * (0.5 + this.#fraction() / 2));
  }

  /** Nobody can say what it would keep out of records, so all that may be is kept out. */
  #absent(tenant: Tenant, why: string): void {
    this.#parts.policies.reject(
      tenant,
      [{ file: BUNDLE, line: 0, message: why, from: this.source.name }],
      true,
    );
  }

  #tell(outcome: BundleNews['outcome'], why: string): boolean {
    const isNews = why !== '' && why !== this.#said;
    this.#said = why;
    const news: BundleNews = { tenant: this.#tenant, source: this.source.name, outcome, why, isNews };
    if (pulledChannel.hasSubscribers) pulledChannel.publish(news);
    return isNews;
  }

  #drawn(): number {
    const { minMs, maxMs } = this.#polling;
    return minMs + (maxMs - minMs) * this.#fraction();
  }

  #fraction(): number {
    return Buffer.from(this.#parts.random(4)).readUInt32BE(0) / 2 ** 32;
  }

  #isServed(): boolean {
    return !this.#over.signal.aborted && this.#parts.tenants.find(this.#tenant) !== undefined;
  }

  [Symbol.dispose](): void {
    this.#over.abort();
    clearTimeout(this.#timer);
    this.#watch?.[Symbol.dispose]();
  }
}

/** What of a manifest goes into a revision: with another one the same files make another. */
const manifestOf = ({ manifest: { actions, entrypoints } }: Tenant): string =>
  sha256(JSON.stringify({ actions, entrypoints }));

const digestOf = (files: readonly SourceFile[]): string =>
  sha256(JSON.stringify(files.map(({ path, bytes }) => [path, sha256(bytes)])));
