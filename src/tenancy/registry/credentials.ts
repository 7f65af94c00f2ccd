import { hash } from 'node:crypto';
import { z } from 'zod';
import { type CredentialEnd, credentialEnd } from '../../storage/granting/ends.ts';
import { readScrypt } from './scrypt.ts';
import { parseSubject, subjectName } from './subject-name.ts';
import { workload } from './workload.ts';

/** Of one principal: what it has, what it changes over to, and a few for where it runs. */
export const MAX_CREDENTIALS = 8;

/** What a public key set may take, as JSON. */
const MAX_KEY_SET = 16_384;

/** RFC 7518 section 6: members that only a private or a symmetric key has. */
const SECRET_MEMBERS = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k'];

const common = {
  /** Names it among the principal's. */
  id: z.string().min(1).max(64).optional(),
  expires_at: z.iso.datetime({ offset: true, error: 'a time such as 2027-01-31T00:00:00Z' }).optional(),
};

const jwks = z
  .strictObject({ keys: z.array(z.record(z.string(), z.json())).min(1).max(16) })
  .refine(({ keys }) => !keys.some((key) => SECRET_MEMBERS.some((name) => Object.hasOwn(key, name))), {
    error: 'it holds a private key: give the public ones alone, and make new ones, as this one was shown',
  })
  .refine((keys) => JSON.stringify(keys).length <= MAX_KEY_SET, {
    error: `more than ${MAX_KEY_SET} characters of keys`,
  });

