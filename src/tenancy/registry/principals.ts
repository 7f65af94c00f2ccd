import type { Clock, Random } from '../../effects.ts';
import { ServiceError } from '../../errors.ts';
import { type PrincipalRef, principalKey } from '../../ids.ts';
import type { PrincipalChanges, StatusChanges } from '../../storage/principals/commands.ts';
import { type PrincipalStore, type StoredPrincipal, statusOf } from '../../storage/principals/store.ts';
import type { PrincipalRow, RecordRow, TenantNo } from '../../storage/rows.ts';
import type { Writer } from '../../storage/writer.ts';
import { Turns } from '../../turns.ts';
import { detailProblem } from '../details.ts';
import type { FactSource } from '../facts.ts';
import { parseManifestText } from '../folder/parser.ts';
import { type Manifest, type ManifestPrincipal, parsePrincipal } from '../manifest.ts';
import { MANIFEST, ManifestInvalid } from '../manifest-invalid.ts';
import type { Tenant } from '../tenants.ts';
import type { Doubt } from './doubt.ts';
import { type Draft, principalIn, rowOf, settled } from './registration.ts';
import { audiencesOf, Register, type Registry, sharedWithin } from './registry.ts';
import { saltOf, shown } from './told.ts';

/** Makes the record of a change; see `Administration.record`. */
export type Recording = (
  tenant: Pick<Tenant, 'id' | 'no'>,
  caller: string,
  action: string,
  target: PrincipalRef | undefined,
  detail: Readonly<Record<string, unknown>>,
) => RecordRow;

/** Changes of principals, by the manifest and by the API. Each is one transaction with its record. */
export class Principals {
  readonly #store: PrincipalStore;
  readonly #registry: Registry;
  readonly #facts: FactSource;
  readonly #writer: Writer;
  readonly #record: Recording;
  readonly #doubt: Doubt;
  readonly #manifestBefore: (tenantNo: TenantNo) => string | undefined;
  readonly #current: (tenant: Tenant) => Tenant;
  readonly #clock: Clock;
  readonly #random: Random;
  /** What one change was checked against, no other changes before it is made. */
  readonly #turns = new Turns<TenantNo>();

  constructor(options: {
    store: PrincipalStore;
    registry: Registry;
    facts: FactSource;
    writer: Writer;
    record: Recording;
    doubt: Doubt;
    /** The text of the manifest that was adopted last. */
    manifestBefore: (tenantNo: TenantNo) => string | undefined;
    /** The tenant as it is when a change has its turn: its manifest may be another by then. */
    current: (tenant: Tenant) => Tenant;
    clock: Clock;
    random: Random;
  }) {
    this.#store = options.store;
    this.#registry = options.registry;
    this.#facts = options.facts;
    this.#writer = options.writer;
    this.#record = options.record;
    this.#doubt = options.doubt;
    this.#manifestBefore = options.manifestBefore;
    this.#current = options.current;
    this.#clock = options.clock;
    this.#random = options.random;
  }

  /** After the changes of the tenant that were asked for before, and before those asked for later. */
  inTurn<T>(tenantNo: TenantNo, work: () => Promise<T>): Promise<T> {
    return this.#turns.run(tenantNo, work);
  }

  registered(tenantNo: TenantNo): Register {
    return this.#registry.of(tenantNo);
  }

  /** Learns what is stored. Where the store cannot tell, which it has reported, what is known stays: others are served on. */
  learn(no: TenantNo): void {
    try {
      this.#registry.load(no, this.#store.registered(no));
    } catch (error) {
      if (!(error instanceof ServiceError && error.code === 'unavailable')) throw error;
    }
  }

