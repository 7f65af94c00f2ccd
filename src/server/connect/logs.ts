import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import type { ServiceImpl } from '@connectrpc/connect';
import type { NodeLogs } from '../../audit/logs.ts';
import type { LogKeys } from '../../audit/proof/keys.ts';
import type { LogProofs } from '../../audit/proof/proofs.ts';
import { ServiceError } from '../../errors.ts';
import type { AuditService } from '../../gen/mandate/v1/audit_pb.ts';
import { vkeyOf } from '../../merkle/keys.ts';
import type { RecordStore } from '../../storage/log/records.ts';
import type { ReceivedRow, ReceivedStore } from '../../storage/received/store.ts';
import type { Writer } from '../../storage/writer.ts';
import type { Administration } from '../../tenancy/administration.ts';
import type { Callers } from '../../tenancy/callers.ts';
import type { Tenants } from '../../tenancy/tenants.ts';
import { admit } from './context.ts';

/** AuditService's methods about the logs of several servers. */
export function logMethods(parts: {
  readonly tenants: Tenants;
  readonly callers: Callers;
  readonly records: RecordStore;
  readonly received: ReceivedStore;
  readonly nodeLogs: NodeLogs;
  readonly logKeys: LogKeys;
  readonly proofs: LogProofs;
  readonly administration: Administration;
  readonly writer: Pick<Writer, 'run'>;
}): Pick<ServiceImpl<typeof AuditService>, 'listLogs' | 'renewLog'> {
  const { records, received, nodeLogs, logKeys, proofs, administration, writer } = parts;
  const otherLog = (row: ReceivedRow) => ({
    node: row.node,
    origin: row.origin,
    key: row.key,
    kept: BigInt(records.size(row.no)),
    stated: BigInt(row.stated),
    heard: timestampFromMs(row.heardAt),
    sender: row.operator,
    ...(row.refusal === '' ? {} : { refusal: row.refusal, refused: timestampFromMs(row.refusedAt) }),
  });
  return {
    async listLogs(message, context) {
      const { tenant } = await admit(parts, context, message.tenant, 'audit.read');
      const key = await logKeys.of(tenant.no);
      const own = {
        node: nodeLogs.node,
        own: true,
        origin: key.name,
        key: vkeyOf(key),
        kept: BigInt(records.size(tenant.no)),
        stated: BigInt(proofs.newest(tenant.no)?.size ?? 0),
      };
      return { logs: [own, ...received.list(tenant.no).map(otherLog)] };
    },
    async renewLog({ tenant: id, node }, context) {
      const { tenant, caller } = await admit(parts, context, id, 'tenant.write');
      const row = received.find(tenant.no, node);
      if (!row)
        throw new ServiceError('not_found', `no log of another server is called ${node.slice(0, 64)}`);
      const detail = {
        node,
        origin: row.origin,
        key: row.key,
        kept: records.size(row.no),
        stated: row.stated,
      };
      const { value } = await writer.run(
        'renewReceived',
        { tenantNo: tenant.no, node },
        administration.record(tenant, caller.id, 'log.renew', undefined, detail),
      );
      if (value === undefined) throw new ServiceError('not_found', 'the log goes by another name already');
      return { node: value };
    },
  };
}