const forms = {
  // SHA-256 of a secret of at least 128 random bits, hex. Such a secret needs no slow hash.
  secret_sha256: z.string().regex(/^[0-9a-f]{64}$/, '64 lower-case hex digits'),
  /** Of one that somebody chose. */
  secret_scrypt: z
    .string()
    .max(256)
    .refine(
      (text) => readScrypt(text) !== undefined,
      'as `mandate credential hash` prints it: $scrypt$ln=15,r=8,p=1$…',
    ),
  spiffe_id: z
    .string()
    .max(2_048)
    .regex(/^spiffe:\/\/[^\s?#]+$/, 'a SPIFFE id'),
  /** The one DNS name in a client certificate (RFC 8705 section 2.1.2, `tls_client_auth_san_dns`). */
  certificate_dns: z
    .string()
    .max(253)
    .regex(
      /^(?!-)[a-z0-9-]{1,63}(?<!-)(?:\.(?!-)[a-z0-9-]{1,63}(?<!-))*$/,
      "a host's name in lower case, without wildcards",
    ),
  /** The subject of a client certificate without other names (RFC 8705 section 2.1.2, `tls_client_auth_subject_dn`). */
  certificate_subject: z
    .string()
    .refine(
      (text) => parseSubject(text) !== undefined,
      'a name as RFC 4514 writes it, the most specific part first: CN=deploy,O=Acme,C=DE',
    ),
  /** Of private_key_jwt (RFC 7523). */
  jwks,
  jwks_uri: z.url().max(2_048),
  workload,
};

/** One way to authenticate, as tenant.yaml and the API have it. */
export const credential = z.union(
  [
    z.strictObject({ ...common, secret_sha256: forms.secret_sha256 }),
    z.strictObject({ ...common, secret_scrypt: forms.secret_scrypt }),
    z.strictObject({ ...common, spiffe_id: forms.spiffe_id }),
    z.strictObject({ ...common, certificate_dns: forms.certificate_dns }),
    z.strictObject({ ...common, certificate_subject: forms.certificate_subject }),
    z.strictObject({ ...common, jwks: forms.jwks }),
    z.strictObject({ ...common, jwks_uri: forms.jwks_uri }),
    z.strictObject({ ...common, workload: forms.workload }),
  ],
  { error: ({ input }) => problemOf(input) },
);

export type Credential = z.infer<typeof credential>;

const FORMS =
  'a credential is {secret_sha256: <64 hex digits>}, {secret_scrypt: $scrypt$…}, {spiffe_id: spiffe://…}, {certificate_dns: <host>}, {certificate_subject: CN=…}, {jwks: {keys: […]}}, {jwks_uri: https://…} or {workload: {issuer, claims}}, with id and expires_at where they are wanted';

/** A union alone says no more than that none of its forms fits. Keys are named, values may be secrets. */
function problemOf(input: unknown): string {
  const keys = typeof input === 'object' && input !== null && !Array.isArray(input) ? Object.keys(input) : [];
  const unknown = keys.filter((key) => !Object.hasOwn(forms, key) && !Object.hasOwn(common, key));
  return unknown.length > 0 ? `Unrecognized key: "${unknown.join('", "')}"; ${FORMS}` : FORMS;
}

const FINGERPRINT = 16;

/** How a secret is shown: by it one is known again, and nobody can be let in. */
export const shownDigest = (digest: string): string => `${digest.slice(0, FINGERPRINT)}…`;

/** By which its holder is found when it is presented; undefined for what names its holder itself. */
export function presentedAs(one: Credential): string | undefined {
  if ('secret_sha256' in one) return `sha256:${one.secret_sha256}`;
  if ('certificate_dns' in one) return dnsName(one.certificate_dns);
  if ('certificate_subject' in one) return subjectName(parseSubject(one.certificate_subject) ?? []);
  return 'spiffe_id' in one ? one.spiffe_id : undefined;
}

/** How a certificate names its holder by a host's name; a SPIFFE id is one itself. */
export const dnsName = (host: string): string => `dns:${host.toLowerCase()}`;

/** By which a client is let be heard before it is known in which tenant it has a secret that it chose. */
export const chosenBy = (clientId: string): string => `client ${clientId}`;

/** What a caller may be let be heard by: what it presents, or the name that goes with it. */
export const greetedBy = (one: Credential, principal: string): string | undefined =>
  'secret_scrypt' in one ? chosenBy(principal) : presentedAs(one);

export const credentialId = (one: Credential): string => one.id ?? madeId(one);

function madeId(one: Credential): string {
  if ('secret_sha256' in one) return one.secret_sha256.slice(0, FINGERPRINT);
  return hash('sha256', JSON.stringify({ ...one, expires_at: undefined }), 'hex').slice(0, FINGERPRINT);
}

/** At `now` by the clock, in milliseconds since the epoch. */
export const isGood = ({ expires_at: end }: Credential, now: number): boolean =>
  end === undefined || now < Date.parse(end);

/** For how long it is good yet, in milliseconds. */
export const goodFor = ({ expires_at: end }: Credential, now: number): number =>
  end === undefined ? Number.POSITIVE_INFINITY : Date.parse(end) - now;

const ends = new WeakMap<Credential, readonly CredentialEnd[]>();

/**
 * What a kill marks of it, and what it is then known by in the tenant: what is presented, whatever id, end or holder it is
 * given. Of public keys each, so that one that was killed is not good again among others.
 */
export function killedAs(one: Credential): readonly CredentialEnd[] {
  const known = ends.get(one);
  if (known) return known;
  const made = partsOf(one).map((part) => credentialEnd(hash('sha256', JSON.stringify(part), 'hex')));
  ends.set(one, made);
  return made;
}

function partsOf(one: Credential): readonly unknown[] {
  if ('jwks' in one) return one.jwks.keys.map((key) => ['jwk', ...keyMembers(key)]);
  if ('jwks_uri' in one) return [['jwks_uri', one.jwks_uri]];
  if ('secret_scrypt' in one) return [['secret_scrypt', one.secret_scrypt]];
  if (!('workload' in one)) return [['presented', presentedAs(one)]];
  const { issuer, audience, claims } = one.workload;
  const sorted = Object.entries(claims).toSorted(([a], [b]) => (a < b ? -1 : 1));
  return [['workload', issuer, audience, ...sorted]];
}

/** RFC 7638 section 3.2, RFC 8037 section 2: what makes a key this one, whatever else is said of it. */
const KEY_MEMBERS: Readonly<Record<string, readonly string[]>> = {
  EC: ['kty', 'crv', 'x', 'y'],
  OKP: ['kty', 'crv', 'x'],
  RSA: ['kty', 'e', 'n'],
};

function keyMembers(key: Readonly<Record<string, unknown>>): readonly unknown[] {
  const { kty } = key;
  const members = typeof kty === 'string' && Object.hasOwn(KEY_MEMBERS, kty) ? KEY_MEMBERS[kty] : undefined;
  return members ? members.map((name) => key[name]) : [key];
}
