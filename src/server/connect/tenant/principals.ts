import { create } from '@bufbuild/protobuf';
import { type Timestamp, timestampFromMs, timestampMs } from '@bufbuild/protobuf/wkt';
import { ServiceError } from '../../../errors.ts';
import {
  type Ceiling,
  type Credential,
  CredentialSchema,
  type Principal,
  PrincipalSchema,
  PrincipalStatus,
  type Workload,
  WorkloadSchema,
} from '../../../gen/mandate/v1/tenant_pb.ts';
import { type PrincipalRef, principalClass } from '../../../ids.ts';
import {
  type StoredPrincipal,
  type PrincipalStatus as StoredStatus,
  statusOf,
} from '../../../storage/principals/store.ts';
import type { ManifestPrincipal } from '../../../tenancy/manifest.ts';
import { ManifestInvalid } from '../../../tenancy/manifest-invalid.ts';
import {
  credentialId,
  type Credential as Registered,
  shownDigest,
} from '../../../tenancy/registry/credentials.ts';
import { type Draft, parseDraft, principalIn } from '../../../tenancy/registry/registration.ts';
import { shownScrypt } from '../../../tenancy/registry/scrypt.ts';
import { proto } from '../messages.ts';

const statuses: Readonly<Record<StoredStatus, PrincipalStatus>> = {
  active: PrincipalStatus.ACTIVE,
  disabled: PrincipalStatus.DISABLED,
  suspended: PrincipalStatus.SUSPENDED,
  retired: PrincipalStatus.RETIRED,
};

/** Of groups, roles and scopes each, as in a manifest. */
const MOST_NAMES = 1_000;

/** A principal that is to be put. Throws `invalid_request` or `principal_class_unknown`. */
export function draftOf(message: Principal): Draft {
  if (hasUnknown(message)) throw refused('a principal has a member that is not known here');
  if (message.managedBy !== '' && message.managedBy !== 'api')
    throw refused('managed_by is api for what is put here');
  const facts = factsOf(message);
  return hasMore(message) ? withMore(facts, message) : facts;
}

/** Most are users with nothing but facts, thousands at a time. */
function factsOf(message: Principal): ManifestPrincipal {
  if (message.id === '' || message.id.length > 256) throw refused('a principal id is 1 to 256 characters');
  for (const [name, list] of Object.entries({
    groups: message.groups,
    roles: message.roles,
    scopes: message.scopes,
  }))
    if (list.length > MOST_NAMES || list.some((each) => each === '' || each.length > 256))
      throw refused(`${name}: at most ${MOST_NAMES}, each of 1 to 256 characters`);
  const disabled = isDisabled(message.status);
  return {
    class: principalClass(message.class),
    id: message.id,
    groups: message.groups,
    roles: message.roles,
    scopes: message.scopes,
    properties: message.properties ?? {},
    ...(disabled !== undefined && { status: disabled ? 'disabled' : 'active' }),
    credentials: [],
    client_ids: [],
    resources: [],
    owners: [],
  };
}

const hasMore = ({ credentials, may, ceiling, clientIds, resources, owners }: Principal): boolean =>
  credentials.length + clientIds.length + resources.length + owners.length > 0 || Boolean(may ?? ceiling);

function withMore(facts: ManifestPrincipal, message: Principal): Draft {
  return parsed({
    ...facts,
    credentials: message.credentials.map(credentialIn),
    client_ids: message.clientIds,
    resources: message.resources,
    owners: message.owners,
    ...(message.may && { may: message.may.names }),
    ...(message.ceiling && { ceiling: ceilingIn(message.ceiling) }),
  });
}

function parsed(value: Parameters<typeof parseDraft>[0]): Draft {
  try {
    return parseDraft(value);
  } catch (cause) {
    throw cause instanceof ManifestInvalid ? refused(cause.message) : cause;
  }
}

function credentialIn({ id, kind, expiresAt }: Credential): object {
  const isKept =
    kind.case === undefined ||
    ((kind.case === 'secretSha256' || kind.case === 'secretScrypt') && kind.value.endsWith('…'));
  if (isKept && id !== '') return { kept: id };
  const names = {
    secretSha256: 'secret_sha256',
    secretScrypt: 'secret_scrypt',
    spiffeId: 'spiffe_id',
    certificateDns: 'certificate_dns',
    certificateSubject: 'certificate_subject',
    jwks: 'jwks',
    jwksUri: 'jwks_uri',
    workload: 'workload',
  } as const;
  return {
    ...(id !== '' && { id }),
    ...(kind.case && { [names[kind.case]]: kind.case === 'workload' ? workloadIn(kind.value) : kind.value }),
    ...(expiresAt && { expires_at: timeOf(expiresAt) }),
  };
}