  /** Stores what the tenant's manifest declares, in its turn. `isFirst`: all of it is new, and is told of as a whole. */
  async adopt(
    tenant: Tenant,
    { hash, text }: { hash: string; text: string },
    isFirst: boolean,
  ): Promise<void> {
    const isEnabled = await this.#enabledBy(tenant);
    const principals = tenant.manifest.principals.map((each) => rowOf(each, isEnabled(each)));
    const record = this.#record(tenant, 'manifest', 'manifest.apply', undefined, {
      manifest_sha256: hash,
      principals: principals.length,
    });
    const args = { tenantNo: tenant.no, hash, text, principals, at: this.#clock() };
    const { value } = await this.#writer.run('putManifest', args, record);
    this.learn(tenant.no);
    this.#facts.changed(tenant);
    if (!isFirst) await this.#tell(tenant, 'manifest', value);
  }

  /**
   * Whom the manifest itself lets act again: `status: active` is no news of one that it did not disable before, and undoes
   * no kill. Where nobody can tell what it said before, nobody is.
   */
  async #enabledBy({ no, manifest }: Tenant): Promise<(ref: PrincipalRef) => boolean> {
    if (!manifest.principals.some(({ status }) => status === 'active')) return () => false;
    const text = this.#manifestBefore(no);
    const before =
      text === undefined ? [] : await parseManifestText(text, MANIFEST).then(principalsOf, () => []);
    const disabled = new Set(before.filter(({ status }) => status === 'disabled').map(principalKey));
    return (ref) => disabled.has(principalKey(ref));
  }

  /** Answers who is suspended. Throws `managed_by_manifest`, `gone` or, for what is another's, `invalid_request`. */
  put(asked: Tenant, caller: string, drafts: readonly Draft[]): Promise<readonly PrincipalRef[]> {
    return this.#turns.run(asked.no, () => {
      const tenant = this.#current(asked);
      const before = (ref: PrincipalRef) => () => tenant.declared.get(principalKey(ref));
      return this.#putAll(
        tenant,
        caller,
        drafts.map((draft) => settled(draft, before(draft))),
      );
    });
  }

  /**
   * Changes one that the API has put, from what it is when its turn comes; answers how many grants ended. Throws as
   * `put` does, `principal_unknown`, and what `change` throws.
   */
  change(
    asked: Tenant,
    caller: string,
    ref: PrincipalRef,
    action: 'credential.rotate' | 'credential.remove',
    change: (before: ManifestPrincipal) => ManifestPrincipal,
  ): Promise<number> {
    return this.#turns.run(asked.no, async () => {
      const tenant = this.#current(asked);
      const principal = checked(change(this.#known(tenant, ref)));
      const record = this.#record(tenant, caller, action, ref, {});
      return await this.#write(tenant, caller, [principal], record, action === 'credential.remove');
    });
  }

  async #putAll(
    tenant: Tenant,
    caller: string,
    principals: readonly ManifestPrincipal[],
  ): Promise<readonly PrincipalRef[]> {
    const record = this.#record(tenant, caller, 'principals.put', undefined, {
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
    checkDetails(tenant, principals);
    checkOwned(principals);
    const args = {
      tenantNo: tenant.no,
      principals: principals.map((each) => rowOf(each, true)),
      at: this.#clock(),
      ending,
    };
    if (ending) this.#register(tenant, args.principals);
    const { value } = await this.#answered(tenant, this.#writer.run('putPrincipals', args, record));
    if (value === undefined) {
      this.#relearn(tenant);
      throw this.#whyNot(tenant, principals);
    }
    this.#register(tenant, args.principals);
    this.#facts.changed(tenant);
    await this.#tell(tenant, caller, value);
    return value.ended;
  }

  /** What was not answered may come to be: it is learnt once the store can tell. */
  async #answered<T>(tenant: Tenant, answer: Promise<T>): Promise<T> {
    try {
      return await answer;
    } catch (error) {
      this.#facts.changed(tenant);
      this.#doubt.settle(() => this.#relearn(tenant));
      throw error;
    }
  }

  #relearn(tenant: Tenant): void {
    this.learn(tenant.no);
    this.#facts.changed(tenant);
  }

  /** What is not to be found, or not the API's, may be news here. */
  #known(tenant: Tenant, ref: PrincipalRef): ManifestPrincipal {
    try {
      return this.#put(tenant, ref);
    } catch (error) {
      this.#relearn(tenant);
      throw error;
    }
  }

  #register({ no }: Tenant, rows: readonly PrincipalRow[]): void {
    for (const { class: cls, id, registration = null } of rows)
      this.#registry.put(no, { class: cls, id }, registration);
  }

  #isSuspended(tenant: Tenant, ref: PrincipalRef): boolean {
    const stored = this.#store.find(tenant.no, ref);
    return stored !== undefined && statusOf(stored) === 'suspended';
  }

  #whyNot(tenant: Tenant, principals: readonly PrincipalRef[]): ServiceError {
    for (const principal of principals) {
      const stored = this.#store.find(tenant.no, principal);
      const refusal = stored && refusalOf(stored, principalKey(principal));
      if (refusal) return refusal;
    }
    return new ServiceError('unavailable', 'the principals were changed meanwhile; ask again');
  }

  /** What the API has put. Throws `principal_unknown`, `managed_by_manifest` or `gone`. */
  #put(tenant: Tenant, ref: PrincipalRef): ManifestPrincipal {
    const stored = this.#store.find(tenant.no, ref);
    if (!stored) throw unknown();
    const refusal = refusalOf(stored, principalKey(ref));
    if (refusal) throw refusal;
    return principalIn(ref, stored);
  }

  /** A record for each principal that is other than it was: who gave whom which role is found by either's name. */
  async #tell(tenant: Tenant, caller: string, { changed, told }: PrincipalChanges): Promise<void> {
    if (told.length === 0) return;
    const parcel = this.#writer.parcel();
    const salt = saltOf(tenant, this.#random);
    for (const { principal, before = null, after = null } of told) {
      const beside = changed > told.length ? { and_more: changed - told.length } : {};
      const states = { before: shown(before, salt), after: shown(after, salt) };
      parcel.add(this.#record(tenant, caller, 'principal.change', principal, { ...states, ...beside }));
    }
    await this.#writer.appendAll(parcel);
  }

  /** Answers how many grants ended. Throws `principal_unknown`, or `gone` for one that was retired. */
  async setStatus(
    tenant: Tenant,
    caller: string,
    ref: PrincipalRef,
    disabled: boolean,
    record = this.#record(tenant, caller, disabled ? 'principal.disable' : 'principal.enable', ref, {}),
  ): Promise<number> {
    const args = { tenantNo: tenant.no, class: ref.class, id: ref.id, disabled, at: this.#clock() };
    const { value } = await this.#answered(tenant, this.#writer.run('setStatus', args, record));
    return await this.#settled(tenant, caller, ref, value);
  }

  /** For good; answers how many grants ended. Throws `principal_unknown`, `managed_by_manifest` or `gone`. */
  retire(asked: Tenant, caller: string, ref: PrincipalRef): Promise<number> {
    return this.#turns.run(asked.no, async () => {
      const tenant = this.#current(asked);
      this.#known(tenant, ref);
      const record = this.#record(tenant, caller, 'principal.retire', ref, {});
      const args = { tenantNo: tenant.no, class: ref.class, id: ref.id, at: this.#clock() };
      // It authenticates nobody from now on, whatever comes of the command: what is so is learnt after it.
      this.#registry.put(tenant.no, ref, null);
      const { value } = await this.#answered(tenant, this.#writer.run('retirePrincipal', args, record));
      if (value === undefined) this.#relearn(tenant);
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
      const stored = this.#store.find(tenant.no, ref);
      throw stored ? retired(principalKey(ref)) : unknown();
    }
    // Its own record has said it; whom it answered for has none yet.
    await this.#tell(tenant, caller, value);
    return value.ended;
  }
}

const principalsOf = ({ principals }: Manifest): readonly ManifestPrincipal[] => principals;

/** Why the API may not change it. */
function refusalOf({ retiredAt, source }: StoredPrincipal, key: string): ServiceError | undefined {
  if (retiredAt !== null) return retired(key);
  if (source === 'api') return undefined;
  return new ServiceError(
    'managed_by_manifest',
    `${key} is declared in the tenant's manifest, and is changed there; here it can be disabled, and a credential of it killed`,
  );
}

/** As it would be read again: what cannot be is not written. Throws `invalid_request`. */
function checked(principal: ManifestPrincipal): ManifestPrincipal {
  try {
    return parsePrincipal(principal);
  } catch (cause) {
    if (!(cause instanceof ManifestInvalid)) throw cause;
    throw new ServiceError('invalid_request', cause.message, { cause });
  }
}

/** Whoever acts for others has somebody to answer for it. Throws `invalid_request`. */
function checkOwned(principals: readonly ManifestPrincipal[]): void {
  for (const { class: cls, id, credentials, ceiling, owners } of principals)
    if (cls === 'agent' && (credentials.length > 0 || ceiling !== undefined) && owners.length === 0)
      throw new ServiceError(
        'invalid_request',
        `agent:${id} has no owners: an agent that can act has somebody to answer for it`,
      );
}

/** What their ceilings say of authorization details is of the tenant's types. Throws `invalid_request`. */
function checkDetails({ manifest }: Tenant, principals: readonly ManifestPrincipal[]): void {
  for (const principal of principals)
    for (const [at, detail] of (principal.ceiling?.authorization_details ?? []).entries()) {
      const problem = detailProblem(manifest.authorization_details, detail, 'bound');
      if (problem !== undefined)
        throw new ServiceError(
          'invalid_request',
          `${principalKey(principal)}: ceiling.authorization_details.${at} ${problem}`,
        );
    }
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
