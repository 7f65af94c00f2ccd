import { hash } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import type { Clock } from '../effects.ts';
import { ServiceError } from '../errors.ts';
import { type PrincipalClass, type PrincipalRef, principalClasses, principalKey } from '../ids.ts';
import type { FactSource } from './facts.ts';
import { ALWAYS_FRESH, checkServed, type Freshness } from './freshness.ts';
import { readToken } from './jose.ts';
import { type ManifestPrincipal, type Operation, operatorOperations } from './manifest.ts';
import type { ChosenSecrets } from './registry/chosen.ts';
import { type Credential, chosenBy, goodFor, isGood } from './registry/credentials.ts';
import { audiencesOf, type Holder } from './registry/registry.ts';
import type { Tenant, Tenants } from './tenants.ts';

/** The one who asks: a policy enforcement point, an agent or an operator, authenticated. */
export interface Caller {
  /** How records name it, for example `service:docs-api`. */
  readonly id: string;
  /** The principal it is; an operator and the development caller are none. */
  readonly principal: PrincipalRef | undefined;
  /** As it was known when it authenticated. */
  readonly registered?: ManifestPrincipal | undefined;
  /** The credential it was known by, where that is one of the principal's. */
  readonly credential?: Credential | undefined;
  readonly may: ReadonlySet<Operation>;
  /**
   * The audiences it answers for: a token of Mandate's for another one is not for it. `stated`: the tenant knows of none,
   * so it must say so with each question. `any`: the development caller, who is nobody.
   */
  readonly audiences: readonly string[] | 'stated' | 'any';
}

/** A caller who was found at a look. */
export interface Known {
  readonly caller: Caller;
  readonly forMs: number;
}

type ChosenPresented = Extract<Presented, { kind: 'secret' }> & { readonly clientId: string };

/** A credential as presented, before anybody is known by it. */
export type Presented = (
  | { readonly kind: 'none'; readonly loopback: boolean }
  | { readonly kind: 'secret'; readonly secret: string; readonly clientId?: string | undefined }
  /** `name`: whom it names, as `presentedAs` says it. */
  | { readonly kind: 'certificate'; readonly name: string }
  /** A JWT that the client signed for this (RFC 7523). */
  | { readonly kind: 'assertion'; readonly assertion: string; readonly clientId: string | undefined }
) & {
  /** Where it came from, as connections are counted. */
  readonly address?: string | undefined;
};

/** Hears of whom a tenant did not let in. */
export type RefusalListener = (refusal: {
  readonly tenant: Tenant;
  readonly presented: Presented;
  /** Empty where nobody is known. */
  readonly caller: string;
  /** The beginning of the SHA-256 of a secret that some tenant knows, or whom a certificate names; empty for nothing. */
  readonly fingerprint: string;
  /** Whom a credential that nobody has was said to be of, where the tenant has one of that name; else empty. */
  readonly claimed: string;
  readonly operation: Operation;
  readonly code: string;
}) => void;

/** Somebody who runs Mandate itself, bound to tenants by the configuration. */
export interface Operator {
  readonly id: string;
  readonly secretSha256: string;
  /** Tenant ids, or `*`. */
  readonly tenants: readonly string[];
  readonly may: readonly (typeof operatorOperations)[number][];
}

/** Users hold no credential here: they act through a service, or through an agent that exchanges their token. */
export const operationsOf: Readonly<Record<PrincipalClass, readonly Operation[]>> = {
  user: [],
  // Its own grants, that is.
  agent: ['exchange', 'introspect', 'revoke', 'grant.read'],
  mcp_server: ['check', 'exchange', 'introspect', 'revoke'],
  service: ['check', 'exchange', 'introspect', 'revoke'],
  job: ['check'],
};

const devCaller: Caller = {
  id: 'dev',
  principal: undefined,
  may: new Set(operatorOperations),
  audiences: 'any',
};

/** Turns a bearer JWT into the principal it names; see `jwtCallers`. */
export type JwtVerifier = (tenant: Tenant, token: string, among?: readonly Tenant[]) => Promise<JwtHolder>;

/** Whom a JWT names, and all of its credentials that the JWT is good for, where it is a workload's. */
export type JwtHolder = PrincipalRef & { readonly credentials?: readonly Credential[] };

/** Turns a client's assertion into who it is; see `ClientAssertions`. */
export type AssertionVerifier = (
  tenant: Tenant,
  assertion: string,
  clientId: string | undefined,
) => Promise<Holder>;