/** Throws `invalid_request` for one that no calendar has. */
export function timeOf(time: Timestamp): string {
  const ms = timestampMs(time);
  if (ms > 0 && ms < MAX_TIME) return new Date(ms).toISOString();
  throw refused('a time is between 1970 and 9999');
}

/** The year 10000. */
const MAX_TIME = 253_402_300_800_000;

const workloadIn = ({ issuer, audience, claims }: Workload): object => ({ issuer, audience, claims });

const ceilingIn = ({
  scopes,
  audiences,
  maxLifetimeSeconds,
  maxDepth,
  use,
  authorizationDetails,
}: Ceiling): object => ({
  scopes,
  audiences,
  authorization_details: authorizationDetails,
  ...(use !== '' && { use }),
  ...(maxLifetimeSeconds > 0 && { max_lifetime_seconds: maxLifetimeSeconds }),
  ...(maxDepth > 0 && { max_depth: maxDepth }),
});

/** A principal as it is read. */
export function principalMessage(ref: PrincipalRef, row: StoredPrincipal, known: CredentialTimes): Principal {
  const principal = principalIn(ref, row);
  const { may, ceiling } = principal;
  return create(PrincipalSchema, {
    ...ref,
    groups: principal.groups,
    roles: principal.roles,
    scopes: principal.scopes,
    properties: proto(principal.properties),
    status: statuses[statusOf(row)],
    credentials: principal.credentials.map((each) => credentialMessage(each, known)),
    ...(may && { may: { names: may } }),
    ...(ceiling && {
      ceiling: {
        scopes: ceiling.scopes,
        audiences: ceiling.audiences,
        maxLifetimeSeconds: ceiling.max_lifetime_seconds,
        maxDepth: ceiling.max_depth,
        use: ceiling.use,
        authorizationDetails: ceiling.authorization_details.map(proto),
      },
    }),
    clientIds: principal.client_ids,
    resources: principal.resources,
    owners: principal.owners,
    managedBy: row.source,
  });
}

/** What the server knows of credentials, in milliseconds since the epoch. */
interface CredentialTimes {
  readonly usedAt: (id: string) => number | undefined;
  readonly killedAt: (one: Registered) => number | undefined;
}

function credentialMessage(one: Registered, { usedAt, killedAt }: CredentialTimes): Credential {
  const id = credentialId(one);
  const [used, killed] = [usedAt(id), killedAt(one)];
  return create(CredentialSchema, {
    id,
    kind: kindOf(one),
    ...(one.expires_at !== undefined && { expiresAt: timestampFromMs(Date.parse(one.expires_at)) }),
    ...(used !== undefined && { lastUsedAt: timestampFromMs(used) }),
    ...(killed !== undefined && { killedAt: timestampFromMs(killed) }),
  });
}

function kindOf(one: Registered): Credential['kind'] {
  if ('secret_sha256' in one) return { case: 'secretSha256', value: shownDigest(one.secret_sha256) };
  if ('secret_scrypt' in one) return { case: 'secretScrypt', value: shownScrypt(one.secret_scrypt) };
  if ('spiffe_id' in one) return { case: 'spiffeId', value: one.spiffe_id };
  if ('certificate_dns' in one) return { case: 'certificateDns', value: one.certificate_dns };
  if ('certificate_subject' in one) return { case: 'certificateSubject', value: one.certificate_subject };
  if ('jwks' in one) return { case: 'jwks', value: proto(one.jwks) };
  if ('jwks_uri' in one) return { case: 'jwksUri', value: one.jwks_uri };
  return { case: 'workload', value: create(WorkloadSchema, one.workload) };
}

/** Undefined where nothing is said. A status that is not known here is not for one that is active. */
export function isDisabled(status: PrincipalStatus): boolean | undefined {
  if (status === PrincipalStatus.UNSPECIFIED || status === PrincipalStatus.SUSPENDED) return undefined;
  if (status === PrincipalStatus.ACTIVE) return false;
  if (status === PrincipalStatus.DISABLED) return true;
  throw refused('a status that is set is ACTIVE or DISABLED');
}

/** What JSON refuses by itself, in binary. */
const hasUnknown = (message: Principal): boolean =>
  [message, message.may, message.ceiling, ...message.credentials].some(
    (each) => (each?.$unknown?.length ?? 0) > 0,
  );

const refused = (message: string): ServiceError => new ServiceError('invalid_request', message);
