import { createHash } from 'node:crypto';
import type { Random } from '../../effects.ts';
import type { PrincipalState } from '../../storage/principals/commands.ts';
import type { Tenant } from '../tenants.ts';
import { shownRegistration } from './registration.ts';

/** What a list of names takes at most to be told whole. */
const MOST_CHARACTERS = 4_096;

/** A principal as a record tells of it. Lists that are too long are told by their length and their SHA-256. */
export function shown(state: PrincipalState | null, salt: Uint8Array | undefined): object | null {
  if (!state) return null;
  const { roles, groups, scopes, properties_sha256: digest, registration, ...rest } = state;
  const lists = Object.entries({ roles, groups, scopes }).map(([name, list]) => {
    const text = JSON.stringify(list);
    const short = { count: list.length, sha256: createHash('sha256').update(text).digest('hex') };
    return [name, text.length <= MOST_CHARACTERS ? list : short] as const;
  });
  return {
    ...rest,
    ...Object.fromEntries(lists),
    properties_sha256: salt ? salted(digest, salt) : digest,
    ...shownShort(registration),
  };
}

function shownShort(registration: string | null): object {
  if (registration === null) return {};
  const isShort = registration.length <= MOST_CHARACTERS;
  const sha256 = createHash('sha256').update(registration).digest('hex');
  return { registration: isShort ? shownRegistration(registration) : { sha256 } };
}

const SALT_BYTES = 32;

/**
 * What a tenant seals of its principals in their decisions could be guessed, and found by its digest. With a salt that
 * nobody keeps the digests of one change tell whether they differ, and nothing else.
 */
const salted = (digest: string, salt: Uint8Array): string =>
  createHash('sha256').update(salt).update(digest).digest('hex');

/** Undefined where the tenant seals nothing of its principals. */
export const saltOf = (tenant: Tenant, random: Random): Uint8Array | undefined =>
  sealsProperties(tenant) ? random(SALT_BYTES) : undefined;

const sealsProperties = ({ manifest }: Tenant): boolean =>
  manifest.audit.sealed.some(({ path }) => /^\/(?:subject|actors)\//.test(path));
