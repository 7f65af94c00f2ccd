import { isDeepStrictEqual } from 'node:util';
import { type LogSource, queryRecords } from '../../audit/query.ts';
import type { AuditRecord } from '../../audit/read.ts';
import { ServiceError } from '../../errors.ts';
import { isSame, type PrincipalRef } from '../../ids.ts';
import type { Caller } from '../../tenancy/callers.ts';
import type { Tenant } from '../../tenancy/tenants.ts';
import type { TokenPrincipal } from '../principal.ts';
import type { CheckRequest, JsonObject } from '../request.ts';
import { REQUESTABLE_MS } from './terms.ts';

/** A denial as whoever was denied names it. */
export interface NamedDenial {
  /** The decision's id. */
  readonly decisionId: string;
  /** Until when approval may be asked for, as the denial said it. Milliseconds since the epoch. */
  readonly expiresAt: number;
}

/**
 * Sees to it that a denial was given to this caller, for what it now asks approval for, and lately: the log says so. Of
 * properties that the log has, these are the same; that others are is seen to otherwise, as the policy is asked again.
 * Throws `denial_unbound`, `not_requestable` or `denial_expired`.
 */
export function checkDenial(
  source: LogSource,
  tenant: Tenant,
  caller: Caller,
  denial: NamedDenial,
  { request, principal }: { readonly request: CheckRequest; readonly principal: TokenPrincipal },
  now: number,
): void {
  const record = recordOf(source, tenant, denial.decisionId);
  // Somebody else's is as one that is not there.
  if (!record || record.caller !== caller.id || !isOf(record, request, principal)) throw UNBOUND;
  if (record.outcome !== 'challenge')
    throw new ServiceError('not_requestable', 'the decision was no challenge of the type approval');
  const expiresAt = record.time + REQUESTABLE_MS;
  if (denial.expiresAt !== expiresAt) throw UNBOUND;
  if (expiresAt <= now)
    throw new ServiceError('denial_expired', 'the denial is too old: ask for a decision again');
}

const UNBOUND = new ServiceError('denial_unbound', 'no such denial of yours for what is asked');

/** One looks at some ten million records by their times, two milliseconds' work: more are not written in ten minutes. */
const MOST_PAGES = 4;

function recordOf(source: LogSource, tenant: Tenant, decisionId: string): AuditRecord | undefined {
  let pageToken = '';
  try {
    for (let page = 0; page < MOST_PAGES; page += 1) {
      const asked = { kind: 'decision', decisionId, pageSize: 1, pageToken };
      const { records, nextPageToken } = queryRecords(source, tenant.no, asked);
      if (records[0] || nextPageToken === '') return records[0];
      pageToken = nextPageToken;
    }
    return undefined;
  } catch (error) {
    if (error instanceof ServiceError && error.code === 'invalid_request') return undefined;
    throw error;
  }
}

function isOf(
  record: AuditRecord,
  { action, resource }: CheckRequest,
  { subject, actors }: TokenPrincipal,
): boolean {
  const { type, id } = resource;
  return (
    record.action === action.name &&
    record.resource.type === type &&
    record.resource.id === id &&
    isSame(record.subject as PrincipalRef | undefined, subject) &&
    record.actors.length === actors.length &&
    actors.every((actor, at) => isSame(record.actors[at] as PrincipalRef | undefined, actor)) &&
    haveSame(record, action.properties, resource.properties)
  );
}

/** What is not in the record, since it is sealed, masked, too long or beside it, is not compared. */
function haveSame(
  { body }: AuditRecord,
  how: JsonObject | undefined = {},
  what: JsonObject | undefined = {},
): boolean {
  const { input, sealed, masked, detail_level, mask_failed, input_parts } = JSON.parse(
    Buffer.from(body).toString('utf8'),
  ) as Record<string, unknown>;
  if (!input || sealed || masked || detail_level || mask_failed || input_parts) return true;
  const { action, resource } = input as Record<'action' | 'resource', { properties?: unknown }>;
  return isDeepStrictEqual(action.properties, how) && isDeepStrictEqual(resource.properties, what);
}
