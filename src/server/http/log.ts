import type { NodeLog, NodeLogs } from '../../audit/logs.ts';
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

/** A tenant's logs as C2SP tlog-tiles has them, each with what its own server signed. What is full never changes. */
export function logRoutes(parts: {
  tenants: Tenants;
  callers: Callers;
  proofs: LogProofs;
  reads: Reads;
  nodeLogs: NodeLogs;
}): Route[] {
  const { tenants, callers, proofs, reads, nodeLogs } = parts;
  const open = async (
    request: HttpRequest,
    parameters: Readonly<Record<string, string>>,
  ): Promise<{ tenant: Tenant; caller: Caller; log: NodeLog }> => {
    const presented = presentedBy(request.header('authorization'), request.peer);
    const tenant = tenants.get(parameters['tenant'] ?? '');
    const caller = await callers.authenticate(tenant, presented, 'audit.read');
    return { tenant, caller, log: nodeLogs.one(tenant, parameters['node'] ?? '') };
  };
  return [
    {
      method: 'GET',
      path: '/t/{tenant}/log/{node}/checkpoint',
      handle: async (request, parameters) => {
        const { log } = await open(request, parameters);
        return file(Buffer.from(proofs.shown(log.no).source), 'text/plain; charset=utf-8', 'no-cache');
      },
    },
    {
      method: 'GET',
      path: '/t/{tenant}/log/{node}/tile/{tile...}',
      handle: async (request, parameters) => {
        const { tenant, caller, log } = await open(request, parameters);
        const name = parseTilePath(`tile/${parameters['tile'] ?? ''}`);
        if (!name) throw new ServiceError('not_found', 'there is no such tile; see c2sp.org/tlog-tiles');
        const tile = proofs.tile(log.no, name);
        // Hashes tell nothing of what stands in the log.
        if (name.level === 'entries')
          reads.note({ ...readOf(tenant, caller), filter: nodeOf(log), records: name.width });
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
});

const nodeOf = ({ node, isOwn }: NodeLog) => (isOwn ? {} : { node });

/** Private: what is cached for one caller is not another's. */
const FULL = 'private, max-age=31536000, immutable';
const PARTIAL = 'private, max-age=3600';

const file = (body: Uint8Array, type: string, caching: string): HttpResponse => ({
  status: 200,
  headers: { 'content-type': type, 'cache-control': caching },
  body,
});
