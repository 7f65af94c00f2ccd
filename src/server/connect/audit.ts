import { timestampMs } from '@bufbuild/protobuf/wkt';
import type { ServiceImpl } from '@connectrpc/connect';
import { countAcross, type FoundRecord, queryAcross } from '../../audit/across.ts';
import { countings } from '../../audit/count.ts';
import type { Keeper } from '../../audit/keeping/keeper.ts';
import type { NodeLog, NodeLogs } from '../../audit/logs.ts';
import { namedAs } from '../../audit/privacy/about.ts';
import type { Erasure } from '../../audit/privacy/erasure.ts';
import type { MemberKeys } from '../../audit/privacy/keys.ts';
import { allOpened } from '../../audit/privacy/opening.ts';
import type { LogKeys } from '../../audit/proof/keys.ts';
import type { MlDsaKeys } from '../../audit/proof/ml-dsa.ts';
import type { LogProofs } from '../../audit/proof/proofs.ts';
import { type AuditQuery, type LogSource, queryRecords } from '../../audit/query.ts';
import type { AuditRecord } from '../../audit/read.ts';
import { filterOf, type LogRead, type Reads } from '../../audit/reads.ts';
import { recordKinds, recordOutcomes } from '../../audit/record.ts';
import { ServiceError } from '../../errors.ts';
import type { Explanations } from '../../explaining/explanations.ts';
import type { AuditService, QueryRequest } from '../../gen/mandate/v1/audit_pb.ts';
import type { PrincipalRef } from '../../gen/mandate/v1/model_pb.ts';
import { type NamedRef, principalClass } from '../../ids.ts';
import { vkeyOf } from '../../merkle/keys.ts';
import type { PartStore } from '../../storage/log/parts.ts';
import type { RecordStore } from '../../storage/log/records.ts';
import type { ReceivedStore } from '../../storage/received/store.ts';
import type { TenantNo } from '../../storage/rows.ts';
import type { VolumeStore } from '../../storage/volume/store.ts';
import type { Writer } from '../../storage/writer.ts';
import type { Administration } from '../../tenancy/administration.ts';
import type { Caller, Callers } from '../../tenancy/callers.ts';
import type { Tenant, Tenants } from '../../tenancy/tenants.ts';
import { admit } from './context.ts';
import { explained } from './explained.ts';
import { logMethods } from './logs.ts';
import { recordMessage } from './messages.ts';
import { tailMethod } from './tail.ts';
import { volumeMethods } from './volumes.ts';

const MAX_PAGE = 1_000;

