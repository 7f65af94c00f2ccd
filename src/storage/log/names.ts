import type { NamedRef } from '../../ids.ts';
import { nameHash, principalHash, shortHash } from './heads.ts';

/**
 * What heads tell, in 16 bits each, of the actors before the current one and of the revision. 0 is what an older version
 * wrote, who did not tell.
 */
const UNTOLD = 0;
/** No earlier actor; more than one, which are not told apart. */
const NONE = 1;
const SEVERAL = 0xffff;

/** `actors`: all of them, the current one first. */
export function earlierHash([, earlier, ...more]: readonly NamedRef[]): number {
  if (!earlier) return NONE;
  return more.length > 0 ? SEVERAL : oneHash(earlier);
}

function oneHash(actor: NamedRef): number {
  const hash = principalHash(actor);
  return Math.min(SEVERAL - 1, Math.max(NONE + 1, (hash ^ (hash >>> 16)) & 0xffff));
}

/** Of a record without one it is a hash too: 0 is untold. */
export const revisionHash = shortHash;

/** Whether a principal may be among the earlier actors of a record, by what its head tells. */
export const mayBeEarlier = (told: number, actor: number, principal: NamedRef): boolean =>
  // Nobody comes before a current actor that is not there.
  told === UNTOLD ? actor !== 0 : told === SEVERAL || told === oneHash(principal);

export const mayBeRevision = (told: number, revision: number): boolean =>
  told === UNTOLD || told === revision;

/** What finds an earlier actor in the blob of a segment, beside its principals. Undefined where there is none. */
export const earlierKey = (told: number): number | undefined =>
  told === UNTOLD || told === NONE ? undefined : nameHash('earlier', String(told));

/** What finds the records of a segment that a principal may be in. */
export const keysOf = (principal: NamedRef): number[] => [
  principalHash(principal),
  nameHash('earlier', String(oneHash(principal))),
  nameHash('earlier', String(SEVERAL)),
];
