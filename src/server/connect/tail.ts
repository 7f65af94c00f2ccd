import type { ServiceImpl } from '@connectrpc/connect';
import { Arrivals } from '../../audit/arrivals.ts';
import type { NodeLog, NodeLogs } from '../../audit/logs.ts';
import type { MemberKeys } from '../../audit/privacy/keys.ts';
import { allOpened, opened } from '../../audit/privacy/opening.ts';
import type { LogKeys } from '../../audit/proof/keys.ts';
import { readRecords } from '../../audit/read.ts';
import type { Reads } from '../../audit/reads.ts';
import { tailPages } from '../../audit/tail.ts';
import { type Tailed, tailAcross } from '../../audit/tail-across.ts';
import { ServiceError } from '../../errors.ts';
import type { AuditService, TailRequest } from '../../gen/mandate/v1/audit_pb.ts';
import { vkeyOf } from '../../merkle/keys.ts';
import type { RecordStore } from '../../storage/log/records.ts';
import type { ReceivedStore } from '../../storage/received/store.ts';
import type { Callers } from '../../tenancy/callers.ts';
import type { Tenant, Tenants } from '../../tenancy/tenants.ts';
import { Places } from '../intake/places.ts';
import { admit } from './context.ts';
import { recordMessage, storedMessage } from './messages.ts';

/** How many tails there may be, and how many of them of one caller of a tenant. */
const TAILS = { total: 256, each: 16, full: 'too many tails are open' };

/** AuditService.Tail: of one log, or of all that are here. */
export function tailMethod(parts: {
  readonly tenants: Tenants;
  readonly callers: Callers;
  readonly records: RecordStore;
  readonly reads: Reads;
  readonly logKeys: LogKeys;
  readonly memberKeys: MemberKeys;
  readonly nodeLogs: NodeLogs;
  readonly received: ReceivedStore;
  /** Aborted when the server stops, so that tails end. */
  readonly stopping: AbortSignal;
}): Pick<ServiceImpl<typeof AuditService>, 'tail'> {
  const { records, reads, logKeys, memberKeys, nodeLogs, received, stopping } = parts;
  const arrivals = new Arrivals(records);
  const tails = new Places(TAILS);

  async function* ofOne(log: NodeLog, from: number | undefined, signal: AbortSignal): AsyncGenerator<Tailed> {
    for await (const page of tailPages(records, log.no, from, signal, arrivals)) yield { log, records: page };
  }

  const ofAll = (tenant: Tenant, cursor: string, signal: AbortSignal): AsyncGenerator<Tailed> =>
    tailAcross({
      store: records,
      logs: () => nodeLogs.all(tenant),
      keyOf: async ({ no, isOwn }) =>
        isOwn ? vkeyOf(await logKeys.of(no)) : (received.ofNumber(no)?.key ?? ''),
      cursor,
      signal,
    });

  const tailed = (tenant: Tenant, message: TailRequest, signal: AbortSignal): AsyncGenerator<Tailed> => {
    const { node, fromIndex, cursor } = message;
    if (node === '' && fromIndex === undefined) return ofAll(tenant, cursor, signal);
    if (cursor !== '')
      throw new ServiceError('invalid_request', 'a cursor is of all logs: without node and from_index');
    const from = fromIndex === undefined ? undefined : Number(fromIndex);
    return ofOne(nodeLogs.one(tenant, node), from, signal);
  };

  return {
    async *tail(message, context) {
      const { tenant: asked, caller } = await admit(parts, context, message.tenant, 'audit.read');
      using _place = tails.take(`${asked.id} ${caller.id}`);
      const signal = AbortSignal.any([context.signal, stopping]);
      const filter = filterOf(message);
      const note = (operation: string, count: number): void =>
        reads.note({
          tenantNo: asked.no,
          tenant: asked.id,
          caller: caller.id,
          operation,
          filter,
          records: count,
        });
      const pages = tailed(asked, message, signal);
      let sent = 0;
      note('audit.tail', 0);
      try {
        for await (const page of pages) {
          if ('cursor' in page) {
            yield { cursor: page.cursor };
            continue;
          }
          const { no, node, isOwn } = page.log;
          // Whoever follows it may read it still, and what was read is not told before that is known.
          const { tenant } = await admit(parts, context, message.tenant, 'audit.read');
          sent += page.records.length;
          if (message.stored) {
            const clear = isOwn ? await allOpened(memberKeys, tenant, page.records) : [];
            yield { node, stored: page.records.map((each, at) => storedMessage(each, clear[at])) };
          } else
            for (const record of readRecords(no, page.records)) {
              const clear = isOwn ? opened(memberKeys, tenant, record.body) : undefined;
              yield { node, record: recordMessage(record, clear, node) };
            }
        }
      } finally {
        note('audit.tail.end', sent);
      }
    },
  };
}

const filterOf = ({ fromIndex, node, cursor }: TailRequest) => ({
  ...(fromIndex === undefined ? {} : { from: Number(fromIndex) }),
  ...(node === '' ? {} : { node }),
  // Which one is beside the point, and it may be long.
  ...(cursor === '' ? {} : { cursor: 'given' }),
});
