import { hash } from 'node:crypto';
import { endedGrant, GrantRefused, type TokenPrincipal, type TokenResolver } from '../decision/principal.ts';
import type { Proof } from '../decision/request.ts';
import type { Clock } from '../effects.ts';
import { ServiceError } from '../errors.ts';
import { Generations } from '../generations.ts';
import { type GrantId, isSame, type PrincipalRef } from '../ids.ts';
import type { GrantStore } from '../storage/grants.ts';
import {
  actingIn,
  audiencesOf,
  confirmationOf,
  type GrantRow,
  isTaskNode,
  signInOf,
} from '../storage/rows.ts';
import { checkFresh, type Freshness } from '../tenancy/freshness.ts';
import type { Held } from '../tenancy/held.ts';
import type { Issuers } from '../tenancy/issuers.ts';
import { MAX_TOKEN, readToken, type UnverifiedToken } from '../tenancy/jose.ts';
import type { StateVersions } from '../tenancy/state-versions.ts';
import type { Tenant } from '../tenancy/tenants.ts';
import { transactionsOf } from '../tenancy/transactions-declared.ts';
import { isSignedBy, signJwt } from './keys/jws.ts';
import type { Keys } from './keys/keys.ts';
import { Lifetimes } from './lifetimes.ts';
import { uncertified } from './sender/certificates.ts';
import { type DpopProofs, notHeld } from './sender/dpop.ts';
import { asPrincipal } from './vouched.ts';

/** RFC 9068 section 2.1. */
const TOKEN_TYPE = 'at+jwt';

/** draft-ietf-oauth-transaction-tokens, "JWT Header". */
export const TRANSACTION_TOKEN = 'txntoken+jwt';

/** What a token of ours is, by its type alone: the one never passes for the other. */
const kinds = { [TOKEN_TYPE]: 'access', [TRANSACTION_TOKEN]: 'transaction' } as const;
export type OwnKind = (typeof kinds)[keyof typeof kinds];

/** How many verified tokens are remembered: the signature, and the grant for as long as none has ended. */
const REMEMBERED = 40_000;

/** How many tokens by a key that is not known here are waited with, and for how long: it may be on its way. */
const MOST_STRANGERS = 64;
const STRANGER_MS = 1_000;

interface Verified {
  readonly id: GrantId;
  readonly kind: OwnKind;
  /** The grant as it was found alive, and when it ends by the clock that nobody sets. */
  last: { readonly grant: WeakRef<GrantRow>; readonly ends: number; readonly end: number } | undefined;
}

/** Mints the tokens of grants and tells what a presented token is. */
export class Tokens {
  readonly #keys: Keys;
  readonly #grants: GrantStore;
  readonly #issuers: Issuers;
  readonly #issuerOf: (tenant: Tenant) => string;
  /** Tenant and SHA-256 of a token → its grant, once the signature was verified. */
  readonly #verified = new Generations<string, Verified>(REMEMBERED);
  readonly #lifetimes: Lifetimes;
  readonly #monotonic: Clock;
  readonly #dpop: DpopProofs;
  readonly #freshness: Freshness;
  /** Tokens by an unknown key that are waited with. */
  #strangers = 0;
  readonly #behind: StateVersions | undefined;
  /** Those of requests that are under way: the tenant and the token come with each. */
  readonly #proofs = new WeakMap<Proof, Promise<string>>();

  constructor(options: {
    keys: Keys;
    grants: GrantStore;
    issuers: Issuers;
    issuerOf: (tenant: Tenant) => string;
    dpop: DpopProofs;
    monotonic: Clock;
    /** How old what is known here of revocations may be. */
    freshness: Freshness;
    /** Where grants and keys are made elsewhere as well: what is not here yet may be on its way. */
    behind?: StateVersions | undefined;
  }) {
    this.#freshness = options.freshness;
    this.#behind = options.behind;
    this.#keys = options.keys;
    this.#grants = options.grants;
    this.#issuers = options.issuers;
    this.#issuerOf = options.issuerOf;
    this.#dpop = options.dpop;
    this.#lifetimes = new Lifetimes(options.monotonic);
    this.#monotonic = options.monotonic;
  }

