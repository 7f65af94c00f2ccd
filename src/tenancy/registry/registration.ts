import { describe, ServiceError } from '../../errors.ts';
import { type PrincipalRef, principalKey } from '../../ids.ts';
import { reportFault, storedJson } from '../../storage/faults.ts';
import type { RegisteredPrincipal, StoredPrincipal } from '../../storage/principals/store.ts';
import type { PrincipalRow, TenantNo } from '../../storage/rows.ts';
import { type ManifestPrincipal, parsePrincipal } from '../manifest.ts';
import { type Credential, credentialId, MAX_CREDENTIALS, shownDigest } from './credentials.ts';
import { shownScrypt } from './scrypt.ts';

/** What a principal has beside its facts. */
type Registration = Pick<
  ManifestPrincipal,
  'credentials' | 'may' | 'ceiling' | 'client_ids' | 'resources' | 'owners'
>;

/** A principal that is to be put: a credential it has already may be named by its id alone. */
export type Draft = Omit<ManifestPrincipal, 'credentials'> & {
  readonly credentials: readonly (Credential | Kept)[];
};

interface Kept {
  readonly kept: string;
}

/** Throws `ManifestInvalid`. */
export function parseDraft({
  credentials,
  ...rest
}: Readonly<Record<string, unknown>> & { credentials: readonly object[] }): Draft {
  const parsed = parsePrincipal({ ...rest, credentials: credentials.filter((each) => !('kept' in each)) });
  const made = parsed.credentials.values();
  const all = credentials.map((each) => ('kept' in each ? (each as Kept) : made.next().value));
  return { ...parsed, credentials: all.filter((each) => each !== undefined) };
}

/** `before`: what it is now, if it is. Throws `invalid_request`. */
export function settled(draft: Draft, before: () => ManifestPrincipal | undefined): ManifestPrincipal {
  const invalid = (what: string): ServiceError =>
    new ServiceError('invalid_request', `${principalKey(draft)} ${what}`);
  const credentials = draft.credentials.map((each) => {
    if (!('kept' in each)) return each;
    const there = before()?.credentials.find((one) => credentialId(one) === each.kept);
    if (!there) throw invalid(`has no credential ${each.kept} that could be kept: say what it is`);
    return there;
  });
  if (credentials.length > MAX_CREDENTIALS) throw invalid(`has more than ${MAX_CREDENTIALS} credentials`);
  if (new Set(credentials.map(credentialId)).size < credentials.length)
    throw invalid('has a credential twice, or two of one id');
  return { ...draft, credentials };
}

/** A principal as the store keeps it. `enables`: whether `active` lets one that is disabled act again. */
export function rowOf(principal: ManifestPrincipal, enables: boolean): PrincipalRow {
  const { class: cls, id, groups, roles, scopes, properties, status, owners } = principal;
  const disabled = status === 'disabled' ? true : status === 'active' && enables ? false : undefined;
  return {
    class: cls,
    id,
    groups,
    roles,
    scopes,
    properties,
    disabled,
    owners,
    registration: kept(principal),
  };
}

/** Undefined where there is nothing: most are users, of whom there may be millions. */
function kept({
  credentials,
  may,
  ceiling,
  client_ids,
  resources,
  owners,
}: Registration): string | undefined {
  const lists = { credentials, client_ids, resources, owners };
  const said = Object.entries(lists).filter(([, list]) => list.length > 0);
  const registration = { ...Object.fromEntries(said), ...(may && { may }), ...(ceiling && { ceiling }) };
  return Object.keys(registration).length > 0 ? JSON.stringify(registration) : undefined;
}

/** Reads it back. One that is damaged authenticates nobody, and is told of. */
export function registeredIn(
  tenantNo: TenantNo,
  { class: cls, id, registration }: RegisteredPrincipal,
): ManifestPrincipal | undefined {
  try {
    return parsePrincipal({ ...(JSON.parse(registration) as object), class: cls, id });
  } catch (cause) {
    const text = `the registration of ${principalKey({ class: cls, id })} is damaged: ${describe(cause)}`;
    reportFault({ text, lasts: true, tenantNo });
    return undefined;
  }
}

/** What the store holds of a principal, as a manifest would have it. Its status is not in it: to write it changes none. */
export const principalIn = (
  { class: cls, id }: PrincipalRef,
  { groups, roles, scopes, properties, registration }: StoredPrincipal,
): ManifestPrincipal =>
  parsePrincipal({
    ...(storedJson(registration ?? '{}') as object),
    class: cls,
    id,
    groups: storedJson(groups),
    roles: storedJson(roles),
    scopes: storedJson(scopes),
    properties: storedJson(properties),
  });

/** Who answers for it. */
export const ownersIn = ({ registration }: Pick<StoredPrincipal, 'registration'>): readonly string[] =>
  registration === null ? [] : ((storedJson(registration) as Partial<Registration>).owners ?? []);

/** As records and readers see it: without what would let anybody in. */
export function shownRegistration(text: string | null): object | undefined {
  if (text === null) return undefined;
  const { credentials, ...rest } = JSON.parse(text) as Partial<Registration>;
  return { ...(credentials && { credentials: credentials.map(shownCredential) }), ...rest };
}

const shownCredential = (one: Credential): object => ({
  ...one,
  id: credentialId(one),
  ...('secret_sha256' in one && { secret_sha256: shownDigest(one.secret_sha256) }),
  ...('secret_scrypt' in one && { secret_scrypt: shownScrypt(one.secret_scrypt) }),
});
