import { createHash } from 'node:crypto';
import { channel } from 'node:diagnostics_channel';
import { changeRow } from '../audit/administration.ts';
import type { Clock, Random } from '../effects.ts';
import { ServiceError } from '../errors.ts';
import { type PrincipalRef, principalKey, type TenantId, uuidv7 } from '../ids.ts';
import { setAsideChannel } from '../storage/faults.ts';
import type { IssuerStore } from '../storage/issuers.ts';
import type { RestartedLog } from '../storage/log/commands.ts';
import type { PrincipalChanges, PrincipalState, StatusChanges } from '../storage/principals/commands.ts';
import { type PrincipalStore, type StoredPrincipal, statusOf } from '../storage/principals/store.ts';
import type { PrincipalRow, RecordRow, TenantNo } from '../storage/rows.ts';
import type { Writer } from '../storage/writer.ts';
import { Turns } from '../turns.ts';
import type { FactSource } from './facts.ts';
import { limitsOf, type TenantLimits } from './limits.ts';
import type { ManifestPrincipal } from './manifest.ts';
import { IssuerChanges, type RegisteredIssuers } from './registry/issuers.ts';
import { type Draft, principalIn, rowOf, settled, shownRegistration } from './registry/registration.ts';
import { audiencesOf, Register, type Registry, sharedWithin } from './registry/registry.ts';
import { buildTenant, type Tenant, type TenantSource } from './tenants.ts';

/** Published where the log of a tenant was to be set aside. */
export const restartChannel = channel('mandate:log.restarted');

export interface LogRestarted {
  readonly tenant: TenantId;
  /** `whole` where nothing was wrong with it; undefined where the store has no such tenant. */
  readonly log: RestartedLog | 'whole' | undefined;
}

/** Changes to tenants and principals. Each is one transaction with its record. */
export class Administration {
  readonly #writer: Writer;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #facts: FactSource;
  readonly #limits: TenantLimits;
  readonly #principals: PrincipalStore;
  readonly #registry: Registry;
  readonly #issuers: IssuerChanges;
  readonly #registeredIssuers: RegisteredIssuers;
  /** What one change was checked against, no other changes before it is made. */
  readonly #turns = new Turns<TenantNo>();

