import { z } from 'zod';
import { auditDeclared } from '../audit/privacy/declared.ts';
import { describe } from '../errors.ts';
import { principalClasses } from '../ids.ts';
import { uses } from '../storage/use.ts';
import { authorities, identityAssertions } from './crossing-declared.ts';
import { ceilingDetails, detailProblem, detailTypes } from './details.ts';
import { type LineOf, readLined, YamlInvalid } from './folder/yaml.ts';
import { keysDeclared } from './keys-declared.ts';
import { ManifestInvalid } from './manifest-invalid.ts';
import { isDeeper, listed, MAX_DEPTH, placeOf } from './manifest-issues.ts';
import { metersDeclared } from './meters-declared.ts';
import { credential, MAX_CREDENTIALS } from './registry/credentials.ts';
import { needsTrust } from './subject-claim.ts';
import { isSpiffe, isTrustDomain } from './svid.ts';
import { transactionsDeclared } from './transactions-declared.ts';

/** What a caller may do; see `operationsOf` for what each class may without saying. */
export const operations = [
  'check',
  'exchange',
  'introspect',
  'revoke',
  'grant.read',
  'approval.read',
  'approval.write',
  'policy.read',
  'policy.write',
  'policy.activate',
  'tenant.read',
  'tenant.write',
  'kill',
  'key.read',
  'key.write',
  'audit.read',
] as const;
/**
 * And what no principal of a tenant may, as it is about tenants themselves. `sync.follow`, to have a copy of them and hear
 * of each change, has only who is told so by name.
 */
export const operatorOperations = [...operations, 'tenant.put', 'sync.follow'] as const;
export type Operation = (typeof operatorOperations)[number];

const name = z.string().min(1).max(256);
const scope = z
  .string()
  .max(256)
  // RFC 6749 section 3.3: a scope token.
  .regex(/^[\x21\x23-\x5b\x5d-\x7e]+$/, 'a scope has no spaces, quotes or backslashes');
const names = z.array(name).max(1_000).default([]);
const scopes = z.array(scope).max(256).default([]);

const ceiling = z.strictObject({
  scopes,
  /** Principal ids (class mcp_server or service) or resource URIs the agent may get tokens for. */
  audiences: names,
  max_lifetime_seconds: z.int().min(1).max(300).default(300),
  max_depth: z.int().min(1).max(8).default(3),
  use: z.enum(uses).default('act'),
  authorization_details: ceilingDetails,
});

const principal = z.strictObject({
  class: z.enum(principalClasses),
  id: name,
  groups: names,
  roles: names,
  scopes,
  properties: z.record(z.string(), z.json()).default({}),
  status: z.enum(['active', 'disabled']).optional(),
  credentials: z.array(credential).max(MAX_CREDENTIALS).default([]),
  may: z.array(z.enum(operations)).optional(),
  ceiling: ceiling.optional(),
  /** The agent's own client ids at the tenant's issuers, where they differ from its id. */
  client_ids: names,
  /** Resource URIs this server answers for (RFC 8707). */
  resources: z.array(z.url()).max(64).default([]),
  /** Who answers for it. While none of them is active, it is suspended. */
  owners: z
    .array(
      z
        .string()
        .max(262)
        .regex(/^(?:user|group):./, 'user:<id> or group:<name>'),
    )
    .max(16)
    .default([]),
});

/** What providers put into access tokens and not into ID tokens. */
const ACCESS_TOKEN_CLAIMS = [
  'scope',
  'scp',
  'client_id',
  'cid',
  'appid',
  'appidacr',
  'azpacr',
  'gty',
  'permissions',
];

/** A claim's name, or the names on the way to one within another. */
const claimPath = z
  .union([name, z.array(name).min(1).max(8)], { error: 'name a claim, or the way to one as a list of names' })
  .transform((said): readonly string[] => (typeof said === 'string' ? [said] : said));

