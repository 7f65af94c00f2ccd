import { channel } from 'node:diagnostics_channel';
import { changeRow } from '../audit/administration.ts';
import type { Clock, Random } from '../effects.ts';
import type { ServiceError } from '../errors.ts';
import { type PrincipalRef, type TenantId, uuidv7 } from '../ids.ts';
import type { Commands } from '../storage/commands.ts';
import { setAsideChannel } from '../storage/faults.ts';
import type { IssuerStore } from '../storage/issuers.ts';
import type { RestartedLog } from '../storage/log/commands.ts';
import type { PrincipalStore } from '../storage/principals/store.ts';
import type { RecordRow, TenantNo } from '../storage/rows.ts';
import type { Writer } from '../storage/writer.ts';
import type { FactSource } from './facts.ts';
import { limitsOf, type TenantLimits } from './limits.ts';
import type { Doubt } from './registry/doubt.ts';
import { IssuerChanges, type RegisteredIssuers } from './registry/issuers.ts';
import { Principals, type Recording } from './registry/principals.ts';
import type { Registry } from './registry/registry.ts';
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
  readonly #limits: TenantLimits;
  readonly #principals: Principals;
  readonly #issuers: IssuerChanges;

  constructor(options: {
    writer: Writer;
    facts: FactSource;
    principals: { store: PrincipalStore; registry: Registry };
    issuers: { store: IssuerStore; registered: RegisteredIssuers };
    doubt: Doubt;
    /** The text of the manifest that was adopted last. */
    manifestBefore: (tenantNo: TenantNo) => string | undefined;
    /** The tenant as it is now, if it is served. */
    current: (tenant: Tenant) => Tenant;
    /** The most that a tenant may have. */
    limits: TenantLimits;
    clock: Clock;
    random: Random;
  }) {
    const { writer, facts, principals, issuers, limits, clock, random } = options;
    this.#limits = limits;
    this.#writer = writer;
    this.#clock = clock;
    this.#random = random;
    const record: Recording = (...of) => this.record(...of);
    const { doubt, manifestBefore, current } = options;
    this.#principals = new Principals({
      ...principals,
      writer,
      facts,
      record,
      doubt,
      manifestBefore,
      current,
      clock,
      random,
    });
    const inTurn: Principals['inTurn'] = (no, work) => this.#principals.inTurn(no, work);
    this.#issuers = new IssuerChanges({ ...issuers, writer, record, doubt, current, inTurn });
  }

  /**
   * Brings a manifest into the store, if it is not the one that is there. `served` hears of the tenant before any other
   * change has its turn. Throws `ManifestInvalid`.
   */
  async adopt(source: TenantSource, served: (tenant: Tenant) => void = () => {}): Promise<Tenant> {
    const { value: stored } = await this.#writer.run('putTenant', { id: source.id });
    return this.#principals.inTurn(stored.no, async () => {
      const tenant = await this.#adopt(source, stored);
      served(tenant);
      return tenant;
    });
  }

  async #adopt(source: TenantSource, stored: { no: TenantNo; manifestHash: string }): Promise<Tenant> {
    const limits = limitsOf(source.manifest.limits, this.#limits);
    this.#issuers.learn(stored.no);
    this.#principals.learn(stored.no);
    const manifest = { ...source.manifest, limits };
    const tenant = buildTenant(
      { ...source, manifest },
      stored.no,
      this.#principals.registered(stored.no),
      this.#issuers.registered(stored.no),
    );
    this.#writer.limit(tenant.no, {
      bytesPerSecond: limits.record_bytes_per_second,
      bytes: limits.store_bytes,
    });
    if (stored.manifestHash !== source.hash)
      await this.#principals.adopt(tenant, source, stored.manifestHash === '');
    await this.#issuers.giveWay(tenant);
    return tenant;
  }

  /** The tenant as the store has it, where another server decides what that is. Throws `ManifestInvalid`. */
  follow(source: TenantSource, no: TenantNo): Promise<Tenant> {
    return this.#principals.inTurn(no, () => {
      const limits = limitsOf(source.manifest.limits, this.#limits);
      this.#issuers.learn(no);
      this.#principals.learn(no);
      const manifest = { ...source.manifest, limits };
      const tenant = buildTenant(
        { ...source, manifest },
        no,
        this.#principals.registered(no),
        this.#issuers.registered(no),
      );
      this.#writer.limit(no, { bytesPerSecond: limits.record_bytes_per_second, bytes: limits.store_bytes });
      return Promise.resolve(tenant);
    });
  }

  get issuers(): Pick<IssuerChanges, 'of' | 'put' | 'remove'> {
    return this.#issuers;
  }

  get principals(): Pick<Principals, 'put' | 'change' | 'setStatus' | 'retire' | 'registered'> {
    return this.#principals;
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

  /**
   * Keeps a revision, makes one active, or both, and records it where it is news. Answers whether it was done: not where
   * another is active than was expected.
   */
  async keepRevision(
    tenant: Tenant,
    { kept, active, folder }: Omit<Parameters<Commands['keepRevision']>[0], 'tenantNo'>,
    { caller, message, isRecorded }: { caller: string; message: string; isRecorded: boolean },
  ): Promise<boolean> {
    const revision = active?.revision ?? kept?.row.revision ?? '';
    const detail = message === '' ? {} : { message };
    const action = active ? 'policy.activate' : 'policy.push';
    const { value } = await this.#writer.run(
      'keepRevision',
      { tenantNo: tenant.no, kept, active, folder },
      isRecorded ? this.record(tenant, caller, action, undefined, detail, { revision }) : undefined,
    );
    return value === true;
  }

  /** Keeps a revision whose tests were not run. */
  async keepDraft(
    tenant: Tenant,
    kept: Parameters<Commands['keepDraft']>[0]['kept'],
    { caller, message }: { caller: string; message: string },
  ): Promise<void> {
    const detail = { draft: true, ...(message !== '' && { message }) };
    const { revision } = kept.row;
    const record = this.record(tenant, caller, 'policy.push', undefined, detail, { revision });
    await this.#writer.run('keepDraft', { tenantNo: tenant.no, kept }, record);
  }

  /** A draft is one no more, as its tests passed. Answers whether it was done. */
  async validateRevision(tenant: Tenant, caller: string, revision: string, tests: string): Promise<boolean> {
    const record = this.record(tenant, caller, 'policy.validate', undefined, {}, { revision });
    const args = { tenantNo: tenant.no, revision, tests };
    const { value } = await this.#writer.run('validateRevision', args, record);
    return value === true;
  }

  /** Tries a kept revision, or ends what is tried so. Answers whether it was done. */
  async tryRevision(
    tenant: Tenant,
    caller: string,
    trial: Omit<Parameters<Commands['tryRevision']>[0], 'tenantNo'>,
  ): Promise<boolean> {
    const { as, revision, share, only = '' } = trial;
    const action = as === 'shadow' ? 'policy.shadow' : 'policy.stage';
    const detail = {
      ...(share === '' ? {} : { share: JSON.parse(share) as unknown }),
      ...(only !== '' && { package: only }),
      ended: revision === '',
    };
    const record = this.record(tenant, caller, action, undefined, detail, { revision });
    const { value } = await this.#writer.run('tryRevision', { tenantNo: tenant.no, ...trial }, record);
    return value === true;
  }

  /** Records that files were refused; `revision` is what stays. */
  async recordRefusedPolicy(
    tenant: Tenant,
    caller: string,
    revision: string,
    error: ServiceError,
  ): Promise<void> {
    const detail = { error: error.message.slice(0, 4_000) };
    await this.#writer.append(
      this.record(tenant, caller, 'policy.reject', undefined, detail, { revision, outcome: 'error' }),
    );
  }

  /** Records that a tenant is served no more, since its folder is gone. */
  async recordRetired(tenant: Tenant): Promise<void> {
    await this.#writer.append(this.record(tenant, 'watch', 'tenant.retire', undefined, {}));
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