  constructor(options: {
    writer: Writer;
    facts: FactSource;
    principals: PrincipalStore;
    registry: Registry;
    issuers: { store: IssuerStore; registered: RegisteredIssuers };
    /** The most that a tenant may have. */
    limits: TenantLimits;
    clock: Clock;
    random: Random;
  }) {
    this.#facts = options.facts;
    this.#limits = options.limits;
    this.#principals = options.principals;
    this.#registry = options.registry;
    this.#registeredIssuers = options.issuers.registered;
    this.#issuers = new IssuerChanges({
      ...options.issuers,
      writer: options.writer,
      record: (tenant, caller, action, detail) => this.record(tenant, caller, action, undefined, detail),
    });
    this.#writer = options.writer;
    this.#clock = options.clock;
    this.#random = options.random;
  }

  /** Brings a manifest into the store, if it is not the one that is there. Throws `ManifestInvalid`. */
  async adopt(source: TenantSource): Promise<Tenant> {
    const { value: stored } = await this.#writer.run('putTenant', { id: source.id });
    return this.#turns.run(stored.no, () => this.#adopt(source, stored));
  }

  async #adopt(source: TenantSource, stored: { no: TenantNo; manifestHash: string }): Promise<Tenant> {
    const limits = limitsOf(source.manifest.limits, this.#limits);
    this.#learn(stored.no);
    const manifest = { ...source.manifest, limits };
    const tenant = buildTenant(
      { ...source, manifest },
      stored.no,
      this.#registry.of(stored.no),
      this.#registeredIssuers.of(stored.no),
    );
    this.#writer.limit(tenant.no, {
      bytesPerSecond: limits.record_bytes_per_second,
      bytes: limits.store_bytes,
    });
    if (stored.manifestHash !== source.hash) {
      const at = this.#clock();
      const principals = source.manifest.principals.map(rowOf);
      const record = this.record(tenant, 'manifest', 'manifest.apply', undefined, {
        manifest_sha256: source.hash,
        principals: principals.length,
      });
      const { value } = await this.#writer.run(
        'putManifest',
        { tenantNo: stored.no, hash: source.hash, principals, at },
        record,
      );
      this.#learn(stored.no);
      this.#facts.changed(tenant);
      // Of a tenant that is new all of it is.
      if (stored.manifestHash !== '') await this.#tell(tenant, 'manifest', value);
    }
    await this.#issuers.giveWay(tenant);
    return tenant;
  }

  get issuers(): Pick<IssuerChanges, 'of' | 'put' | 'remove'> {
    return this.#issuers;
  }

  /** Where the store cannot tell, which it has reported, what is known stays: others are served on. */
  #learn(no: TenantNo): void {
    this.#issuers.learn(no);
    try {
      this.#registry.load(no, this.#principals.registered(no));
    } catch (error) {
      if (!(error instanceof ServiceError && error.code === 'unavailable')) throw error;
    }
  }

  /**
   * Sets a tenant's damaged log aside and begins a new one, whose first record says so. `whole` where nothing
   * is wrong with it, `undefined` where there is no such tenant.
   */
  async restartLog(id: TenantId): Promise<RestartedLog | 'whole' | undefined> {
    const { value: log } = await this.#writer.run('damagedLog', { id });
    if (log && log !== 'whole') {
      const detail = { set_aside: log.setAside, damage: log.damage, checkpoint: log.checkpoint };
      const record = this.record({ id, no: log.no }, 'start', 'log.restart', undefined, detail);
      await this.#writer.run('restartLog', { id, log }, record);
      setAsideChannel.publish({ tenantNo: log.old });
    }
    restartChannel.publish({ tenant: id, log } satisfies LogRestarted);
    return log;
  }

  /** Answers who is suspended. Throws `managed_by_manifest`, `gone` or, for what is another's, `invalid_request`. */
  putPrincipals(tenant: Tenant, caller: string, drafts: readonly Draft[]): Promise<readonly PrincipalRef[]> {
    return this.#turns.run(tenant.no, () => {
      const before = (ref: PrincipalRef) => () => tenant.declared.get(principalKey(ref));
      return this.#put(
        tenant,
        caller,
        drafts.map((draft) => settled(draft, before(draft))),
      );
    });
  }

  /**
   * Changes one that the API has put, from what it is when its turn comes; answers how many grants ended. Throws as
   * `putPrincipals` does, `principal_unknown`, and what `change` throws.
   */
  changePrincipal(
    tenant: Tenant,
    caller: string,
    ref: PrincipalRef,
    action: 'credential.rotate' | 'credential.remove',
    change: (before: ManifestPrincipal) => ManifestPrincipal,
  ): Promise<number> {
    return this.#turns.run(tenant.no, async () => {
      const principal = change(this.registered(tenant, ref));
      const record = this.record(tenant, caller, action, ref, {});
      return await this.#write(tenant, caller, [principal], record, action === 'credential.remove');
    });
  }

  async #put(
    tenant: Tenant,
    caller: string,
    principals: readonly ManifestPrincipal[],
  ): Promise<readonly PrincipalRef[]> {
    const record = this.record(tenant, caller, 'principals.put', undefined, {
      count: principals.length,
      principals: principals.slice(0, 100).map(principalKey),
    });
    await this.#write(tenant, caller, principals, record, false);
    return principals.filter((each) => each.owners.length > 0 && this.#isSuspended(tenant, each));
  }

  /**
   * A credential that is taken away authenticates nobody from before the command on: whatever was granted by it is then
   * in the store, where the command ends it.
   */
  async #write(
    tenant: Tenant,
    caller: string,
    principals: readonly ManifestPrincipal[],
    record: RecordRow,
    ending: boolean,
  ): Promise<number> {
    checkShared(tenant, principals);
    const args = { tenantNo: tenant.no, principals: principals.map(rowOf), at: this.#clock(), ending };
    if (ending) this.#register(tenant, args.principals);
    try {
      const { value } = await this.#writer.run('putPrincipals', args, record);
      if (value === undefined) throw this.#whyNot(tenant, principals);
      this.#register(tenant, args.principals);
      this.#facts.changed(tenant);
      await this.#tell(tenant, caller, value);
      return value.ended;
    } catch (error) {
      this.#learn(tenant.no);
      throw error;
    }
  }

  #register({ no }: Tenant, rows: readonly PrincipalRow[]): void {
    for (const { class: cls, id, registration = null } of rows)
      this.#registry.put(no, { class: cls, id }, registration);
  }

  #isSuspended(tenant: Tenant, ref: PrincipalRef): boolean {
    const stored = this.#principals.find(tenant.no, ref);
    return stored !== undefined && statusOf(stored) === 'suspended';
  }

  #whyNot(tenant: Tenant, principals: readonly PrincipalRef[]): ServiceError {
    for (const principal of principals) {
      const stored = this.#principals.find(tenant.no, principal);
      const refusal = stored && refusalOf(stored, principalKey(principal));
      if (refusal) return refusal;
    }
    return new ServiceError('unavailable', 'the principals were changed meanwhile; ask again');
  }

  /** What the API has put. Throws `principal_unknown`, `managed_by_manifest` or `gone`. */
  registered(tenant: Tenant, ref: PrincipalRef): ManifestPrincipal {
    const stored = this.#principals.find(tenant.no, ref);
    if (!stored) throw unknown();
    const refusal = refusalOf(stored, principalKey(ref));
    if (refusal) throw refusal;
    return principalIn(ref, stored);
  }

  /** A record for each principal that is other than it was: who gave whom which role is found by either's name. */
  async #tell(tenant: Tenant, caller: string, { changed, told }: PrincipalChanges): Promise<void> {
    if (told.length === 0) return;
    const parcel = this.#writer.parcel();
    const salt = sealsProperties(tenant) ? this.#random(SALT_BYTES) : undefined;
    for (const { principal, before = null, after = null } of told) {
      const beside = changed > told.length ? { and_more: changed - told.length } : {};
      const states = { before: shown(before, salt), after: shown(after, salt) };
      parcel.add(this.record(tenant, caller, 'principal.change', principal, { ...states, ...beside }));
    }
    await this.#writer.appendAll(parcel);
  }

  /** Answers how many grants ended. Throws `principal_unknown`, or `gone` for one that was retired. */
  async setStatus(tenant: Tenant, caller: string, ref: PrincipalRef, disabled: boolean): Promise<number> {
    const action = disabled ? 'principal.disable' : 'principal.enable';
    const record = this.record(tenant, caller, action, ref, {});
    const args = { tenantNo: tenant.no, class: ref.class, id: ref.id, disabled, at: this.#clock() };
    const { value } = await this.#writer.run('setStatus', args, record);
    return await this.#settled(tenant, caller, ref, value);
  }

  /** For good; answers how many grants ended. Throws `principal_unknown`, `managed_by_manifest` or `gone`. */
  retire(tenant: Tenant, caller: string, ref: PrincipalRef): Promise<number> {
    return this.#turns.run(tenant.no, async () => {
      this.registered(tenant, ref);
      const record = this.record(tenant, caller, 'principal.retire', ref, {});
      const args = { tenantNo: tenant.no, class: ref.class, id: ref.id, at: this.#clock() };
      const { value } = await this.#writer.run('retirePrincipal', args, record);
      if (value !== undefined) this.#registry.put(tenant.no, ref, null);
      return await this.#settled(tenant, caller, ref, value);
    });
  }

  async #settled(
    tenant: Tenant,
    caller: string,
    ref: PrincipalRef,
    value: StatusChanges | undefined,
  ): Promise<number> {
    this.#facts.changed(tenant);
    if (value === undefined) {
      const stored = this.#principals.find(tenant.no, ref);
      throw stored ? retired(principalKey(ref)) : unknown();
    }
    // Its own record has said it; whom it answered for has none yet.
    await this.#tell(tenant, caller, value);
    return value.ended;
  }

  /** Records a change of the active policy, or a refusal of one. */
  async recordPolicy(tenant: Tenant, caller: string, revision: string, error?: ServiceError): Promise<void> {
    const detail = error ? { error: error.message.slice(0, 4_000) } : {};
    await this.#writer.append(
      this.record(tenant, caller, error ? 'policy.reject' : 'policy.activate', undefined, detail, {
        revision,
        outcome: error ? 'error' : 'done',
      }),
    );
  }

  /** The record of something that was done to a tenant. */
  record(
    tenant: Pick<Tenant, 'id' | 'no'>,
    caller: string,
    action: string,
    target: PrincipalRef | undefined,
    detail: Readonly<Record<string, unknown>>,
    more: { revision?: string; outcome?: 'done' | 'error' } = {},
  ): RecordRow {
    const time = this.#clock();
    const decisionId = uuidv7(time, this.#random(10));
    return changeRow({ tenant, time, decisionId, caller, action, target, detail, ...more });
  }
}

