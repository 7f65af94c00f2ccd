import type { KeyRow, KeyState } from '../../storage/rows.ts';
import type { KeyAlgorithm, KeysDeclared } from '../../tenancy/keys-declared.ts';

/**
 * What becomes of a tenant's keys: next → active → retiring → gone. A key is published before it signs and until nothing
 * that it signed is good any more. It is looked at when a key is used, so that a tenant that does nothing costs nothing.
 */

/** For how long others may keep a JWKS, as its answer says. In seconds. */
export const JWKS_MAX_AGE = 300;

/** A key is published so long before it signs: twice what others may keep, for those whose clocks are slow. */
export const LEAD_MS = 2 * JWKS_MAX_AGE * 1_000;

/** Tokens last five minutes at most. The rest is for exchanges that were under way, and clocks that are slow. */
export const KEPT_MS = 3_600_000;

const DAY_MS = 86_400_000;

/** What is known of a key beside what it is made of. */
export type KeyFacts = Pick<KeyRow, 'kid' | 'alg' | 'state' | 'stateAt'>;

export type KeyStep =
  | { readonly do: 'create'; readonly state: 'active' | 'next'; readonly algorithm: KeyAlgorithm }
  | { readonly do: 'activate' | 'remove'; readonly kid: string };

/** What is to be done now, one thing at a time; undefined where nothing is. */
export function nextStep(
  keys: readonly KeyFacts[],
  { algorithm, rotate_days: days }: KeysDeclared,
  now: number,
): KeyStep | undefined {
  const [active, next] = [inState(keys, 'active'), inState(keys, 'next')];
  if (!active) return { do: 'create', state: 'active', algorithm };
  if (next && now >= signsFrom(next)) return { do: 'activate', kid: next.kid };
  const isDue = now >= active.stateAt + days * DAY_MS - LEAD_MS;
  if (!next && (isDue || active.alg !== algorithm)) return { do: 'create', state: 'next', algorithm };
  const over = keys.find((key) => key.state === 'retiring' && now >= keptUntil(key));
  return over && { do: 'remove', kid: over.kid };
}

/** When a next key becomes the one that signs. Milliseconds since the epoch, as below. */
export const signsFrom = ({ stateAt }: KeyFacts): number => stateAt + LEAD_MS;

/** Until when a retiring key verifies. */
export const keptUntil = ({ stateAt }: KeyFacts): number => stateAt + KEPT_MS;

/** Whether it stands in the JWKS and verifies, also where nobody has said yet that it is gone. */
export const isPublished = (key: KeyFacts, now: number): boolean =>
  key.state !== 'gone' && !(key.state === 'retiring' && now >= keptUntil(key));

const inState = (keys: readonly KeyFacts[], state: KeyState): KeyFacts | undefined =>
  keys.find((key) => key.state === state);