export function auditService(parts: {
  tenants: Tenants;
  callers: Callers;
  records: RecordStore;
  reads: Reads;
  parts: PartStore;
  proofs: LogProofs;
  logKeys: LogKeys;
  volumes: VolumeStore;
  keeper: Keeper;
  memberKeys: MemberKeys;
  erasure: Erasure;
  nodeLogs: NodeLogs;
  received: ReceivedStore;
  administration: Administration;
  writer: Pick<Writer, 'run'>;
  explanations: Explanations;
  mlDsaKeys: MlDsaKeys | undefined;
  /** Aborted when the server stops, so that tails end. */
  stopping: AbortSignal;
}): ServiceImpl<typeof AuditService> {
  const { records, reads, parts: shared, proofs, logKeys, mlDsaKeys, memberKeys, erasure } = parts;
  const { nodeLogs, received } = parts;
  const source: LogSource = { records, partOf: (no, digest) => shared.find(no, digest) };
  const note = (
    { tenant, caller }: { tenant: Tenant; caller: Caller },
    operation: string,
    filter: LogRead['filter'],
    count: number,
  ): void =>
    reads.note({
      tenantNo: tenant.no,
      tenant: tenant.id,
      caller: caller.id,
      operation,
      filter,
      records: count,
    });
  /** Of this server's own records: what others sealed, their keys open. */
  const clearOf = async (
    tenant: Tenant,
    found: readonly FoundRecord[],
  ): Promise<ReadonlyMap<AuditRecord, Uint8Array | undefined>> => {
    const own = found.flatMap(({ log, record }) => (log.isOwn ? [record] : []));
    const clear = await allOpened(memberKeys, tenant, own);
    return new Map(own.map((record, at) => [record, clear[at]]));
  };
  return {
    ...volumeMethods(parts),
    ...logMethods(parts),
    ...tailMethod(parts),
    async query(message, context) {
      const reader = await admit(parts, context, message.tenant, 'audit.read');
      if (message.pageSize > MAX_PAGE)
        throw new ServiceError('invalid_request', `page_size is at most ${MAX_PAGE}`);
      const asked = { ...queryIn(message), pageSize: message.pageSize || 100 };
      const logs = nodeLogs.meant(reader.tenant, message.node);
      const { found, nextPageToken } = await queryAcross(source, logs, asked);
      note(reader, 'audit.query', { ...filterOf(asked), ...ofNode(message) }, found.length);
      const clear = await clearOf(reader.tenant, found);
      return {
        records: found.map((each) => recordMessage(each.record, clear.get(each.record), each.log.node)),
        nextPageToken,
      };
    },
    async count({ query, by }, context) {
      const reader = await admit(parts, context, query?.tenant ?? '', 'audit.read');
      if (!query || query.pageSize > 0)
        throw new ServiceError('invalid_request', 'a count has a query, without page_size');
      const grouping = oneOf('by', by, countings);
      const asked = queryIn(query);
      const logs = nodeLogs.meant(reader.tenant, query.node);
      const counted = await countAcross(source, logs, asked, grouping, context.signal);
      const filter = { ...filterOf(asked), ...ofNode(query), ...(grouping && { by: grouping }) };
      note(reader, 'audit.count', filter, counted.count);
      return {
        count: BigInt(counted.count),
        groups: [...counted.groups].map(([name, count]) => ({ name, count: BigInt(count) })),
        nextPageToken: counted.nextPageToken,
        left: BigInt(counted.left),
      };
    },
    async getPart(message, context) {
      const reader = await admit(parts, context, message.tenant, 'audit.read');
      const logs = nodeLogs.meant(reader.tenant, message.node);
      const body = logs.reduce<string | undefined>(
        (known, { no }) => known ?? shared.find(no, message.sha256),
        undefined,
      );
      if (body === undefined) throw new ServiceError('not_found', 'no record of the tenant has such a part');
      note(reader, 'audit.part', { sha256: message.sha256 }, 0);
      return { body: Buffer.from(body) };
    },
    async describeLog(message, context) {
      const { tenant } = await admit(parts, context, message.tenant, 'audit.read');
      const { no, node, isOwn } = nodeLogs.one(tenant, message.node);
      const checkpoint = proofs.newest(no) ? proofs.shown(no).source : '';
      const common = { checkpoint, node, nextIndex: BigInt(records.size(no)) };
      if (!isOwn) {
        const { origin = '', key = '' } = received.ofNumber(no) ?? {};
        return { origin, key, ...common };
      }
      const key = await logKeys.of(no);
      const second = await mlDsaKeys?.of(no, key.name);
      return { origin: key.name, key: vkeyOf(key), ...common, ...(second && { mlDsaKey: vkeyOf(second) }) };
    },
    async receipt({ tenant: id, record, node }, context) {
      const reader = await admit(parts, context, id, 'audit.read');
      const { no } = nodeLogs.one(reader.tenant, node);
      const index = record.case === 'decisionId' ? indexOf(source, no, record.value) : record.value;
      if (index === undefined)
        throw new ServiceError('invalid_request', 'name a record: index or decision_id');
      const proof = proofs.receipt(no, Number(index));
      note(reader, 'audit.receipt', { index: Number(index), ...ofNode({ node }) }, 1);
      return { index, proof };
    },
    async explain({ tenant: id, record, node }, context) {
      const reader = await admit(parts, context, id, 'audit.read');
      const { tenant } = await admit(parts, context, id, 'policy.read');
      if (record.case === undefined)
        throw new ServiceError('invalid_request', 'name a record: index or decision_id');
      const { log, index } =
        record.case === 'decisionId'
          ? await placeOf(source, nodeLogs.meant(tenant, node), record.value)
          : { log: nodeLogs.one(tenant, node), index: Number(record.value) };
      note(reader, 'audit.explain', { index, ...(log.isOwn ? {} : ofNode(log)) }, 1);
      return explained(await parts.explanations.explain(tenant, log, index));
    },
    async erase({ tenant: id, principal, dryRun }, context) {
      const { tenant, caller } = await admit(parts, context, id, 'tenant.write');
      const { keys, before, isShared } = await erasure.erase(tenant, caller.id, aboutIn(principal), dryRun);
      return { keys, destroyedBefore: before, everyServer: isShared };
    },
  };
}