const issuer = z
  .strictObject({
    issuer: z.url(),
    /** Left out: found through the issuer's metadata, and then it must be on the issuer's own origin. */
    jwks_uri: z.url().optional(),
    algorithms: z
      .array(z.enum(['RS256', 'PS256', 'ES256', 'ES384', 'EdDSA']))
      .min(1)
      .default(['RS256', 'ES256']),
    /** What an access token's `aud` must name. */
    audiences: names,
    subject_class: z.enum(principalClasses).default('user'),
    /** The claim that holds the principal's id. */
    subject_claim: name.default('sub'),
    /** The tenant vouches that users can neither choose nor change that claim at this issuer. */
    subject_claim_trusted: z.boolean().default(false),
    /** The claim that names an access token's client, such as Okta's `cid`; else `client_id` or `azp`. */
    client_claim: name.optional(),
    /** The claims that hold the subject's groups and roles; for one within another, the way there. */
    groups_claim: claimPath.optional(),
    roles_claim: claimPath.optional(),
    /** `jwt` takes access tokens of type `JWT`, or of none, too: for providers from before RFC 9068. */
    access_token_types: z
      .array(z.enum(['at+jwt', 'jwt']))
      .min(1)
      .default(['at+jwt']),
    /** A token of type `JWT`, or of none, that has one of these is no ID token. */
    access_token_claims: z.array(name).max(64).default(ACCESS_TOKEN_CLAIMS),
    /** Such a token that has none of these is no ID token either; empty: nothing is asked of it. */
    id_token_claims: z.array(name).max(64).default([]),
    /** Left out: its identity assertions are not taken. */
    identity_assertions: identityAssertions.optional(),
  })
  .refine((one) => !isSpiffe(one.issuer) || isTrustDomain(one.issuer), {
    path: ['issuer'],
    error: 'a trust domain is spiffe://<name> in lower case, without a path',
  })
  .refine((one) => !isSpiffe(one.issuer) || (one.subject_class !== 'user' && one.jwks_uri !== undefined), {
    path: ['issuer'],
    error: 'a trust domain names its bundle by jwks_uri, and has a subject_class other than user',
  })
  .refine((one) => one.identity_assertions === undefined || one.subject_class === 'user', {
    path: ['identity_assertions'],
    error: 'an identity assertion is of a user: subject_class is another one',
  })
  .refine(({ subject_claim: claim, subject_claim_trusted: trusted }) => trusted || !needsTrust(claim), {
    path: ['subject_claim'],
    error: ({ input }) =>
      `users may choose or change ${(input as { subject_claim: string }).subject_claim}: name a claim that stays, such as sub, or say subject_claim_trusted: true`,
  });

const limits = z
  .strictObject({
    /** What one evaluation may spend; about five milliseconds of a typical core by default. */
    fuel: z.int().min(1_000).max(2_000_000_000).optional(),
    /** What a policy's memory may grow to. */
    memory_mib: z.int().min(4).max(1_024).optional(),
    /** Decisions a second, on average, with a burst of one second's worth. */
    decisions_per_second: z.int().min(1).optional(),
    /** Bytes of records a second, on average, with a burst of one second's worth. */
    record_bytes_per_second: z.int().min(1_024).optional(),
    /** How much its records may take in all. What revokes, disables or administers is recorded beyond it. */
    store_bytes: z.int().min(65_536).optional(),
  })
  .prefault({});

