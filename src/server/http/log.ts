import type { LogProofs } from '../../audit/proof/proofs.ts';
import type { Reads } from '../../audit/reads.ts';
import { ServiceError } from '../../errors.ts';
import { parseTilePath } from '../../merkle/tile-path.ts';
import { TILE_WIDTH } from '../../merkle/tree.ts';
import type { Caller, Callers } from '../../tenancy/callers.ts';
import type { Tenant, Tenants } from '../../tenancy/tenants.ts';
import { presentedBy } from '../peer.ts';
import type { HttpRequest, HttpResponse } from './exchange.ts';
import type { Route } from './router.ts';

/** A tenant's log as C2SP tlog-tiles has it. What is full never changes. */
export function logRoutes(parts: {
  tenants: Tenants;
  callers: Callers;
  proofs: LogProofs;
  reads: Reads;
  node: string;
}): Route[] {
  const { tenants, callers, proofs, reads, node } = parts;
  const open = async (
    request: HttpRequest,
    parameters: Readonly<Record<string, string>>,
  ): Promise<{ tenant: Tenant; caller: Caller }> => {
    const presented = presentedBy(request.header('authorization'), request.peer);
    const tenant = tenants.get(parameters['tenant'] ?? '');
    const caller = await callers.authenticate(tenant, presented, 'audit.read');
    if (parameters['node'] !== node)
      throw new ServiceError('not_found', `the log of this server is ${tenant.id}/log/${node}`);
    return { tenant, caller };
  };
  return [
    {
      method: 'GET',
      path: '/t/{tenant}/log/{node}/checkpoint',
      handle: async (request, parameters) => {
        const { tenant } = await open(request, parameters);
        return file(Buffer.from(proofs.shown(tenant.no).source), 'text/plain; charset=utf-8', 'no-cache');
      },
    },
    {
      method: 'GET',
      path: '/t/{tenant}/log/{node}/tile/{tile...}',
      handle: async (request, parameters) => {
        const { tenant, caller } = await open(request, parameters);
        const name = parseTilePath(`tile/${parameters['tile'] ?? ''}`);
        if (!name) throw new ServiceError('not_found', 'there is no such tile; see c2sp.org/tlog-tiles');
        const tile = proofs.tile(tenant.no, name);
        // Hashes tell nothing of what stands in the log.
        if (name.level === 'entries') reads.note({ ...readOf(tenant, caller), records: name.width });
        return file(tile, 'application/octet-stream', name.width === TILE_WIDTH ? FULL : PARTIAL);
      },
    },
  ];
}

const readOf = ({ no, id }: Tenant, caller: Caller) => ({
  tenantNo: no,
  tenant: id,
  caller: caller.id,
  operation: 'audit.export',
  filter: {},
});

/** Private: what is cached for one caller is not another's. */
const FULL = 'private, max-age=31536000, immutable';
const PARTIAL = 'private, max-age=3600';

const file = (body: Uint8Array, type: string, caching: string): HttpResponse => ({
  status: 200,
  headers: { 'content-type': type, 'cache-control': caching },
  body,
});
