import { timestampMs } from '@bufbuild/protobuf/wkt';
import type { ServiceImpl } from '@connectrpc/connect';
import { Arrivals } from '../../audit/arrivals.ts';
import type { Keeper } from '../../audit/keeping/keeper.ts';
import type { Erasure } from '../../audit/privacy/erasure.ts';
import type { MemberKeys } from '../../audit/privacy/keys.ts';
import { opened } from '../../audit/privacy/opening.ts';
import type { LogKeys } from '../../audit/proof/keys.ts';
import type { LogProofs } from '../../audit/proof/proofs.ts';
import { queryRecords, readRecords } from '../../audit/read.ts';
import { recordKinds, recordOutcomes } from '../../audit/record.ts';
import { tailPages } from '../../audit/tail.ts';
import { ServiceError } from '../../errors.ts';
import type { AuditService } from '../../gen/mandate/v1/audit_pb.ts';
import { principalClass } from '../../ids.ts';
import { vkeyOf } from '../../merkle/keys.ts';
import type { PartStore } from '../../storage/log/parts.ts';
import type { RecordStore } from '../../storage/log/records.ts';
import type { TenantNo } from '../../storage/rows.ts';
import type { VolumeStore } from '../../storage/volume/store.ts';
import type { Callers } from '../../tenancy/callers.ts';
import type { Tenants } from '../../tenancy/tenants.ts';
import { Places } from '../intake/places.ts';
import { admit } from './context.ts';
import { recordMessage } from './messages.ts';
import { volumeMethods } from './volumes.ts';

const MAX_PAGE = 1_000;
/** How many tails there may be, and how many of them of one caller of a tenant. */
const TAILS = { total: 256, each: 16, full: 'too many tails are open' };

export function auditService(parts: {
  tenants: Tenants;
  callers: Callers;
  records: RecordStore;
  parts: PartStore;
  proofs: LogProofs;
  logKeys: LogKeys;
  volumes: VolumeStore;
  keeper: Keeper;
  memberKeys: MemberKeys;
  erasure: Erasure;
  /** Aborted when the server stops, so that tails end. */
  stopping: AbortSignal;
}): ServiceImpl<typeof AuditService> {
  const { records, parts: shared, proofs, logKeys, memberKeys, erasure, stopping } = parts;
  const arrivals = new Arrivals(records);
  const tails = new Places(TAILS);
  return {
    ...volumeMethods(parts),
    async query(message, context) {
      const { tenant } = await admit(parts, context, message.tenant, 'audit.read');
      if (message.pageSize > MAX_PAGE)
        throw new ServiceError('invalid_request', `page_size is at most ${MAX_PAGE}`);
      const { principal } = message;
      const page = queryRecords(records, tenant.no, {
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
        pageSize: message.pageSize || 100,
        pageToken: message.pageToken,
      });
      const messages = page.records.map((record) =>
        recordMessage(record, opened(memberKeys, tenant, record.body)),
      );
      return { records: messages, nextPageToken: page.nextPageToken };
    },
    async getPart(message, context) {
      const { tenant } = await admit(parts, context, message.tenant, 'audit.read');
      const body = shared.find(tenant.no, message.sha256);
      if (body === undefined) throw new ServiceError('not_found', 'no record of the tenant has such a part');
      return { body: Buffer.from(body) };
    },
    async describeLog(message, context) {
      const { tenant } = await admit(parts, context, message.tenant, 'audit.read');
      const key = await logKeys.of(tenant.no);
      const checkpoint = proofs.newest(tenant.no) ? proofs.shown(tenant.no).source : '';
      return { origin: key.name, key: vkeyOf(key), checkpoint };
    },
    async receipt({ tenant: id, record }, context) {
      const { tenant } = await admit(parts, context, id, 'audit.read');
      const index = record.case === 'decisionId' ? indexOf(records, tenant.no, record.value) : record.value;
      if (index === undefined)
        throw new ServiceError('invalid_request', 'name a record: index or decision_id');
      return { index, proof: proofs.receipt(tenant.no, Number(index)) };
    },
    async *tail(message, context) {
      const { tenant, caller } = await admit(parts, context, message.tenant, 'audit.read');
      using _place = tails.take(`${tenant.id} ${caller.id}`);
      const from = message.fromIndex === undefined ? undefined : Number(message.fromIndex);
      const signal = AbortSignal.any([context.signal, stopping]);
      for await (const page of tailPages(records, tenant.no, from, signal, arrivals))
        if (message.stored)
          yield {
            stored: page.map(({ index, body }) => {
              const clear = opened(memberKeys, tenant, body);
              return { index: BigInt(index), body, ...(clear ? { opened: clear } : {}) };
            }),
          };
        else
          for (const record of readRecords(tenant.no, page))
            yield { record: recordMessage(record, opened(memberKeys, tenant, record.body)) };
    },
    async erase({ tenant: id, principal, dryRun }, context) {
      const { tenant, caller } = await admit(parts, context, id, 'tenant.write');
      if (!principal) throw new ServiceError('invalid_request', 'principal is missing');
      const about = { class: principal.class, id: principal.id };
      const { keys, before } = await erasure.erase(tenant, caller.id, about, dryRun);
      return { keys, destroyedBefore: before };
    },
  };
}

/** Operators act too, and are no principals. Throws `principal_class_unknown`. */
const classIn = (text: string): string => (text === 'operator' ? text : principalClass(text));

/** Throws `not_found`. */
function indexOf(records: RecordStore, no: TenantNo, decisionId: string): bigint {
  let pageToken = '';
  // A page may be empty and not the last: a search looks at so much at a time.
  do {
    const page = queryRecords(records, no, { decisionId, pageSize: 1, pageToken });
    const [found] = page.records;
    if (found) return BigInt(found.index);
    pageToken = page.nextPageToken;
  } while (pageToken !== '');
  throw new ServiceError('not_found', 'the log has no record of this decision');
}

function oneOf<T extends string>(member: string, value: string, known: readonly T[]): T | undefined {
  if (value === '') return undefined;
  const found = known.find((each) => each === value);
  if (!found) throw new ServiceError('invalid_request', `${member} is one of ${known.join(', ')}`);
  return found;
}
