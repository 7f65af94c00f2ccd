import type { NamedRef } from '../../ids.ts';
import { type AuditRecord, readRecord } from '../read.ts';
import type { Outgoing } from './backlog.ts';

/** OCSF 1.6: https://schema.ocsf.io, classes API Activity, Account Change and Entity Management. */
const VERSION = '1.6.0';
const API_ACTIVITY = 6003;
const ACCOUNT_CHANGE = 3001;
const ENTITY_MANAGEMENT = 3004;
const OTHER = 99;

/** Base event, `severity_id` and `status_id`; profile security_control, `action_id` and `disposition_id`. */
const INFORMATIONAL = 1;
const LOW = 2;
const outcomes: Readonly<Record<string, { status: number; action: number; disposition: number }>> = {
  allow: { status: 1, action: 1, disposition: 1 },
  done: { status: 1, action: 1, disposition: 1 },
  deny: { status: 2, action: 2, disposition: 2 },
  error: { status: 2, action: 2, disposition: 2 },
  challenge: { status: OTHER, action: OTHER, disposition: OTHER },
};

/** One line, with the record itself, word for word, as its `raw_data`. */
export function ocsfEvent(each: Outgoing): string {
  const record = readRecord(each);
  const raw = Buffer.from(each.body).toString('utf8');
  const { detail } = JSON.parse(raw) as { detail?: { address?: string; before?: unknown; after?: unknown } };
  const { class_uid, activity_id, ...own } = classed(record, each, detail ?? {});
  const { status = OTHER, action = OTHER, disposition = OTHER } = outcomes[record.outcome] ?? {};
  return JSON.stringify({
    metadata: {
      version: VERSION,
      product: { name: 'Mandate', vendor_name: 'Mandate' },
      profiles: ['security_control'],
      uid: `${each.tenant}/${each.index}`,
      tenant_uid: each.tenant,
      log_name: each.origin,
      sequence: each.index,
      correlation_uid: record.decisionId,
      event_code: `${record.kind}.${record.outcome}`,
    },
    category_uid: Math.floor(class_uid / 1_000),
    class_uid,
    activity_id,
    type_uid: class_uid * 100 + activity_id,
    time: record.time,
    severity_id: status === 1 ? INFORMATIONAL : LOW,
    status_id: status,
    status: record.outcome,
    status_detail: record.reasons.map(({ code }) => code).join(' '),
    action_id: action,
    disposition_id: disposition,
    ...own,
    raw_data: raw,
  });
}

interface Classed {
  readonly class_uid: number;
  readonly activity_id: number;
  readonly [member: string]: unknown;
}

interface Detail {
  readonly address?: string;
  readonly before?: unknown;
  readonly after?: unknown;
}

function classed(record: AuditRecord, { tenant }: Outgoing, detail: Detail): Classed {
  const { kind, action, subject, actors, target, caller, resource, decisionId } = record;
  // Who acts, and for whom if it is another.
  const actor = {
    user: userOf(actors[0] ?? subject),
    invoked_by: actors[0] && subject ? nameOf(subject) : undefined,
  };
  if (kind === 'administration' && target)
    return {
      class_uid: ACCOUNT_CHANGE,
      activity_id: accountActivity(action, detail),
      actor,
      user: userOf(target),
      message: action,
    };
  if (kind === 'administration')
    return {
      class_uid: ENTITY_MANAGEMENT,
      activity_id: 3,
      actor,
      comment: action,
      entity: { name: tenant, type: 'tenant', uid: tenant },
    };
  const place = detail.address === undefined ? {} : { ip: detail.address };
  return {
    class_uid: API_ACTIVITY,
    activity_id: OTHER,
    activity_name: action || kind,
    actor,
    api: { operation: action || kind, service: { name: 'mandate' }, request: { uid: decisionId } },
    src_endpoint: { name: caller, uid: caller, ...place },
    resources:
      resource.type === ''
        ? []
        : [{ type: resource.type, name: resource.id, uid: `${resource.type}:${resource.id}` }],
    policy: { uid: record.revision, name: record.rules.join(' ') },
  };
}

/** Account Change, `activity_id`. */
function accountActivity(action: string, { before, after }: Detail): number {
  if (action === 'principal.enable') return 2;
  if (action === 'principal.disable') return 5;
  if (before === null) return 1;
  if (after === null) return 6;
  return OTHER;
}

const nameOf = ({ class: cls, id }: NamedRef): string => `${cls}:${id}`;

/** `type_id`: a person is a user; operators administer; what else acts is of another type, which `type` names. */
const userOf = (one: NamedRef | undefined): object =>
  one === undefined
    ? { name: 'unknown', type_id: 0 }
    : {
        name: one.id,
        uid: nameOf(one),
        type: one.class,
        type_id: { user: 1, operator: 2 }[one.class] ?? OTHER,
      };