  /**
   * The grant's token: RFC 9068 claims, the chain of actors in `act` (RFC 8693 section 4.1), what was granted of
   * authorization details (RFC 9396 section 9.1), how the subject signed in (RFC 9068 section 2.2.1). Throws as `sign`.
   */
  mint(tenant: Tenant, grant: GrantRow): Promise<string> {
    const claims = {
      client_id: actingIn(grant).id,
      scope: grant.scopes.join(' '),
      use: grant.use,
      authorization_details: detailsClaim(grant),
      principal_class: grant.subject.class,
      act: actClaim(grant.actors),
      cnf: confirmationOf(grant),
      may_act: mayActClaim(grant),
      ...signInOf(grant.authentication),
    };
    return this.sign(tenant, grant, { type: TOKEN_TYPE, audience: audienceClaim(grant), claims });
  }

  /**
   * A JWT by the tenant's key that is of the grant: its subject, its times, its id. Throws `invalid_request` for one that
   * would be too long.
   */
  async sign(
    tenant: Tenant,
    grant: GrantRow,
    {
      type,
      audience,
      claims,
    }: { type: string; audience: string | string[]; claims: Readonly<Record<string, unknown>> },
  ): Promise<string> {
    const key = await this.#keys.signer(tenant);
    const token = await signJwt(key, type, {
      iss: this.#issuerOf(tenant),
      sub: grant.subject.id,
      aud: audience,
      iat: Math.floor(grant.issuedAt / 1000),
      exp: Math.floor(grant.expiresAt / 1000),
      jti: grant.id,
      ...claims,
    });
    // One that nobody could present would be of no use, and the grant behind it would stand.
    if (token.length > MAX_TOKEN)
      throw new ServiceError(
        'invalid_request',
        `the token would be longer than ${MAX_TOKEN} characters: ask for fewer scopes or authorization details`,
      );
    return token;
  }

