import { channel } from 'node:diagnostics_channel';
import { killRow } from '../audit/kill.ts';
import type { Clock, Random } from '../effects.ts';
import { ServiceError } from '../errors.ts';
import { type GrantId, type PrincipalRef, principalKey, uuidv7 } from '../ids.ts';
import {
  issuerEnd,
  issuerIn,
  type KillName,
  type KillRow,
  type KillStore,
  TENANT_END,
} from '../storage/granting/ends.ts';
import type { GrantStore } from '../storage/grants.ts';
import type { GrantRow, RecordRow } from '../storage/rows.ts';
import type { Writer } from '../storage/writer.ts';
import type { Administration } from '../tenancy/administration.ts';
import type { Caller } from '../tenancy/callers.ts';
import type { FactSource } from '../tenancy/facts.ts';
import type { Issuers } from '../tenancy/issuers.ts';
import { readToken } from '../tenancy/jose.ts';
import type { Kills } from '../tenancy/kills.ts';
import type { ManifestPrincipal } from '../tenancy/manifest.ts';
import { type Credential, credentialId, killedAs } from '../tenancy/registry/credentials.ts';
import type { Tenant } from '../tenancy/tenants.ts';
import type { Tokens } from './tokens.ts';

/** Published after each kill is durable: {tenant, what}. */
export const killChannel = channel('mandate:kill');

/** What is killed until it is restored. */
/** One of a principal's, whoever declares it: by its id there. */
export interface CredentialTarget {
  readonly what: 'credential';
  readonly principal: PrincipalRef;
  readonly id: string;
}

type WholeTarget = { readonly what: 'issuer'; readonly name: string } | { readonly what: 'tenant' };

/** What is killed until it is restored. */
export type RestoreTarget = WholeTarget | CredentialTarget;

/** What is ended, and by which of its names. */
export type KillTarget =
  | { readonly what: 'token' | 'grant'; readonly name: string }
  | { readonly what: 'agent' | 'subject'; readonly principal: PrincipalRef }
  | RestoreTarget;

/** What is killed, and since when in milliseconds since the epoch. */
export interface Killed {
  readonly target: RestoreTarget;
  readonly since: number;
}

export interface KillSwitchesOptions {
  readonly tokens: Tokens;
  readonly issuers: Issuers;
  readonly grants: GrantStore;
  readonly store: KillStore;
  readonly kills: Kills;
  readonly facts: FactSource;
  readonly administration: Administration;
  readonly writer: Writer;
  readonly clock: Clock;
  readonly random: Random;
}

const MAX_REASON = 1_024;

/** Ends what was delegated: one switch each, each one transaction with its record. */
export class KillSwitches {
  readonly #options: KillSwitchesOptions;

  constructor(options: KillSwitchesOptions) {
    this.#options = options;
  }

  /**
   * Answers how many living grants ended. Resolves after the commit, once all who decide know. Throws `invalid_request`,
   * `token_invalid`, `not_found` and `principal_unknown`.
   */
  async kill(tenant: Tenant, caller: Caller, target: KillTarget, reason: string): Promise<number> {
    checkReason(reason);
    const ended = await this.#killed(tenant, caller, target, reason);
    if (killChannel.hasSubscribers) killChannel.publish({ tenant: tenant.id, what: target.what });
    return ended;
  }

  /** Throws `invalid_request`, and `not_found` for what is not killed. */
  async restore(tenant: Tenant, caller: Caller, target: RestoreTarget, reason: string): Promise<void> {
    checkReason(reason);
    const { administration, writer } = this.#options;
    const { no: tenantNo } = tenant;
    if (target.what === 'credential') return await this.#restoreCredential(tenant, caller, target, reason);
    const detail = { ...('name' in target && { issuer: target.name }), reason };
    const record = administration.record(tenant, caller.id, `restore.${target.what}`, undefined, detail);
    const { value } = await writer.run('restore', { tenantNo, name: nameOf(target) }, record);
    this.#tell(tenant);
    if (value === undefined) throw new ServiceError('not_found', `the ${target.what} is not killed`);
  }

  /** Of credentials those that a principal has now: what nobody has lets nobody in. */
  list(tenant: Tenant): Killed[] {
    const { store, kills, administration } = this.#options;
    const whole = store.list(tenant.no).map(({ name, at }: KillRow): Killed => {
      const issuer = issuerIn(name);
      return {
        target: issuer === undefined ? { what: 'tenant' } : { what: 'issuer', name: issuer },
        since: at,
      };
    });
    if (store.credentials(tenant.no).size === 0) return whole;
    const registered = administration.principals.registered(tenant.no).declared.values();
    const ofOne = (principal: ManifestPrincipal): Killed[] =>
      principal.credentials.flatMap((each): Killed[] => {
        const since = kills.credentialKilledAt(tenant, each);
        const target = { what: 'credential', principal, id: credentialId(each) } as const;
        return since === undefined ? [] : [{ target, since }];
      });
    // What the manifest declares is its own, whatever the API had registered under that name.
    const isServed = (each: ManifestPrincipal) => tenant.declared.get(principalKey(each)) === each;
    return [...whole, ...[...tenant.manifest.principals, ...registered].filter(isServed).flatMap(ofOne)];
  }