const ofNode = ({ node }: { readonly node: string }) => (node === '' ? {} : { node });

/** Throws `invalid_request` and `principal_class_unknown`. */
function queryIn(message: QueryRequest): Omit<AuditQuery, 'pageSize'> {
  const { principal } = message;
  return {
    since: message.since && timestampMs(message.since),
    until: message.until && timestampMs(message.until),
    principal: principal && { class: classIn(principal.class), id: principal.id },
    outcome: oneOf('outcome', message.outcome, recordOutcomes),
    kind: oneOf('kind', message.kind, recordKinds),
    decisionId: message.decisionId || undefined,
    callerId: message.caller || undefined,
    resourceName: message.resource || undefined,
    actionName: message.action || undefined,
    reasonCode: message.reason || undefined,
    grantId: message.grantId || undefined,
    taskId: message.taskId || undefined,
    revision: message.revision || undefined,
    context: message.context,
    isOldestFirst: message.oldestFirst,
    pageToken: message.pageToken,
  };
}

/** Operators act too, and are no principals. Throws `principal_class_unknown`. */
const classIn = (text: string): string => (text === 'operator' ? text : principalClass(text));

/** Whoever a sealed member may be about; not only principals. Throws `invalid_request`. */
function aboutIn(principal: PrincipalRef | undefined): NamedRef {
  const about = namedAs(principal?.class, principal?.id);
  if (about) return about;
  throw new ServiceError(
    'invalid_request',
    'principal: a class of 1 to 256 characters, and an id of 1 to 1,024',
  );
}

/** Throws `not_found`. */
function indexOf(source: LogSource, no: TenantNo, decisionId: string): bigint {
  let pageToken = '';
  // A page may be empty and not the last: a search looks at so much at a time.
  do {
    const page = queryRecords(source, no, { decisionId, pageSize: 1, pageToken });
    const [found] = page.records;
    if (found) return BigInt(found.index);
    pageToken = page.nextPageToken;
  } while (pageToken !== '');
  throw new ServiceError('not_found', 'the log has no record of this decision');
}

/** Where the record of a decision is, in whichever of these logs. Throws `not_found`. */
async function placeOf(
  source: LogSource,
  logs: readonly NodeLog[],
  decisionId: string,
): Promise<{ readonly log: NodeLog; readonly index: number }> {
  let pageToken = '';
  do {
    const page = await queryAcross(source, logs, { decisionId, pageSize: 1, pageToken });
    const [first] = page.found;
    if (first) return { log: first.log, index: first.record.index };
    pageToken = page.nextPageToken;
  } while (pageToken !== '');
  throw new ServiceError('not_found', 'no log that is here has a record of this decision');
}

function oneOf<T extends string>(member: string, value: string, known: readonly T[]): T | undefined {
  if (value === '') return undefined;
  const found = known.find((each) => each === value);
  if (!found) throw new ServiceError('invalid_request', `${member} is one of ${known.join(', ')}`);
  return found;
}