const manifest = z.strictObject({
  id: z.string(),
  display_name: name.optional(),
  roles: z.record(name, z.strictObject({ scopes })).default({}),
  /** Action name → the scope and the class of use that a grant needs for it. */
  actions: z
    .record(name, z.strictObject({ scope: scope.optional(), use: z.enum(uses).optional() }))
    .default({}),
  authorization_details: detailTypes,
  /** What is counted of what is allowed, for policies to see. */
  meters: metersDeclared,
  /** Whose tokens are bound to a key (RFC 9449), and whether proofs at the token endpoint hold a nonce of ours. */
  dpop: z
    .strictObject({
      required: z.array(z.enum(principalClasses)).max(8).default([]),
      nonce: z.boolean().default(false),
    })
    .prefault({}),
  /**
   * Whose tokens are bound to the certificate that they ask with, if they have one (RFC 8705 section 3), and who is given
   * no others.
   */
  mtls: z
    .strictObject({
      bound: z.array(z.enum(principalClasses)).max(8).default([]),
      required: z.array(z.enum(principalClasses)).max(8).default([]),
    })
    .prefault({}),
  /** How long tasks may last; 0: there are none. No more than six days: so long grants are kept that have expired. */
  tasks: z.strictObject({ max_hours: z.number().min(0).max(144).default(0) }).prefault({}),
  /** Where whoever asked for approval may be told that it was decided. */
  approvals: z.strictObject({ callbacks: z.array(z.url().max(2_048)).max(64).default([]) }).prefault({}),
  /** Resources that a search may find without the caller naming them. */
  resources: z
    .array(
      z.strictObject({
        type: name,
        id: z.string().min(1).max(1_024),
        properties: z.record(z.string(), z.json()).default({}),
      }),
    )
    .max(10_000)
    .default([]),
  principals: z.array(principal).max(10_000).default([]),
  issuers: z.array(issuer).max(16).default([]),
  /** For which other authorities identity assertions are issued. */
  authorities,
  transactions: transactionsDeclared,
  /** What callers call the classes of principals: `identity: user`. A class keeps its own name. */
  subject_types: z
    .record(name, z.enum(principalClasses))
    .refine((types) => !principalClasses.some((each) => Object.hasOwn(types, each)), {
      error: 'a class of principals is not called otherwise',
    })
    .default({}),
  /** Of which classes callers may state who asks; which roles and groups they may, beside what the directory says. */
  stated_principals: z
    .strictObject({
      classes: z.array(z.enum(principalClasses)).min(1).max(5).default(['user']),
      roles: z.union([z.literal('any'), z.array(name).max(1_000)]).default([]),
      groups: z.union([z.literal('any'), z.array(name).max(1_000)]).default([]),
    })
    .optional(),
  /**
   * What decides in the place of the package authz, in packages of the tenant's own: a boolean, or an object with `allow`
   * (or `allowed`), `deny`, `challenge`, `obligations` and `reasons`. A package `mapping` makes its input.
   */
  decision: z
    .string()
    .max(512)
    .regex(
      /^data\.[A-Za-z_]\w*(?:\.[A-Za-z_]\w*|\["[\w ./:-]+"\])*$/,
      'a reference such as data.shop.authz.allow',
    )
    .refine((reference) => !/^data\.(?:mandate|system|mapping)\b/.test(reference), {
      error: 'mandate, system and mapping do not decide',
    })
    .optional(),
  /**
   * Rules, packages and data documents that the OPA data API serves, with what is below them, as paths: `authz/allow`.
   * They are evaluated on whatever input the client sends, without guardrails, so the compiler does not hold this tenant's
   * Rego to the input schema.
   */
  entrypoints: z
    .array(
      z
        .string()
        .max(256)
        .regex(/^[A-Za-z_][\w-]*(?:\/[\w-]+)*$/, 'a path such as authz/allow')
        .refine((path) => !/^(?:mandate|system)(?:\/|$)/.test(path), {
          error: "mandate and system are not the tenant's",
        }),
    )
    .max(64)
    .default([]),
  /**
   * What Envoy's checks are asked of: `mandate`, or `opa` for a policy that was written for opa-envoy-plugin, which has
   * that plugin's input and no guardrails. The rule is one that the data API serves too.
   */
  ext_authz: z
    .strictObject({
      input: z.enum(['mandate', 'opa']).default('mandate'),
      entrypoint: z.string().default('authz/allow'),
    })
    .prefault({}),
  /** Whether what is saved in the folder counts at once; else when somebody reloads it. */
  watch: z.boolean().default(false),
  /** What a sidecar refuses once it has not heard of an authority for too long: what depends on a grant, or everything. */
  when_stale: z.enum(['refuse_delegated', 'refuse_all']).default('refuse_delegated'),
  /** `four_eyes`: who brings a revision does not make it active. */
  policy: z.strictObject({ four_eyes: z.boolean().default(false) }).prefault({}),
  limits,
  keys: keysDeclared,
  audit: auditDeclared,
});

/** JSON Schema (draft 2020-12) of a tenant.yaml, for editors. What only code can tell it leaves open. */
export const manifestSchema = (): object => z.toJSONSchema(manifest, { io: 'input', unrepresentable: 'any' });