/** Knows callers by what they present. A wrong credential is never better than none. */
export class Callers {
  readonly #operators: ReadonlyMap<string, Operator>;
  readonly #dev: boolean;
  readonly #facts: FactSource;
  readonly #verifyJwt: JwtVerifier;
  readonly #verifyAssertion: AssertionVerifier;
  readonly #chosen: ChosenSecrets;
  readonly #onRefusal: RefusalListener;
  readonly #tenants: Tenants;
  readonly #clock: Clock;
  readonly #isKilled: (tenant: Tenant, issuer: string) => boolean;
  readonly #isCredentialKilled: (tenant: Tenant, credential: Credential) => boolean;
  readonly #freshness: Freshness;
  readonly #onUse: (tenant: Tenant, holder: Holder, now: number) => void;
  /** By the credential, or the principal that a token names. */
  readonly #known = new WeakMap<Credential | ManifestPrincipal, Caller>();
  readonly #greeted = new WeakSet<Presented>();
  readonly #greetings = new WeakMap<Presented, Promise<void>>();

  constructor(options: {
    operators: readonly Operator[];
    dev: boolean;
    facts: FactSource;
    tenants: Tenants;
    verifyJwt: JwtVerifier;
    verifyAssertion: AssertionVerifier;
    chosen: ChosenSecrets;
    clock: Clock;
    /** Whether the tenant takes no tokens of the issuer any more. */
    isKilled?: (tenant: Tenant, issuer: string) => boolean;
    /** Whether nobody is let in by the credential any more. */
    isCredentialKilled?: (tenant: Tenant, credential: Credential) => boolean;
    /** How old what is known here may be. */
    freshness?: Freshness;
    onUse?: (tenant: Tenant, holder: Holder, now: number) => void;
    onRefusal?: RefusalListener;
  }) {
    this.#onRefusal = options.onRefusal ?? ((): void => undefined);
    this.#operators = new Map(
      options.operators.map((operator) => [`sha256:${operator.secretSha256}`, operator]),
    );
    this.#dev = options.dev;
    this.#facts = options.facts;
    this.#tenants = options.tenants;
    this.#verifyJwt = options.verifyJwt;
    this.#verifyAssertion = options.verifyAssertion;
    this.#chosen = options.chosen;
    this.#clock = options.clock;
    this.#isKilled = options.isKilled ?? ((): boolean => false);
    this.#isCredentialKilled = options.isCredentialKilled ?? ((): boolean => false);
    this.#freshness = options.freshness ?? ALWAYS_FRESH;
    this.#onUse = options.onUse ?? ((): void => undefined);
  }

  /**
   * Called before a request is read: whoever no tenant knows, of such not a byte is worth keeping. A JWT is verified,
   * as its word on who issued it is anybody's. Whoever passes is authenticated by `authenticate` all the same. Throws
   * or, for a JWT, rejects with `unauthenticated` or `unavailable`.
   */
  greet(presented: Presented): void | Promise<void> {
    if (this.#greeted.has(presented)) return;
    if (presented.kind === 'secret' && isJwt(presented.secret) && !this.#dev && !this.#mayBeChosen(presented))
      return this.#greetBearer(presented, presented.secret);
    if (!this.#isKnown(presented) && !this.#mayBeChosen(presented))
      throw presented.kind === 'none' ? nobody() : unknownCaller();
    this.#greeted.add(presented);
  }

  /** Many requests may come with one token before it is known; it is verified once. */
  #greetBearer(presented: Presented, token: string): Promise<void> {
    const under = this.#greetings.get(presented);
    if (under) return under;
    const greeting = this.#verifiedAnywhere(token)
      .then(() => void this.#greeted.add(presented))
      .finally(() => this.#greetings.delete(presented));
    this.#greetings.set(presented, greeting);
    return greeting;
  }

  /** By any tenant that trusts its issuer; tenants that trust it alike verify it once. */
  async #verifiedAnywhere(token: string): Promise<void> {
    const issuer = issuerOf(token);
    // One that has killed it speaks for itself alone.
    const trusting = this.#tenants.trusting(issuer).filter((tenant) => !this.#isKilled(tenant, issuer));
    const alike = Map.groupBy(trusting, (tenant) => JSON.stringify(tenant.issuers.get(issuer)));
    let refusal: unknown = unknownCaller();
    for (const tenants of alike.values()) {
      const [tenant] = tenants;
      if (!tenant) continue;
      try {
        await this.#verifyJwt(tenant, token, tenants);
        return;
      } catch (error) {
        refusal = error;
      }
    }
    throw refusal;
  }

  isOperator(presented: Presented): boolean {
    return presented.kind === 'secret' && this.#operators.has(digestOf(presented));
  }

  /** A secret that somebody chose is looked at where its tenant is known. */
  #mayBeChosen(presented: Presented): boolean {
    if (presented.kind !== 'secret' || presented.clientId === undefined) return false;
    return this.#tenants.knowCredential(chosenBy(presented.clientId));
  }

  #isKnown(presented: Presented): boolean {
    if (presented.kind === 'none') return this.#dev && presented.loopback;
    if (presented.kind === 'certificate') return this.#tenants.knowCredential(presented.name);
    // Known by its signature alone.
    if (presented.kind === 'assertion') return false;
    // Under --dev everybody on this machine may go on, with or without a credential.
    if (isJwt(presented.secret)) return this.#dev;
    const digest = digestOf(presented);
    return this.#tenants.knowCredential(digest) || this.#operators.has(digest);
  }

  /** Throws (or, for a JWT, rejects with) `unauthenticated`, `permission_denied`, `state_stale` or `unavailable`. */
  authenticate(tenant: Tenant, presented: Presented, operation: Operation): Caller | Promise<Caller> {
    try {
      const caller = this.#authenticated(tenant, presented, operation);
      if (!(caller instanceof Promise)) return caller;
      return caller.catch((error: unknown) => this.#refused(tenant, presented, operation, error));
    } catch (error) {
      return this.#refused(tenant, presented, operation, error);
    }
  }

  /**
   * Who that is and for how long nothing but a change could make it another answer, in milliseconds; undefined where it is
   * not known at a look, or not permitted. Nobody hears of a refusal: it is no request yet.
   */
  known(tenant: Tenant, presented: Presented, operation: Operation): Known | undefined {
    if (presented.kind === 'assertion' || this.#isChosen(tenant, presented)) return undefined;
    if (presented.kind === 'secret' && isJwt(presented.secret)) return undefined;
    try {
      const caller = this.#permitted(tenant, this.#identify(tenant, presented), operation);
      const ends = caller.credential ? goodFor(caller.credential, this.#clock()) : Number.POSITIVE_INFINITY;
      // Where a stale state refuses all, it is asked for each request again by then.
      const { leftMs } = tenant.manifest.when_stale === 'refuse_all' ? this.#freshness : ALWAYS_FRESH;
      return { caller, forMs: Math.min(ends, leftMs) };
    } catch (error) {
      if (error instanceof ServiceError) return undefined;
      throw error;
    }
  }

  /** Tells of it, and throws it. */
  #refused(tenant: Tenant, presented: Presented, operation: Operation, error: unknown): never {
    const { code = '', callerId: caller = '' } = (error ?? {}) as { code?: string; callerId?: string };
    const isKnown = code !== 'unauthenticated' || (!this.#mayBeChosen(presented) && this.#isKnown(presented));
    const claimed = isKnown ? '' : claimedIn(tenant, presented);
    // What no tenant knows is anybody's, and is in nobody's log; unless it is a guess at somebody's.
    if (refusals.has(code) && (isKnown || claimed !== '')) {
      const fingerprint = isKnown ? fingerprintOf(presented) : '';
      this.#onRefusal({ tenant, presented, caller, fingerprint, claimed, operation, code });
    }
    throw error;
  }

  #authenticated(tenant: Tenant, presented: Presented, operation: Operation): Caller | Promise<Caller> {
    const looked = this.#lookedAt(tenant, presented);
    if (looked)
      return looked.then((caller) => this.#permitted(tenant, this.#lasting(tenant, caller), operation));
    return this.#permitted(tenant, this.#identify(tenant, presented), operation);
  }

  /** What takes its time to be known by; undefined for what is looked up. */
  #lookedAt(tenant: Tenant, presented: Presented): Promise<Caller> | undefined {
    if (presented.kind === 'assertion')
      return this.#byAssertion(tenant, presented.assertion, presented.clientId);
    if (this.#isChosen(tenant, presented)) return this.#byChosen(tenant, presented);
    if (presented.kind === 'secret' && isJwt(presented.secret))
      return this.#byJwt(tenant, presented.secret, presented.clientId);
    return undefined;
  }

  /** What a caller was known by may have been taken away meanwhile, or its tenant have gone. */
  #lasting(tenant: Tenant, caller: Caller): Caller {
    const { principal, registered, credential } = caller;
    const now = this.#tenants.find(tenant.id);
    if (principal && !isDeepStrictEqual(now?.declared.get(principalKey(principal)), registered))
      throw unknownCaller();
    if (credential && this.#isCredentialKilled(tenant, credential)) throw unknownCaller();
    return caller;
  }

  /**
   * The tenant as it is now, for a caller that was known before something was waited for: whoever asks decides how long a
   * body takes to come. Throws `tenant_unknown`, `unauthenticated`, `permission_denied` or `principal_disabled`.
   */
  again(tenant: Tenant, caller: Caller, operation: Operation): Tenant {
    const now = this.#tenants.get(tenant.id);
    this.#permitted(now, this.#lasting(now, caller), operation);
    return now;
  }

  /** Which of the tenants the presented credential may do this in; for calls that name no tenant. */
  async visible(tenants: Iterable<Tenant>, presented: Presented, operation: Operation): Promise<Tenant[]> {
    const seen: Tenant[] = [];
    let refusal: unknown;
    for (const tenant of tenants) {
      try {
        // To be refused by one of them is nothing to tell of.
        await this.#authenticated(tenant, presented, operation);
        seen.push(tenant);
      } catch (error) {
        refusal = error;
      }
    }
    if (seen.length === 0 && refusal) throw refusal;
    return seen;
  }

  #identify(tenant: Tenant, presented: Presented): Caller {
    if (presented.kind === 'none') {
      if (this.#dev && presented.loopback) return devCaller;
      throw nobody();
    }
    if (presented.kind === 'certificate') return this.#callerOf(tenant, this.#holder(tenant, presented.name));
    if (presented.kind === 'assertion') throw unknownCaller();
    // Looked up by digest: what the time of the look-up tells is about the digest, not about the secret.
    const digest = digestOf(presented);
    const holder = this.#holder(tenant, digest);
    if (holder) {
      if (presented.clientId !== undefined && presented.clientId !== holder.principal.id)
        throw unknownCaller();
      return this.#callerOf(tenant, holder);
    }
    const operator = this.#operators.get(digest);
    if (operator && (operator.tenants.includes('*') || operator.tenants.includes(tenant.id)))
      return {
        id: `operator:${operator.id}`,
        principal: undefined,
        may: new Set(operator.may.filter((each) => each !== 'tenant.put')),
        audiences: 'stated',
      };
    throw unknownCaller();
  }

  /** The operator who may put and retire a tenant of this id, or the development caller. Throws `unauthenticated`, `permission_denied`. */
  putter(id: string, presented: Presented): string {
    if (presented.kind === 'none' && this.#dev && presented.loopback) return devCaller.id;
    const operator = presented.kind === 'secret' ? this.#operators.get(digestOf(presented)) : undefined;
    if (!operator) throw presented.kind === 'none' ? nobody() : unknownCaller();
    if (!(operator.tenants.includes('*') || operator.tenants.includes(id))) throw unknownCaller();
    if (operator.may.includes('tenant.put')) return `operator:${operator.id}`;
    throw new ServiceError('permission_denied', `operator:${operator.id} may not put tenants`);
  }

  /** Whose credential that is, while it is good; named as in `Tenant.credentials`. */
  holder(tenant: Tenant, key: string): ManifestPrincipal | undefined {
    return this.#holder(tenant, key)?.principal;
  }

  #holder(tenant: Tenant, key: string): Holder | undefined {
    const held = tenant.credentials.get(key);
    const now = this.#clock();
    if (!held || !isGood(held.credential, now) || this.#isCredentialKilled(tenant, held.credential))
      return undefined;
    this.#onUse(tenant, held, now);
    return held;
  }

  async #byJwt(tenant: Tenant, token: string, clientId: string | undefined): Promise<Caller> {
    const issuer = issuerOf(token);
    const trust = tenant.issuers.get(issuer);
    const ref = await this.#verifyJwt(tenant, token);
    if (clientId !== undefined && clientId !== ref.id) throw unknownCaller();
    if (!isDeepStrictEqual(this.#tenants.find(tenant.id)?.issuers.get(issuer), trust)) throw unknownCaller();
    const principal = tenant.declared.get(principalKey(ref));
    if (!principal) throw unknownCaller();
    const { credentials = [] } = ref;
    // One that was killed is not let in as another.
    const killed = credentials.find((each) => this.#isCredentialKilled(tenant, each));
    return this.#callerOf(tenant, { principal, credential: killed ?? credentials[0] });
  }

  /** One that nobody else's secret is; what is chosen may look like anything. */
  #isChosen(tenant: Tenant, presented: Presented): presented is ChosenPresented {
    return (
      presented.kind === 'secret' &&
      presented.clientId !== undefined &&
      this.#chosen.has(tenant, presented.clientId) &&
      tenant.credentials.get(digestOf(presented)) === undefined
    );
  }

  async #byChosen(tenant: Tenant, { clientId, secret, address = '' }: ChosenPresented): Promise<Caller> {
    const holder = await this.#chosen.verify(tenant, clientId, secret, address);
    if (!holder) throw unknownCaller();
    const now = this.#clock();
    if (!isGood(holder.credential, now)) throw unknownCaller();
    this.#onUse(tenant, holder, now);
    return this.#callerOf(tenant, holder);
  }

  async #byAssertion(tenant: Tenant, assertion: string, clientId: string | undefined): Promise<Caller> {
    const holder = await this.#verifyAssertion(tenant, assertion, clientId);
    this.#onUse(tenant, holder, this.#clock());
    return this.#callerOf(tenant, holder);
  }

  #callerOf(tenant: Tenant, held: Named | undefined): Caller {
    if (!held) throw unknownCaller();
    const { principal, credential } = held;
    if (credential && this.#isCredentialKilled(tenant, credential)) throw unknownCaller();
    const known = this.#known.get(credential ?? principal);
    if (known) return known;
    const { class: cls, id } = principal;
    const caller: Caller = {
      id: `${cls}:${id}`,
      principal: { class: cls, id },
      registered: principal,
      credential,
      may: new Set(principal.may ?? operationsOf[cls]),
      audiences: audiencesOf(principal),
    };
    this.#known.set(credential ?? principal, caller);
    return caller;
  }

  /**
   * A disabled principal may do nothing. Its exchanges are refused by the platform's guardrails instead of here, where
   * the refusal is recorded with the subject it wanted to act for.
   */
  #permitted(tenant: Tenant, caller: Caller, operation: Operation): Caller {
    if (operation === 'check') checkServed(tenant, this.#freshness);
    if (!caller.may.has(operation))
      throw new Refused('permission_denied', `${caller.id} may not ${operation} in this tenant`, caller.id);
    if (
      caller.principal &&
      operation !== 'exchange' &&
      this.#facts.of(tenant, caller.principal).status !== 'active'
    )
      throw new Refused('principal_disabled', `${caller.id} is disabled`, caller.id);
    return caller;
  }
}

/** Who is known, and by which credential. An issuer's word on who somebody is needs none. */
interface Named {
  readonly principal: ManifestPrincipal;
  readonly credential: Credential | undefined;
}

const refusals: ReadonlySet<string> = new Set(['unauthenticated', 'permission_denied', 'principal_disabled']);

/** Somebody who is known. */
class Refused extends ServiceError {
  readonly callerId: string;

  constructor(code: 'permission_denied' | 'principal_disabled', message: string, callerId: string) {
    super(code, message);
    this.callerId = callerId;
  }
}

/** Who of the tenant a client says it is, if there is such a one and it has a credential. */
function claimedIn(tenant: Tenant, presented: Presented): string {
  const id = 'clientId' in presented ? presented.clientId : undefined;
  if (id === undefined) return '';
  const names = principalClasses.map((cls) => principalKey({ class: cls, id }));
  return names.find((name) => (tenant.declared.get(name)?.credentials.length ?? 0) > 0) ?? '';
}

const FINGERPRINT_CHARACTERS = 'sha256:'.length + 16;

/** By which one that comes again is known again, and nobody can be let in. */
function fingerprintOf(presented: Presented): string {
  if (presented.kind === 'none') return '';
  if (presented.kind === 'certificate') return presented.name;
  if (presented.kind === 'assertion')
    return `sha256:${hash('sha256', presented.assertion, 'hex')}`.slice(0, FINGERPRINT_CHARACTERS);
  return digestOf(presented).slice(0, FINGERPRINT_CHARACTERS);
}

const digests = new WeakMap<Presented, string>();

/** As tenants keep it; once for a credential that a connection presents again and again. */
function digestOf(presented: Presented & { kind: 'secret' }): string {
  const known = digests.get(presented);
  if (known !== undefined) return known;
  const digest = `sha256:${hash('sha256', presented.secret, 'hex')}`;
  digests.set(presented, digest);
  return digest;
}

/** A secret of ours has no dots; a compact JWS has two. */
const isJwt = (secret: string): boolean => secret.includes('.') && secret.split('.', 4).length === 3;

/** The unverified `iss` of a JWT; empty if it cannot be read. */
function issuerOf(unverified: string): string {
  try {
    return readToken(unverified).issuer;
  } catch {
    return '';
  }
}

const nobody = (): ServiceError =>
  new ServiceError('unauthenticated', 'a caller authenticates with authorization: Bearer <credential>');
const unknownCaller = (): ServiceError =>
  new ServiceError('unauthenticated', 'the credential is not valid in this tenant');