  async #killed(tenant: Tenant, caller: Caller, target: KillTarget, reason: string): Promise<number> {
    const press = { tenant, caller, reason };
    switch (target.what) {
      case 'token':
        return this.#killGrant(press, 'kill.token', await this.#behind(tenant, target.name));
      case 'grant':
        return this.#killGrant(press, 'kill.grant', await this.#found(tenant, target.name));
      case 'agent':
      case 'subject':
        return this.#killPrincipal(press, `kill.${target.what}`, target.principal);
      case 'issuer':
        this.#checkIssuer(tenant, target.name);
        return this.#killAll(press, target);
      case 'tenant':
        return this.#killAll(press, target);
      case 'credential':
        return this.#killCredential(press, target);
    }
  }

  /** The grant of a token of the tenant's own, whether that has ended or not. */
  async #behind(tenant: Tenant, text: string): Promise<GrantRow> {
    const token = readToken(text);
    if (this.#options.tokens.isOwn(tenant, token))
      return this.#options.tokens.grantBehind(tenant, token, 'any');
    throw new ServiceError(
      'token_invalid',
      'it is no token of this tenant; what came of a token of an issuer ends with its subject, or the issuer',
    );
  }

  async #found(tenant: Tenant, id: string): Promise<GrantRow> {
    const { grants } = this.#options;
    await grants.heard?.(tenant.no, id as GrantId);
    const grant = grants.find(tenant.no, id as GrantId);
    if (!grant) throw new ServiceError('not_found', 'no such grant in this tenant');
    return grant;
  }

  /** Whoever mistypes an issuer must not believe that it is dead. */
  #checkIssuer(tenant: Tenant, issuer: string): void {
    const { issuers, store } = this.#options;
    if (issuers.trusted(tenant, issuer) || store.hasGrantsOf(tenant.no, issuer)) return;
    throw new ServiceError('not_found', 'the tenant trusts no such issuer, and has no grants of it');
  }

  /** 0 where it had been ended before, which is recorded, too. */
  async #killGrant(press: Press, action: string, grant: GrantRow): Promise<number> {
    const { writer } = this.#options;
    const { no: tenantNo } = press.tenant;
    const record = this.#record(press, action, { type: 'grant', id: grant.id }, { grant });
    const at = record.time;
    const { value } = await writer.run('revokeGrant', { tenantNo, id: grant.id, at }, record);
    if (value !== undefined) return value;
    await writer.append(record);
    return 0;
  }

  async #killPrincipal(press: Press, action: string, principal: PrincipalRef): Promise<number> {
    const { tenant, caller } = press;
    const resource = { type: 'principal', id: principalKey(principal) };
    const record = this.#record(press, action, resource, { target: principal });
    const { principals } = this.#options.administration;
    return await principals.setStatus(tenant, caller.id, principal, true, record);
  }

  /** What was granted to its principal ends: by which credential it was asked for, nobody keeps. */
  async #killCredential(press: Press, { principal, id }: CredentialTarget): Promise<number> {
    const { tenant } = press;
    const names = killedAs(credentialOf(tenant, principal, id));
    const resource = { type: 'credential', id: `${principalKey(principal)} ${id}` };
    const record = this.#record(press, 'kill.credential', resource, { target: principal });
    const args = { tenantNo: tenant.no, names, at: record.time, class: principal.class, id: principal.id };
    const { value } = await this.#options.writer.run('killCredential', args, record);
    return value;
  }

  async #restoreCredential(
    tenant: Tenant,
    caller: Caller,
    { principal, id }: CredentialTarget,
    reason: string,
  ): Promise<void> {
    const { administration, writer } = this.#options;
    const names = killedAs(credentialOf(tenant, principal, id));
    const detail = { credential: id, reason };
    const record = administration.record(tenant, caller.id, 'restore.credential', principal, detail);
    const { value } = await writer.run('restoreCredential', { tenantNo: tenant.no, names }, record);
    if (value === undefined) throw new ServiceError('not_found', 'the credential is not killed');
  }

  async #killAll(press: Press, target: WholeTarget): Promise<number> {
    const { tenant } = press;
    const id = 'name' in target ? target.name : tenant.id;
    const record = this.#record(press, `kill.${target.what}`, { type: target.what, id }, {});
    const args = { tenantNo: tenant.no, name: nameOf(target), at: record.time };
    const { value } = await this.#options.writer.run('kill', args, record);
    this.#tell(tenant);
    return value;
  }

  /** All threads, before anybody hears of it. */
  #tell(tenant: Tenant): void {
    const { kills, facts } = this.#options;
    kills.changed(tenant);
    facts.changed(tenant);
  }

  #record(
    { tenant, caller, reason }: Press,
    action: string,
    resource: { type: string; id: string },
    about: { grant?: GrantRow; target?: PrincipalRef },
  ): RecordRow {
    const { clock, random } = this.#options;
    const time = clock();
    const decisionId = uuidv7(time, random(10));
    return killRow({
      tenantNo: tenant.no,
      time,
      decisionId,
      caller: caller.id,
      action,
      resource,
      ...about,
      reason,
    });
  }
}

/** Who presses a switch of which tenant, and why. */
interface Press {
  readonly tenant: Tenant;
  readonly caller: Caller;
  readonly reason: string;
}

/** As `principal show` names it. Throws `principal_unknown` or `not_found`. */
function credentialOf(tenant: Tenant, principal: PrincipalRef, id: string): Credential {
  const declared = tenant.declared.get(principalKey(principal));
  const found = declared?.credentials.find((each) => credentialId(each) === id);
  if (found) return found;
  throw new ServiceError(
    'not_found',
    `${principalKey(principal)} has no such credential: \`mandate principal show\` names those that it has`,
  );
}

const nameOf = (target: WholeTarget): KillName =>
  target.what === 'tenant' ? TENANT_END : issuerEnd(target.name);

function checkReason(reason: string): void {
  if (reason.length > MAX_REASON)
    throw new ServiceError('invalid_request', `reason: at most ${MAX_REASON} characters`);
}