  /** See `TokenResolver`. An ID token is for its client, not for here: only access tokens name a principal. */
  readonly resolve: TokenResolver = (tenant, text, now, proof) => {
    // Most tokens come again and again: what was read of one and verified is not read anew.
    const known = this.#verified.get(this.#digestOf(tenant, text));
    if (known?.kind !== 'access' || proof?.dpop) return this.#read(tenant, text, now, proof);
    checkFresh(this.#freshness);
    const x5tS256 = proof?.x5tS256 || undefined;
    return asPrincipal(this.#held(this.#alive(tenant, known, now), { x5tS256 }));
  };

  async #read(tenant: Tenant, text: string, now: number, proof: Proof | undefined): Promise<TokenPrincipal> {
    const x5tS256 = proof?.x5tS256 || undefined;
    const signed = proof?.dpop ? proof : undefined;
    const token = readToken(text);
    if (this.isOwn(tenant, token)) {
      checkFresh(this.#freshness);
      await this.#heardOfKey(tenant, token);
      const id = await this.#verifiedGrant(tenant, token, this.takenHere(tenant));
      await this.#heardOf(tenant, id, token, now);
      this.#living(this.#found(tenant, id), now);
      const jkt = signed && (await this.#proven(tenant, text, signed));
      return asPrincipal(this.#held(this.#living(this.#found(tenant, id), now), { jkt, x5tS256 }));
    }
    const trusted = this.#issuers.trusted(tenant, token.issuer);
    if (!trusted)
      throw new ServiceError('token_invalid', 'the token is of an issuer that the tenant does not trust');
    // The token goes first: nobody's proof is remembered for what is no token.
    const jkt = signed && boundIn(token);
    const held = { jkt, x5tS256 };
    const { subject, kind, audiences, authentication } = await this.#issuers.verify(
      tenant,
      trusted,
      token,
      held,
    );
    if (signed && (await this.#proven(tenant, text, signed)) !== jkt) throw notHeld(true, '');
    this.#issuers.refuseKilled(tenant, trusted);
    if (kind !== 'access_token')
      throw new ServiceError('token_invalid', 'only an access token names a principal here');
    if (!audiences.some((audience) => trusted.audiences.includes(audience)))
      throw new ServiceError('token_invalid', 'the token is for another audience');
    return { subject, actors: [], grant: undefined, authentication, issuer: trusted.issuer };
  }

  /**
   * Whether the token is one of ours that was verified before, of a grant that lives, and that takes no proof: then another
   * thread may look at the grant alone (`vouchedPrincipal`).
   */
  vouches(tenant: Tenant, text: string, now: number): boolean {
    const known = this.#verified.get(this.#digestOf(tenant, text));
    // What a transaction token is for, the thread does not know.
    if (known?.kind !== 'access' || this.#freshness.isStale) return false;
    try {
      this.#held(this.#alive(tenant, known, now), {});
      return true;
    } catch {
      return false;
    }
  }

  /** The thumbprint of the key that its presenter holds. One proof is for all that is asked with it. */
  #proven(tenant: Tenant, token: string, proof: Proof): Promise<string> {
    const before = this.#proofs.get(proof);
    if (before) return before;
    const { dpop, method, uri } = proof;
    const asked = { proof: dpop, method, uri, accessToken: token, nonce: 'theirs' } as const;
    const verified = this.#dpop.verify(tenant.no, asked);
    this.#proofs.set(proof, verified);
    return verified;
  }

  /**
   * RFC 9449 section 7.1: a token that is bound to a key is presented with it, and one that is not with none. RFC 8705
   * section 3: one that is bound to a certificate is presented over a connection that is by it.
   */
  #held(grant: GrantRow, held: Held): GrantRow {
    const isProven = grant.jkt === (held.jkt ?? null);
    const refused = isProven ? uncertified(grant, held) : notHeld(grant.jkt !== null, held.jkt);
    if (refused) throw new GrantRefused(grant, refused);
    return grant;
  }

  issuerOf(tenant: Tenant): string {
    return this.#issuerOf(tenant);
  }

  /** Whether it claims that this tenant itself issued it; unverified. */
  isOwn(tenant: Tenant, token: UnverifiedToken): boolean {
    return token.issuer === this.#issuerOf(tenant);
  }

  /** The living grant behind one of the tenant's own tokens. Throws `token_invalid`, `token_expired`, `token_revoked`. */
  async grantOf(
    tenant: Tenant,
    token: UnverifiedToken,
    now: number,
    kind: OwnKind | 'any' = 'access',
  ): Promise<GrantRow> {
    return this.#living(await this.grantBehind(tenant, token, kind), now);
  }

  /** A living task that the agent opened, or its part in one that it joined, by its id. Throws `token_invalid`, `token_expired`, `token_revoked`. */
  async task(tenant: Tenant, agent: PrincipalRef, id: string, now: number): Promise<GrantRow> {
    await this.#grants.heard?.(tenant.no, id as GrantId);
    const grant = this.#grants.find(tenant.no, id as GrantId);
    // Nobody is told of another one's, nor what became of it.
    if (!grant || !isTaskNode(grant) || !isSame(grant.actors[0], agent)) throw noTask();
    return this.#living(grant, now);
  }

  /** The grant, alive or not: to end it must not depend on what a clock says. Throws `token_invalid`. */
  async grantBehind(tenant: Tenant, token: UnverifiedToken, kind: OwnKind | 'any'): Promise<GrantRow> {
    await this.#heardOfKey(tenant, token);
    const id = await this.#verifiedGrant(tenant, token, kind);
    await this.#grants.heard?.(tenant.no, id);
    return this.#found(tenant, id);
  }

  /** A key that another server has made may be on its way. Nobody knows yet who made the token: few wait so, and not for long. */
  async #heardOfKey(tenant: Tenant, { header }: UnverifiedToken): Promise<void> {
    const { kid } = header;
    const behind = this.#behind;
    if (!behind || typeof kid !== 'string' || this.#strangers >= MOST_STRANGERS) return;
    this.#strangers += 1;
    try {
      const until = this.#monotonic() + STRANGER_MS;
      while (!(await this.#keys.find(tenant, kid))) {
        const seen = behind.of(tenant.no);
        const left = until - this.#monotonic();
        if (left <= 0 || !(await behind.when(tenant.no, () => behind.of(tenant.no) !== seen, left))) return;
      }
    } finally {
      this.#strangers -= 1;
    }
  }

  /** The same of its grant. The token is verified, so that there is one, unless it is over for long. */
  async #heardOf(tenant: Tenant, id: GrantId, { claims }: UnverifiedToken, now: number): Promise<void> {
    const { exp } = claims;
    if (typeof exp !== 'number' || exp * 1_000 < now) return;
    await this.#grants.heard?.(tenant.no, id);
  }

  /** Called after the last await: a revocation that was answered before this request is in it. */
  #found(tenant: Tenant, id: GrantId): GrantRow {
    const grant = this.#grants.find(tenant.no, id);
    if (!grant) throw new ServiceError('token_invalid', 'the token belongs to no grant');
    return grant;
  }

  /** The same as `#living`, without looking it up again as long as nothing has ended. */
  #alive(tenant: Tenant, known: Verified, now: number): GrantRow {
    // Read before the grant is: what ends in between makes it one of the number before.
    const { ends } = this.#grants;
    const last = known.last?.ends === ends ? known.last : undefined;
    const kept = last?.grant.deref();
    if (last && kept && this.#lifetimes.lastsUntil(last.end, kept, now)) return kept;
    const grant = this.#living(this.#found(tenant, known.id), now);
    const end = this.#lifetimes.endOf(grant, now);
    known.last = end === undefined ? undefined : { grant: new WeakRef(grant), ends, end };
    return grant;
  }

  #living(grant: GrantRow, now: number): GrantRow {
    if (grant.revokedAt !== null || !this.#lifetimes.lasts(grant, now)) throw endedGrant(grant);
    return grant;
  }

  /** A grant that was just made, before anybody holds its token. */
  begin(grant: GrantRow): void {
    this.#lifetimes.lasts(grant, grant.issuedAt);
  }

  /** What is good with a check and in an introspection. */
  takenHere(tenant: Tenant): 'access' | 'any' {
    return transactionsOf(tenant)?.accepted ? 'any' : 'access';
  }

  async #verifiedGrant(tenant: Tenant, token: UnverifiedToken, wanted: OwnKind | 'any'): Promise<GrantId> {
    const digest = this.#digestOf(tenant, token.text);
    const known = this.#verified.get(digest);
    const { id, kind } = known ?? (await this.#verify(tenant, token));
    if (!known) this.#verified.set(digest, { id, kind, last: undefined });
    if (wanted === 'any' || wanted === kind) return id;
    throw new ServiceError('token_invalid', 'the token is not valid', { detail: 'of another type' });
  }

  /** What was verified by keys that were taken away since has another name. */
  #digestOf(tenant: Tenant, text: string): string {
    return `${tenant.id} ${this.#keys.generation(tenant)} ${hash('sha256', text, 'base64')}`;
  }

  /** Whose it is, by signature and type. Its times are the grant's, and read there. */
  async #verify(tenant: Tenant, token: UnverifiedToken): Promise<{ id: GrantId; kind: OwnKind }> {
    const { header, claims } = token;
    const invalid = (detail: string): ServiceError =>
      new ServiceError('token_invalid', 'the token is not valid', { detail });
    const kid = header['kid'];
    const key = typeof kid === 'string' && kid.length <= 64 ? await this.#keys.find(tenant, kid) : undefined;
    if (!key) throw invalid('no such key');
    if (!(await isSignedBy(key, token))) throw invalid('signature verification failed');
    const typ = String(header['typ']);
    if (!isOwnType(typ)) throw invalid('of another type');
    if (typeof claims['jti'] !== 'string') throw invalid('it names no grant');
    return { id: claims['jti'] as GrantId, kind: kinds[typ] };
  }
}

const isOwnType = (typ: string): typ is keyof typeof kinds => Object.hasOwn(kinds, typ);

/** The key that a token names, unverified; one that names none is held by no key. */
function boundIn({ claims }: UnverifiedToken): string {
  const { jkt } = (claims['cnf'] ?? {}) as { jkt?: unknown };
  return typeof jkt === 'string' ? jkt : '';
}

const noTask = (): ServiceError => new ServiceError('token_invalid', 'no such task of this agent');

/** RFC 9396: there where there are some. */
export const detailsClaim = ({ details }: GrantRow): GrantRow['details'] | undefined =>
  details.length > 0 ? details : undefined;

/** RFC 7519 section 4.1.3: a text where it is one. */
export const audienceClaim = (grant: GrantRow): string | string[] =>
  grant.moreAudiences.length === 0 ? grant.audience : [...audiencesOf(grant)];

/** RFC 8693 section 4.4. */
export const mayActClaim = ({ mayAct }: GrantRow): Omit<ActClaim, 'act'> | undefined =>
  mayAct ? { sub: mayAct.id, principal_class: mayAct.class } : undefined;

/** RFC 9449 section 5: how a token of the grant is presented. */
export const tokenTypeOf = ({ jkt }: GrantRow): 'Bearer' | 'DPoP' => (jkt === null ? 'Bearer' : 'DPoP');

interface ActClaim {
  readonly sub: string;
  readonly principal_class: string;
  readonly act?: ActClaim;
}

/** The current actor outermost, those before it nested inside. */
export function actClaim(actors: readonly PrincipalRef[]): ActClaim | undefined {
  return actors.reduceRight<ActClaim | undefined>(
    (inner, actor) => ({ sub: actor.id, principal_class: actor.class, ...(inner ? { act: inner } : {}) }),
    undefined,
  );
}
