import type { Clock } from '../../effects.ts';
import { ServiceError } from '../../errors.ts';
import { type TenantId, tenantId } from '../../ids.ts';
import type { Writer } from '../../storage/writer.ts';
import type { Administration } from '../../tenancy/administration.ts';
import type { TenantFiles } from '../../tenancy/folder/read.ts';
import { MANIFEST } from '../../tenancy/manifest-invalid.ts';
import { readTenant, type Tenant, type Tenants } from '../../tenancy/tenants.ts';
import { Turns } from '../../turns.ts';
import { pushedFiles } from '../revisions/pushed.ts';
import type { Releases } from '../revisions/releases.ts';
import type { SourceFile } from '../sources.ts';
import type { Fleet } from './fleet.ts';
import { isPut, packed, putPlace } from './kept-files.ts';

export interface TenantPutsOptions {
  readonly tenants: Tenants;
  readonly fleet: Pick<Fleet, 'enterPut' | 'leavePut' | 'claim' | 'reload'>;
  readonly releases: Pick<Releases, 'check'>;
  readonly administration: Administration;
  readonly writer: Pick<Writer, 'run'>;
  readonly clock: Clock;
}

/** How many tenants may be put. */
const MOST_PUT = 10_000;

/**
 * Tenants that are given by the API and stand in no folder. What was put last is in the store, and is loaded at the start
 * as a folder is. Nothing is kept of a tenant whose manifest does not parse, or whose policy does not compile or fails a
 * test.
 */
export class TenantPuts {
  readonly #options: TenantPutsOptions;
  readonly #turns = new Turns<TenantId>();

  constructor(options: TenantPutsOptions) {
    this.#options = options;
  }

  /**
   * Makes the tenant, or takes what stands in the place of what was put before. Answers whether it is new. Throws
   * `invalid_request`, `config_invalid` or `policy_invalid` with the place of the mistake, `conflict` for the tenant of a
   * folder.
   */
  put(
    caller: string,
    name: string,
    files: readonly SourceFile[],
  ): Promise<{ tenant: Tenant; isNew: boolean }> {
    const id = idOf(name);
    return this.#turns.run(id, async () => {
      const { tenants, releases, fleet } = this.#options;
      const found = filesOf(id, files);
      const source = await readTenant(found);
      if (source.id !== id)
        throw new ServiceError('invalid_request', `${MANIFEST} is of the tenant ${source.id}, not of ${id}`);
      const before = this.#own(id);
      if (!before && [...tenants].filter(isPut).length >= MOST_PUT)
        throw new ServiceError('resource_exhausted', `at most ${MOST_PUT} tenants are put`);
      await releases.check(found, source.manifest);
      if (!before) return { tenant: await this.#made(caller, found, source), isNew: true };
      await this.#keep(before, caller, found);
      await fleet.reload(before, caller);
      return { tenant: tenants.get(id), isNew: false };
    });
  }

  /** It is served no more. What it has in the store stays, and is there again if it is put again. Throws `conflict`. */
  retire(caller: string, name: string, reason: string): Promise<void> {
    const id = idOf(name);
    return this.#turns.run(id, async () => {
      const tenant = this.#own(id);
      if (!tenant) throw new ServiceError('tenant_unknown', 'no such tenant');
      const { administration, writer, fleet } = this.#options;
      const detail = reason === '' ? {} : { reason };
      const record = administration.record(tenant, caller, 'tenant.retire', undefined, detail);
      await writer.run('retireTenant', { tenantNo: tenant.no }, record);
      await fleet.leavePut(putPlace(id).folder);
    });
  }

  /** The name is claimed first: a folder of that name that appears meanwhile is refused. */
  async #made(
    caller: string,
    files: TenantFiles,
    source: Awaited<ReturnType<typeof readTenant>>,
  ): Promise<Tenant> {
    const { administration, fleet } = this.#options;
    const release = fleet.claim(source.id, files.place.folder);
    try {
      await this.#keep(await administration.adopt(source), caller, files);
      return await fleet.enterPut(files.place);
    } catch (error) {
      release();
      throw error;
    }
  }

  async #keep(tenant: Tenant, caller: string, { manifest, files }: TenantFiles): Promise<void> {
    const { administration, writer, clock } = this.#options;
    const record = administration.record(tenant, caller, 'tenant.put', undefined, { files: files.size + 1 });
    const body = packed(manifest ?? Buffer.alloc(0), files);
    await writer.run('putTenantFiles', { tenant: tenant.id, files: body, at: clock() }, record);
  }

  /** Undefined where there is none. Throws `conflict` for that of a folder, by its name. */
  #own(id: TenantId): Tenant | undefined {
    const tenant = this.#options.tenants.find(id);
    if (tenant && tenant.root === '')
      throw new ServiceError('conflict', `the tenant ${id} is another authority's, and is changed there`);
    if (tenant && !isPut(tenant))
      throw new ServiceError('conflict', `the tenant ${id} is that of a folder, and is changed there`);
    return tenant;
  }
}

function idOf(name: string): TenantId {
  try {
    return tenantId(name);
  } catch {
    throw new ServiceError('invalid_request', 'tenant: 1 to 63 of a-z, 0-9 and -, such as acme');
  }
}

function filesOf(id: TenantId, files: readonly SourceFile[]): TenantFiles {
  const [manifest, ...others] = files.filter(({ path }) => path === MANIFEST);
  if (!manifest || others.length > 0)
    throw new ServiceError('invalid_request', `files: ${MANIFEST} stands among them, and once`);
  const rest = pushedFiles(files.filter((each) => each !== manifest));
  return { place: putPlace(id), manifest: Buffer.from(manifest.bytes), files: rest, faults: [] };
}
