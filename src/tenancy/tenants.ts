import { isUtf8 } from 'node:buffer';
import { createHash } from 'node:crypto';
import path from 'node:path';
import { ServiceError } from '../errors.ts';
import { type PrincipalRef, principalKey, type TenantId, tenantId } from '../ids.ts';
import type { TenantNo } from '../storage/rows.ts';
import type { TenantPlace } from './folder/list.ts';
import { parseManifestText } from './folder/parser.ts';
import type { TenantFiles } from './folder/read.ts';
import type { Ceiling, Manifest, ManifestPrincipal, TrustedIssuer } from './manifest.ts';
import { MANIFEST, ManifestInvalid } from './manifest-invalid.ts';
import { greetedBy } from './registry/credentials.ts';
import { RegisteredIssuers } from './registry/issuers.ts';
import { count, type Holder, Register, Registry, type WorkloadHolder } from './registry/registry.ts';

/** One tenant as it is now. Replaced whole when its manifest changes, never edited. */
export interface Tenant extends TenantPlace {
  readonly id: TenantId;
  /** The store's number for it. */
  readonly no: TenantNo;
  readonly manifest: Manifest;
  /** Credentials that are presented here, by `sha256:<hex>` of a secret or by SPIFFE id. */
  readonly credentials: LookUp<Holder>;
  /** Whoever authenticates by tokens of an issuer's that are given to what runs on its platform, by the issuer. */
  readonly workloads: LookUp<readonly WorkloadHolder[]>;
  /** By `class:id`, whoever has more than facts: in the manifest, or registered by the API. */
  readonly declared: LookUp<ManifestPrincipal>;
  /** Every audience a token may be minted for (principal ids and resource URIs), and who answers for it. */
  readonly audiences: LookUp<PrincipalRef>;
  /** Trusted issuers by their names, which are addresses. */
  readonly issuers: LookUp<TrustedIssuer>;
}

export type LookUp<T> = Pick<ReadonlyMap<string, T>, 'get'>;

/** A manifest as read from its folder, before the store knows it. */
export interface TenantSource extends TenantPlace {
  readonly id: TenantId;
  readonly manifest: Manifest;
  /** As it is written. */
  readonly text: string;
  /** SHA-256 of the file: the same hash means there is nothing to store. */
  readonly hash: string;
}

/** The tenants this process serves. */
export class Tenants implements Iterable<Tenant> {
  readonly #byId = new Map<string, Tenant>();
  readonly #byNo = new Map<TenantNo, Tenant>();
  /** How many manifests have a credential. */
  readonly #credentials = new Map<string, number>();
  /** Whose manifests name an issuer. */
  readonly #issuers = new Map<string, Set<TenantNo>>();
  readonly #onChange: (tenant: TenantId) => void;

  readonly #registry: Pick<Registry, 'knows'>;
  readonly #registeredIssuers: Pick<RegisteredIssuers, 'trusting'>;

  /** `onChange` hears of every tenant that was put, right after it. */
  constructor(
    onChange: (tenant: TenantId) => void = () => {},
    registry: Pick<Registry, 'knows'> = new Registry(),
    registeredIssuers: Pick<RegisteredIssuers, 'trusting'> = new RegisteredIssuers(),
  ) {
    this.#onChange = onChange;
    this.#registry = registry;
    this.#registeredIssuers = registeredIssuers;
  }

  /** Throws `tenant_unknown`. */
  get(id: string): Tenant {
    const tenant = this.#byId.get(id);
    if (!tenant) throw new ServiceError('tenant_unknown', 'no such tenant');
    return tenant;
  }

  find(id: string): Tenant | undefined {
    return this.#byId.get(id);
  }

  /** It is served no more. */
  remove(id: TenantId): void {
    const before = this.#byId.get(id);
    if (!before) return;
    this.#forget(before);
    this.#byNo.delete(before.no);
    this.#byId.delete(id);
    this.#onChange(id);
  }

