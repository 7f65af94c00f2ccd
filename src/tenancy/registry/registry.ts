import { type PrincipalRef, principalKey } from '../../ids.ts';
import type { RegisteredPrincipal } from '../../storage/principals/store.ts';
import type { TenantNo } from '../../storage/rows.ts';
import type { ManifestPrincipal } from '../manifest.ts';
import type { Tenant } from '../tenants.ts';
import { type Credential, greetedBy, presentedAs } from './credentials.ts';
import { registeredIn } from './registration.ts';

/** A credential that can be presented, and whose it is. */
export interface Holder {
  readonly principal: ManifestPrincipal;
  readonly credential: Credential;
}

export interface WorkloadHolder extends Holder {
  readonly credential: Extract<Credential, { workload: unknown }>;
}

/** Principals with something beside their facts, by all that they are looked up by. */
export class Register {
  /** By `class:id`. */
  readonly declared = new Map<string, ManifestPrincipal>();
  /** By `sha256:<hex>` of their secret or by SPIFFE id. */
  readonly credentials = new Map<string, Holder>();
  /** By the issuer of their tokens. */
  readonly workloads = new Map<string, readonly WorkloadHolder[]>();
  /** Every audience a token may be minted for (principal ids and resource URIs), and who answers for it. */
  readonly audiences = new Map<string, PrincipalRef>();

  /** Puts one in; answers what it would share with another, and then nothing is put. */
  add(principal: ManifestPrincipal): string | undefined {
    const shared = this.sharedWith(principal);
    if (shared !== undefined) return shared;
    for (const credential of principal.credentials) {
      const key = presentedAs(credential);
      if (key !== undefined) this.credentials.set(key, { principal, credential });
      if ('workload' in credential) {
        const { issuer } = credential.workload;
        const others = this.workloads.get(issuer) ?? [];
        this.workloads.set(issuer, [...others, { principal, credential }]);
      }
    }
    for (const audience of audiencesOf(principal))
      this.audiences.set(audience, { class: principal.class, id: principal.id });
    this.declared.set(principalKey(principal), principal);
    return undefined;
  }

  /** What it has that another here has, or that it has twice itself, in words. */
  sharedWith(principal: ManifestPrincipal): string | undefined {
    const keys = principal.credentials.flatMap((one) => presentedAs(one) ?? []);
    const key = keys.find((each, at) => this.credentials.has(each) || keys.indexOf(each) !== at);
    if (key !== undefined) return what(key);
    const names = audiencesOf(principal);
    const name = names.find((each, at) => this.audiences.has(each) || names.indexOf(each) !== at);
    return name === undefined ? undefined : `the audience ${name}`;
  }

  remove(ref: PrincipalRef): void {
    const principal = this.declared.get(principalKey(ref));
    if (!principal) return;
    this.declared.delete(principalKey(ref));
    for (const one of principal.credentials) {
      this.credentials.delete(presentedAs(one) ?? '');
      if (!('workload' in one)) continue;
      const { issuer } = one.workload;
      const left = (this.workloads.get(issuer) ?? []).filter((holder) => holder.principal !== principal);
      if (left.length > 0) this.workloads.set(issuer, left);
      else this.workloads.delete(issuer);
    }
    for (const audience of audiencesOf(principal)) this.audiences.delete(audience);
  }
}

/** Only servers are audiences: no token is for an agent or a job, whatever it is called. */
export const audiencesOf = ({ class: cls, id, resources }: ManifestPrincipal): readonly string[] =>
  cls === 'mcp_server' || cls === 'service' ? [id, ...resources] : [];

/** What the API has registered, of each tenant apart. In memory: it is what machines are known by, not people. */
export class Registry {
  readonly #registers = new Map<TenantNo, Register>();
  /** How many tenants know a credential. */
  readonly #known = new Map<string, number>();

  of(tenantNo: TenantNo): Register {
    const known = this.#registers.get(tenantNo);
    if (known) return known;
    const register = new Register();
    this.#registers.set(tenantNo, register);
    return register;
  }

  /** Whether any tenant knows the credential. */
  knows(key: string): boolean {
    return this.#known.has(key);
  }

  /** Takes what is stored for what is so. */
  load(tenantNo: TenantNo, rows: readonly RegisteredPrincipal[]): void {
    const register = this.of(tenantNo);
    const stored = new Set(rows.map(principalKey));
    for (const principal of register.declared.values())
      if (!stored.has(principalKey(principal))) this.#drop(register, principal);
    for (const row of rows) this.put(tenantNo, row, row.registration);
  }

  /** What one is registered with from now on; null: nothing. */
  put(tenantNo: TenantNo, ref: PrincipalRef, registration: string | null): void {
    const register = this.of(tenantNo);
    this.#drop(register, ref);
    const principal = registration === null ? undefined : registeredIn(tenantNo, { ...ref, registration });
    // Two that share something were never put: the second is nobody.
    if (!principal || register.add(principal) !== undefined) return;
    this.#count(principal, 1);
  }

  #drop(register: Register, ref: PrincipalRef): void {
    const before = register.declared.get(principalKey(ref));
    if (!before) return;
    register.remove(ref);
    this.#count(before, -1);
  }

  #count({ id, credentials }: ManifestPrincipal, by: 1 | -1): void {
    for (const one of credentials) count(this.#known, greetedBy(one, id), by);
  }
}

/** How many know something; undefined is nothing. */
export function count(counts: Map<string, number>, key: string | undefined, by: 1 | -1): void {
  if (key === undefined) return;
  const sum = (counts.get(key) ?? 0) + by;
  if (sum === 0) counts.delete(key);
  else counts.set(key, sum);
}

/** What a principal that is to be put would share with another of the tenant, in words. */
export function sharedWithin(
  { credentials, audiences }: Pick<Tenant, 'credentials' | 'audiences'>,
  principal: ManifestPrincipal,
): string | undefined {
  const isOther = (ref: PrincipalRef | undefined): boolean =>
    ref !== undefined && principalKey(ref) !== principalKey(principal);
  const keys = principal.credentials.flatMap((one) => presentedAs(one) ?? []);
  const key = keys.find((each) => isOther(credentials.get(each)?.principal));
  if (key !== undefined) return what(key);
  const name = audiencesOf(principal).find((each) => isOther(audiences.get(each)));
  return name === undefined ? undefined : `the audience ${name}`;
}

const what = (key: string): string => (key.startsWith('sha256:') ? 'a credential' : 'a SPIFFE id');