/** What a list of names takes at most to be told whole. */
const MOST_CHARACTERS = 4_096;

/** Lists that are too long are told by their length and their SHA-256. */
function shown(state: PrincipalState | null, salt: Uint8Array | undefined): object | null {
  if (!state) return null;
  const { roles, groups, scopes, properties_sha256: digest, registration, ...rest } = state;
  const lists = Object.entries({ roles, groups, scopes }).map(([name, list]) => {
    const text = JSON.stringify(list);
    const short = { count: list.length, sha256: createHash('sha256').update(text).digest('hex') };
    return [name, text.length <= MOST_CHARACTERS ? list : short] as const;
  });
  return {
    ...rest,
    ...Object.fromEntries(lists),
    properties_sha256: salt ? salted(digest, salt) : digest,
    ...shownShort(registration),
  };
}

function shownShort(registration: string | null): object {
  if (registration === null) return {};
  const isShort = registration.length <= MOST_CHARACTERS;
  const sha256 = createHash('sha256').update(registration).digest('hex');
  return { registration: isShort ? shownRegistration(registration) : { sha256 } };
}

const SALT_BYTES = 32;

/**
 * What a tenant seals of its principals in their decisions could be guessed, and found by its digest. With a salt that
 * nobody keeps the digests of one change tell whether they differ, and nothing else.
 */