export type Manifest = z.infer<typeof manifest>;
export type ManifestPrincipal = Manifest['principals'][number];
export type TrustedIssuer = Manifest['issuers'][number];
export type Ceiling = z.infer<typeof ceiling>;

/** Reads the text of a tenant.yaml. Throws `ManifestInvalid` with the place of the mistake. */
export function readManifest(text: string, file: string): Manifest {
  let read: ReturnType<typeof readLined>;
  try {
    // A manifest has no use for aliases, and a bomb is made of them.
    read = readLined(text, { maxAliasCount: 0, exact: false });
  } catch (cause) {
    const line = cause instanceof YamlInvalid ? cause.line : 0;
    throw new ManifestInvalid(file, describe(cause).split('\n')[0] ?? '', { cause, line });
  }
  const { value, lineOf } = read;
  if (isDeeper(value, MAX_DEPTH)) throw new ManifestInvalid(file, `more than ${MAX_DEPTH} levels deep`);
  return parseManifest(value, file, lineOf);
}

/** Throws `ManifestInvalid` with the place of the first mistakes. */
export function parseManifest(value: unknown, file: string, lineOf: LineOf = () => 0): Manifest {
  const parsed = manifest.safeParse(value);
  if (!parsed.success) {
    const { issues } = parsed.error;
    throw new ManifestInvalid(file, listed(issues), { line: lineOf(placeOf(issues[0])) });
  }
  const seen = new Set<string>();
  for (const [at, entry] of parsed.data.principals.entries()) {
    const key = `${entry.class}:${entry.id}`;
    if (seen.has(key))
      throw new ManifestInvalid(file, `principal ${key} stands twice`, { line: lineOf(['principals', at]) });
    seen.add(key);
    for (const [place, detail] of (entry.ceiling?.authorization_details ?? []).entries()) {
      const problem = detailProblem(parsed.data.authorization_details, detail, 'bound');
      if (problem === undefined) continue;
      const path = ['principals', at, 'ceiling', 'authorization_details', place];
      throw new ManifestInvalid(file, `${path.join('.')} ${problem}`, { line: lineOf(path) });
    }
  }
  for (const [type, { bounds }] of Object.entries(parsed.data.authorization_details))
    for (const [member, meter] of Object.entries(bounds)) {
      const declared = Object.hasOwn(parsed.data.meters, meter) ? parsed.data.meters[meter] : undefined;
      if (declared?.per === 'grant') continue;
      const path = ['authorization_details', type, 'bounds', member];
      const problem = declared
        ? `${meter} counts per ${declared.per}, not per grant`
        : `there is no meter ${meter}`;
      throw new ManifestInvalid(file, `${path.join('.')}: ${problem}`, { line: lineOf(path) });
    }
  for (const [at, { issuer: each }] of parsed.data.issuers.entries()) {
    if (seen.has(each))
      throw new ManifestInvalid(file, `issuer ${each} stands twice`, { line: lineOf(['issuers', at]) });
    seen.add(each);
  }
  const { ext_authz: envoy, entrypoints } = parsed.data;
  if (envoy.input === 'opa' && !entrypoints.includes(envoy.entrypoint)) {
    const problem = `ext_authz: entrypoints has no ${envoy.entrypoint.slice(0, 256)}, which Envoy's checks would ask`;
    throw new ManifestInvalid(file, problem, { line: lineOf(['ext_authz']) });
  }
  return parsed.data;
}

/** One principal, as the manifest has it. Throws `ManifestInvalid`. */
export function parsePrincipal(value: unknown): ManifestPrincipal {
  const problem = (text: string): ManifestInvalid => new ManifestInvalid('principal', text);
  if (isDeeper(value, MAX_DEPTH)) throw problem(`more than ${MAX_DEPTH} levels deep`);
  const parsed = principal.safeParse(value);
  if (parsed.success) return parsed.data;
  throw problem(listed(parsed.error.issues));
}

/** One issuer, as the manifest has it. Throws `ManifestInvalid`. */
export function parseIssuer(value: unknown): TrustedIssuer {
  const parsed = issuer.safeParse(value);
  if (parsed.success) return parsed.data;
  throw new ManifestInvalid('issuer', listed(parsed.error.issues));
}
