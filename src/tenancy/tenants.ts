import { isUtf8 } from 'node:buffer';
import { createHash } from 'node:crypto';
import path from 'node:path';
import { ServiceError } from '../errors.ts';
import { type PrincipalRef, principalKey, type TenantId, tenantId } from '../ids.ts';
import type { TenantNo } from '../storage/rows.ts';
import type { TenantPlace } from './folder/list.ts';
import { parseManifestText } from './folder/parser.ts';
import type { TenantFiles } from './folder/read.ts';
import type { Ceiling, Manifest, ManifestPrincipal } from './manifest.ts';
import { MANIFEST, ManifestInvalid } from './manifest-invalid.ts';

/** One tenant as it is now. Replaced whole when its manifest changes, never edited. */
export interface Tenant extends TenantPlace {
  readonly id: TenantId;
  /** The store's number for it. */
  readonly no: TenantNo;
  readonly manifest: Manifest;
  /** Principals that authenticate here, by `sha256:<hex>` of their secret or by SPIFFE id. */
  readonly credentials: ReadonlyMap<string, ManifestPrincipal>;
  /** The manifest's principals by `class:id`. */
  readonly declared: ReadonlyMap<string, ManifestPrincipal>;
  /** Every audience a token may be minted for (principal ids and resource URIs), and who answers for it. */
  readonly audiences: ReadonlyMap<string, PrincipalRef>;
}

/** A manifest as read from its folder, before the store knows it. */
export interface TenantSource extends TenantPlace {
  readonly id: TenantId;
  readonly manifest: Manifest;
  /** SHA-256 of the file: the same hash means there is nothing to store. */
  readonly hash: string;
}

/** The tenants this process serves. */
export class Tenants implements Iterable<Tenant> {
  readonly #byId = new Map<string, Tenant>();
  /** How many tenants know a credential. */
  readonly #credentials = new Map<string, number>();
  /** Which tenants trust an issuer. */
  readonly #issuers = new Map<string, Set<TenantId>>();
  readonly #onChange: (tenant: TenantId) => void;

  /** `onChange` hears of every tenant that was put, right after it. */
  constructor(onChange: (tenant: TenantId) => void = () => {}) {
    this.#onChange = onChange;
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

  put(tenant: Tenant): void {
    const before = this.#byId.get(tenant.id);
    this.#count(before, -1);
    for (const { issuer } of before?.manifest.issuers ?? []) this.#issuers.get(issuer)?.delete(tenant.id);
    this.#count(tenant, 1);
    for (const { issuer } of tenant.manifest.issuers)
      this.#issuers.set(issuer, (this.#issuers.get(issuer) ?? new Set()).add(tenant.id));
    this.#byId.set(tenant.id, tenant);
    this.#onChange(tenant.id);
  }

  /** Whether any tenant knows the credential, named as in `Tenant.credentials`. */
  knowCredential(key: string): boolean {
    return this.#credentials.has(key);
  }

  /** The tenants that trust the issuer. */
  trusting(issuer: string): Tenant[] {
    return [...(this.#issuers.get(issuer) ?? [])].flatMap((id) => this.#byId.get(id) ?? []);
  }

  #count(tenant: Tenant | undefined, by: 1 | -1): void {
    if (!tenant) return;
    for (const key of tenant.credentials.keys()) add(this.#credentials, key, by);
  }

  get size(): number {
    return this.#byId.size;
  }

  [Symbol.iterator](): Iterator<Tenant> {
    return this.#byId.values();
  }
}

function add(counts: Map<string, number>, key: string, by: number): void {
  const count = (counts.get(key) ?? 0) + by;
  if (count === 0) counts.delete(key);
  else counts.set(key, count);
}

/** The tenant that a folder's files are of. Throws `ManifestInvalid`, with the place of the mistake. */
export async function readTenant({ place, manifest: bytes, faults }: TenantFiles): Promise<TenantSource> {
  const file = path.join(place.folder, MANIFEST);
  const fault = faults.find((each) => each.file === MANIFEST);
  if (!bytes) throw new ManifestInvalid(file, fault?.problem ?? 'it cannot be read (ENOENT)');
  if (!isUtf8(bytes)) throw new ManifestInvalid(file, 'it is not UTF-8');
  const manifest = await parseManifestText(bytes.toString('utf8'), file);
  try {
    const id = tenantId(manifest.id);
    return { id, ...place, manifest, hash: createHash('sha256').update(bytes).digest('hex') };
  } catch {
    throw new ManifestInvalid(file, 'id: 1 to 63 of a-z, 0-9 and -, such as acme');
  }
}

/** Builds the look-ups of a tenant. Throws `ManifestInvalid` where two principals share a credential or audience. */
export function buildTenant(source: TenantSource, no: TenantNo): Tenant {
  const { manifest, folder, root } = source;
  const credentials = new Map<string, ManifestPrincipal>();
  const audiences = new Map<string, PrincipalRef>();
  const claim = <T>(map: Map<string, T>, key: string, value: T, what: string): void => {
    if (map.has(key)) throw new ManifestInvalid(path.join(folder, MANIFEST), `two principals share ${what}`);
    map.set(key, value);
  };
  for (const principal of manifest.principals) {
    for (const credential of principal.credentials)
      if ('secret_sha256' in credential)
        claim(credentials, `sha256:${credential.secret_sha256}`, principal, 'a credential');
      else claim(credentials, credential.spiffe_id, principal, 'a SPIFFE id');
    if (principal.class !== 'mcp_server' && principal.class !== 'service') continue;
    for (const audience of [principal.id, ...principal.resources])
      claim(audiences, audience, { class: principal.class, id: principal.id }, `the audience ${audience}`);
  }
  const declared = new Map(manifest.principals.map((entry) => [principalKey(entry), entry]));
  return { id: source.id, no, folder, root, manifest, credentials, declared, audiences };
}

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
