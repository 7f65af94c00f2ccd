import { timestampFromMs, timestampMs } from '@bufbuild/protobuf/wkt';
import type { ServiceImpl } from '@connectrpc/connect';
import type { Keeper } from '../../audit/keeping/keeper.ts';
import type { NodeLogs } from '../../audit/logs.ts';
import { ServiceError } from '../../errors.ts';
import type { AuditService } from '../../gen/mandate/v1/audit_pb.ts';
import { recordIndex } from '../../storage/rows.ts';
import type { VolumeStore } from '../../storage/volume/store.ts';
import type { VolumeRow } from '../../storage/volume/volumes.ts';
import type { Callers } from '../../tenancy/callers.ts';
import type { Tenants } from '../../tenancy/tenants.ts';
import { admit } from './context.ts';

const MOST_REASON = 1_000;

/** The methods of AuditService that are about where a log's older records are. */
export function volumeMethods(parts: {
  tenants: Tenants;
  callers: Callers;
  volumes: VolumeStore;
  keeper: Keeper;
  nodeLogs: NodeLogs;
}): Pick<
  ServiceImpl<typeof AuditService>,
  'listVolumes' | 'makeVolumes' | 'archiveVolumes' | 'holdLog' | 'releaseLog'
> {
  const { volumes, keeper, nodeLogs } = parts;
  return {
    async listVolumes(message, context) {
      const { tenant } = await admit(parts, context, message.tenant, 'audit.read');
      const { no } = nodeLogs.one(tenant, message.node);
      // That of the tenant's own log holds all of them.
      const hold = volumes.hold(tenant.no);
      return {
        volumes: volumes.list(no).map(volumeMessage),
        ...(hold ? { hold: hold.reason, holdCaller: hold.caller, holdTime: timestampFromMs(hold.at) } : {}),
      };
    },
    async makeVolumes(message, context) {
      const { tenant } = await admit(parts, context, message.tenant, 'tenant.write');
      return { made: await keeper.make(tenant.no) };
    },
    async *archiveVolumes(message, context) {
      const { tenant, caller } = await admit(parts, context, message.tenant, 'tenant.write');
      const olderThan = message.olderThan ? timestampMs(message.olderThan) : Number.POSITIVE_INFINITY;
      for await (const volume of keeper.archive(tenant, olderThan, caller.id)) {
        if (context.signal.aborted) return;
        yield { volume: volumeMessage(volume) };
      }
    },
    async holdLog(message, context) {
      const { tenant, caller } = await admit(parts, context, message.tenant, 'tenant.write');
      const reason = message.reason.trim();
      if (reason === '' || reason.length > MOST_REASON)
        throw new ServiceError('invalid_request', `reason is of 1 to ${MOST_REASON} characters`);
      return { changed: await keeper.hold(tenant, reason, caller.id) };
    },
    async releaseLog(message, context) {
      const { tenant, caller } = await admit(parts, context, message.tenant, 'tenant.write');
      return { changed: await keeper.release(tenant, caller.id) };
    },
  };
}

const volumeMessage = ({ id, endId, firstTime, lastTime, madeAt, stateAt, bytes, ...rest }: VolumeRow) => ({
  first: BigInt(recordIndex(id)),
  last: BigInt(recordIndex(endId) - 1),
  bytes: BigInt(bytes),
  sha256: rest.sha256,
  firstTime: timestampFromMs(firstTime),
  lastTime: timestampFromMs(lastTime),
  made: timestampFromMs(madeAt),
  state: rest.state,
  place: rest.place,
  ...(stateAt === 0 ? {} : { stateTime: timestampFromMs(stateAt) }),
});
