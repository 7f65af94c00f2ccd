import type { TaskCap, TaskPart } from '../storage/rows.ts';
import type { JsonObject } from './request.ts';

/** A task as policies and records have it. */
export const taskMembers = ({ id, purpose, endsAt, budget, cap }: TaskPart): JsonObject => ({
  id,
  purpose,
  ends_at: new Date(endsAt).toISOString(),
  // Absent for one that has none.
  ...(budget && { budget }),
  // Absent for one that was not capped.
  ...(cap && { cap: capMembers(cap) }),
});

/** A cap as policies, records and answers have it: what it says nothing of is not there. */
export const capMembers = ({ at, endsAt, scopes, use, details, budget }: TaskCap): JsonObject => ({
  at: new Date(at).toISOString(),
  ...(endsAt === undefined ? {} : { ends_at: new Date(endsAt).toISOString() }),
  ...(scopes && { scope: scopes }),
  ...(use && { use }),
  ...(details && {
    authorization_details: Object.entries(details).map(([type, numbers]) => ({ type, ...numbers })),
  }),
  ...(budget && { budget }),
});