const salted = (digest: string, salt: Uint8Array): string =>
  createHash('sha256').update(salt).update(digest).digest('hex');

const sealsProperties = ({ manifest }: Tenant): boolean =>
  manifest.audit.sealed.some(({ path }) => /^\/(?:subject|actors)\//.test(path));

/** Why the API may not change it. */
function refusalOf({ retiredAt, source }: StoredPrincipal, key: string): ServiceError | undefined {
  if (retiredAt !== null) return retired(key);
  if (source === 'api') return undefined;
  return new ServiceError(
    'managed_by_manifest',
    `${key} is declared in the tenant's manifest, and is changed there; it can be disabled here`,
  );
}

/** What they would share with each other, with the manifest's, and with what was put before. Throws `invalid_request`. */
function checkShared(tenant: Tenant, principals: readonly ManifestPrincipal[]): void {
  const among = new Register();
  for (const principal of principals) {
    if (principal.credentials.length === 0 && audiencesOf(principal).length === 0) continue;
    const shared = among.add(principal) ?? sharedWithin(tenant, principal);
    if (shared !== undefined)
      throw new ServiceError(
        'invalid_request',
        `${principalKey(principal)} would share ${shared} with another principal`,
      );
  }
}

const retired = (key: string): ServiceError =>
  new ServiceError('gone', `${key} was retired; its name is not given again`);

const unknown = (): ServiceError => new ServiceError('principal_unknown', 'no such principal in this tenant');