  #forget(before: Tenant): void {
    this.#count(before, -1);
    for (const { issuer } of before.manifest.issuers) this.#issuers.get(issuer)?.delete(before.no);
  }

  put(tenant: Tenant): void {
    const before = this.#byId.get(tenant.id);
    if (before) this.#forget(before);
    this.#count(tenant, 1);
    for (const { issuer } of tenant.manifest.issuers)
      this.#issuers.set(issuer, (this.#issuers.get(issuer) ?? new Set()).add(tenant.no));
    this.#byNo.set(tenant.no, tenant);
    this.#byId.set(tenant.id, tenant);
    this.#onChange(tenant.id);
  }

  /** Whether any tenant knows the credential, named as in `Tenant.credentials`. */
  knowCredential(key: string): boolean {
    return this.#credentials.has(key) || this.#registry.knows(key);
  }

  withNo(no: TenantNo): Tenant | undefined {
    return this.#byNo.get(no);
  }

  /** The tenants that trust the issuer. */
  trusting(issuer: string): Tenant[] {
    const numbers = [...(this.#issuers.get(issuer) ?? []), ...this.#registeredIssuers.trusting(issuer)];
    return numbers.flatMap((no) => this.#byNo.get(no) ?? []);
  }

  #count(tenant: Tenant | undefined, by: 1 | -1): void {
    for (const { id, credentials } of tenant?.manifest.principals ?? [])
      for (const one of credentials) count(this.#credentials, greetedBy(one, id), by);
  }

  get size(): number {
    return this.#byId.size;
  }

  [Symbol.iterator](): Iterator<Tenant> {
    return this.#byId.values();
  }
}

/** The tenant that a folder's files are of. Throws `ManifestInvalid`, with the place of the mistake. */
export async function readTenant({ place, manifest: bytes, faults }: TenantFiles): Promise<TenantSource> {
  const file = path.join(place.folder, MANIFEST);
  const fault = faults.find((each) => each.file === MANIFEST);
  if (!bytes) throw new ManifestInvalid(file, fault?.problem ?? 'it cannot be read (ENOENT)');
  if (!isUtf8(bytes)) throw new ManifestInvalid(file, 'it is not UTF-8');
  return readManifest(place, bytes.toString('utf8'));
}

/** The tenant that a manifest's text is of. Throws `ManifestInvalid`. */
export async function readManifest(place: TenantPlace, text: string): Promise<TenantSource> {
  const file = path.join(place.folder, MANIFEST);
  const manifest = await parseManifestText(text, file);
  try {
    const id = tenantId(manifest.id);
    return { id, ...place, manifest, text, hash: createHash('sha256').update(text).digest('hex') };
  } catch {
    throw new ManifestInvalid(file, 'id: 1 to 63 of a-z, 0-9 and -, such as acme');
  }
}

/**
 * Builds the look-ups of a tenant: the manifest's first, then what the API has registered. Throws `ManifestInvalid` where
 * two principals share a credential or audience.
 */
export function buildTenant(
  source: TenantSource,
  no: TenantNo,
  registered = new Register(),
  issuers: ReadonlyMap<string, TrustedIssuer> = new Map(),
): Tenant {
  const { manifest, folder, root } = source;
  const own = new Register();
  const invalid = (what: string): ManifestInvalid =>
    new ManifestInvalid(path.join(folder, MANIFEST), `two principals share ${what}`);
  for (const principal of manifest.principals) {
    const shared = own.add(principal);
    if (shared !== undefined) throw invalid(shared);
  }
  for (const principal of registered.declared.values()) {
    // What the manifest declares is its own from then on.
    if (own.declared.has(principalKey(principal))) continue;
    const shared = own.sharedWith(principal);
    if (shared !== undefined)
      throw invalid(`${shared}; the API has registered ${principalKey(principal)} with it`);
  }
  return {
    id: source.id,
    no,
    folder,
    root,
    manifest,
    credentials: over(own.credentials, registered.credentials),
    workloads: {
      get: (issuer) => [
        ...(own.workloads.get(issuer) ?? []),
        // What the manifest declares meanwhile is its own.
        ...(registered.workloads.get(issuer) ?? []).filter(
          ({ principal }) => !own.declared.has(principalKey(principal)),
        ),
      ],
    },
    declared: over(own.declared, registered.declared),
    audiences: over(own.audiences, registered.audiences),
    issuers: over(new Map(manifest.issuers.map((each) => [each.issuer, each])), issuers),
  };
}

const over = <T>(first: ReadonlyMap<string, T>, then: ReadonlyMap<string, T>): LookUp<T> => ({
  get: (key) => first.get(key) ?? then.get(key),
});

/** What a principal may be granted at most when it acts for others; none means: nothing. */
export const ceilingOf = (tenant: Tenant, actor: PrincipalRef): Ceiling | undefined =>
  tenant.declared.get(principalKey(actor))?.ceiling;

/** The scopes a principal holds: its own and those of its roles. */
export function heldScopes(tenant: Tenant, roles: readonly string[], own: readonly string[]): Set<string> {
  const held = new Set(own);
  for (const role of roles) {
    if (!Object.hasOwn(tenant.manifest.roles, role)) continue;
    for (const scope of tenant.manifest.roles[role]?.scopes ?? []) held.add(scope);
  }
  return held;
}
