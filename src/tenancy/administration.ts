import { createHash } from 'node:crypto';
import { channel } from 'node:diagnostics_channel';
import { buildRecord } from '../audit/record.ts';
import type { Clock, Random } from '../effects.ts';
import { ServiceError } from '../errors.ts';
import { namedIn, type PrincipalRef, type TenantId, uuidv7 } from '../ids.ts';
import type { PrincipalChanges, PrincipalState } from '../storage/commands.ts';
import { setAsideChannel } from '../storage/faults.ts';
import type { RestartedLog } from '../storage/log/commands.ts';
import type { PrincipalRow, RecordRow } from '../storage/rows.ts';
import type { Writer } from '../storage/writer.ts';
import type { FactSource } from './facts.ts';
import { limitsOf, type TenantLimits } from './limits.ts';
import type { ManifestPrincipal } from './manifest.ts';
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

  constructor(options: {
    writer: Writer;
    facts: FactSource;
    /** The most that a tenant may have. */
    limits: TenantLimits;
    clock: Clock;
    random: Random;
  }) {
    this.#facts = options.facts;
    this.#limits = options.limits;
    this.#writer = options.writer;
    this.#clock = options.clock;
    this.#random = options.random;
  }

  /** Brings a manifest into the store, if it is not the one that is there. */
  async adopt(source: TenantSource): Promise<Tenant> {
    const { value: stored } = await this.#writer.run('putTenant', { id: source.id });
    const limits = limitsOf(source.manifest.limits, this.#limits);
    const tenant = buildTenant({ ...source, manifest: { ...source.manifest, limits } }, stored.no);
    this.#writer.limit(tenant.no, {
      bytesPerSecond: limits.record_bytes_per_second,
      bytes: limits.store_bytes,
    });
    if (stored.manifestHash !== source.hash) {
      const at = this.#clock();
      const principals = source.manifest.principals.map(rowOf);
      const record = this.#record(tenant, 'manifest', 'manifest.apply', undefined, {
        manifest_sha256: source.hash,
        principals: principals.length,
      });
      const { value } = await this.#writer.run(
        'putManifest',
        { tenantNo: stored.no, hash: source.hash, principals, at },
        record,
      );
      this.#facts.changed(tenant);
      // Of a tenant that is new all of it is.
      if (stored.manifestHash !== '') await this.#tell(tenant, 'manifest', value);
    }
    return tenant;
  }

  /**
   * Sets a tenant's damaged log aside and begins a new one, whose first record says so. `whole` where nothing
   * is wrong with it, `undefined` where there is no such tenant.
   */
  async restartLog(id: TenantId): Promise<RestartedLog | 'whole' | undefined> {
    const { value: log } = await this.#writer.run('damagedLog', { id });
    if (log && log !== 'whole') {
      const detail = { set_aside: log.setAside, damage: log.damage, checkpoint: log.checkpoint };
      const record = this.#record({ id, no: log.no }, 'start', 'log.restart', undefined, detail);
      await this.#writer.run('restartLog', { id, log }, record);
      setAsideChannel.publish({ tenantNo: log.old });
    }
    restartChannel.publish({ tenant: id, log } satisfies LogRestarted);
    return log;
  }

  async putPrincipals(tenant: Tenant, caller: string, principals: readonly PrincipalRow[]): Promise<number> {
    const record = this.#record(tenant, caller, 'principals.put', undefined, {
      count: principals.length,
      principals: principals.slice(0, 100).map((each) => `${each.class}:${each.id}`),
    });
    const args = { tenantNo: tenant.no, principals, at: this.#clock() };
    const { value } = await this.#writer.run('putPrincipals', args, record);
    this.#facts.changed(tenant);
    await this.#tell(tenant, caller, value);
    return value.written;
  }

  /** A record for each principal that is other than it was: who gave whom which role is found by either's name. */
  async #tell(tenant: Tenant, caller: string, { changed, told }: PrincipalChanges): Promise<void> {
    if (told.length === 0) return;
    const parcel = this.#writer.parcel();
    for (const { principal, before = null, after = null } of told) {
      const beside = changed > told.length ? { and_more: changed - told.length } : {};
      const states = { before: shown(before), after: shown(after) };
      parcel.add(this.#record(tenant, caller, 'principal.change', principal, { ...states, ...beside }));
    }
    await this.#writer.appendAll(parcel);
  }

  /** Answers how many grants ended. Throws `principal_unknown`. */
  async setStatus(tenant: Tenant, caller: string, ref: PrincipalRef, disabled: boolean): Promise<number> {
    const action = disabled ? 'principal.disable' : 'principal.enable';
    const record = this.#record(tenant, caller, action, ref, {});
    const args = { tenantNo: tenant.no, class: ref.class, id: ref.id, disabled, at: this.#clock() };
    const { value } = await this.#writer.run('setStatus', args, record);
    this.#facts.changed(tenant);
    if (value === undefined) throw new ServiceError('principal_unknown', 'no such principal in this tenant');
    return value;
  }

  /** Records a change of the active policy, or a refusal of one. */
  async recordPolicy(tenant: Tenant, caller: string, revision: string, error?: ServiceError): Promise<void> {
    const detail = error ? { error: error.message.slice(0, 4_000) } : {};
    await this.#writer.append(
      this.#record(tenant, caller, error ? 'policy.reject' : 'policy.activate', undefined, detail, {
        revision,
        outcome: error ? 'error' : 'done',
      }),
    );
  }

  #record(
    tenant: Pick<Tenant, 'id' | 'no'>,
    caller: string,
    action: string,
    target: PrincipalRef | undefined,
    detail: Readonly<Record<string, unknown>>,
    { revision = '', outcome = 'done' }: { revision?: string; outcome?: 'done' | 'error' } = {},
  ): RecordRow {
    const now = this.#clock();
    // Who did it, and to whom: both are found by their names.
    const by = namedIn(caller);
    return buildRecord({
      tenantNo: tenant.no,
      time: now,
      kind: 'administration',
      outcome,
      decisionId: uuidv7(now, this.#random(10)),
      caller,
      subject: by,
      actor: target,
      revision,
      members: `${revision === '' ? '' : `,"revision":"${revision}"`},"detail":${JSON.stringify(detail)}`,
      input: JSON.stringify({
        subject: by ?? null,
        target: target ?? null,
        action: { name: action },
        resource: { type: 'tenant', id: tenant.id },
      }),
    });
  }
}

/** What a list of names takes at most to be told whole. */
const MOST_CHARACTERS = 4_096;

/** Lists that are too long are told by their length and their SHA-256. */
function shown(state: PrincipalState | null): object | null {
  if (!state) return null;
  const { roles, groups, scopes, ...rest } = state;
  const lists = Object.entries({ roles, groups, scopes }).map(([name, list]) => {
    const text = JSON.stringify(list);
    const short = { count: list.length, sha256: createHash('sha256').update(text).digest('hex') };
    return [name, text.length <= MOST_CHARACTERS ? list : short] as const;
  });
  return { ...rest, ...Object.fromEntries(lists) };
}

const rowOf = (principal: ManifestPrincipal): PrincipalRow => ({
  class: principal.class,
  id: principal.id,
  groups: principal.groups,
  roles: principal.roles,
  scopes: principal.scopes,
  properties: principal.properties,
  disabled: principal.status === undefined ? undefined : principal.status === 'disabled',
});
