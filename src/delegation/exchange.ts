import { ServiceError } from '../errors.ts';
import type { PrincipalRef } from '../ids.ts';
import { principalKey } from '../ids.ts';
import { actingIn, audiencesOf, type GrantRow, type Use } from '../storage/rows.ts';
import { narrowest } from '../storage/use.ts';
import type { Detail, DetailTypes } from '../tenancy/details.ts';
import type { Ceiling } from '../tenancy/manifest.ts';
import { narrowDetails } from './details.ts';
import { TASK_TYPE } from './tasks.ts';
import { TXN_TOKEN_TYPE } from './transactions/asked.ts';

/** No token lives longer than this. In seconds. */
export const MAX_LIFETIME_SECONDS = 300;

/** RFC 8693 section 3, as far as they are accepted. */
export const tokenTypes = {
  'urn:ietf:params:oauth:token-type:access_token': ['access_token'],
  'urn:ietf:params:oauth:token-type:id_token': ['id_token'],
  'urn:ietf:params:oauth:token-type:jwt': ['access_token', 'id_token'],
  /** No token at all, but a task of the agent's own that goes on. */
  [TASK_TYPE]: [],
  /** A transaction token of ours: what comes of it takes its place. */
  [TXN_TOKEN_TYPE]: [],
} as const satisfies Record<string, readonly ('access_token' | 'id_token')[]>;

export type TokenType = keyof typeof tokenTypes;
export const ACCESS_TOKEN_TYPE = 'urn:ietf:params:oauth:token-type:access_token' satisfies TokenType;

/** An identity assertion, of this authority or another: what a token is asked for with, and no token itself. */
export const ID_JAG_TYPE = 'urn:ietf:params:oauth:token-type:id-jag';

/** What a token of Mandate's is, by either name. */
export const issuedTokenTypes = [ACCESS_TOKEN_TYPE, 'urn:ietf:params:oauth:token-type:jwt'] as const;
export type IssuedTokenType = (typeof issuedTokenTypes)[number];

/** What the agent asks for. */
export interface ExchangeRequest {
  /** Names and resources of one principal. */
  readonly audiences: readonly string[];
  readonly scopes: readonly string[];
  /** Undefined: as much as it may be. */
  readonly use: Use | undefined;
  /** Who alone shall take on what is granted (RFC 8693 section 4.4). */
  readonly mayAct: PrincipalRef | undefined;
  /** Authorization details (RFC 9396), unchecked. */
  readonly details: readonly unknown[];
  /** 0: as long as it may be. */
  readonly lifetimeSeconds: number;
}

/** Everything the rule needs to know; all of it is verified. Times in milliseconds since the epoch. */
export interface ExchangeFacts {
  readonly request: ExchangeRequest;
  /** The one who will act: the authenticated client. */
  readonly actor: PrincipalRef;
  readonly ceiling: Ceiling | undefined;
  /** The ceilings of those who acted before, as they are now: each binds all that comes after it. */
  readonly chain: readonly (Ceiling | undefined)[];
  /** Every audience of the tenant, and who answers for it. */
  readonly audiences: Pick<ReadonlyMap<string, PrincipalRef>, 'get'>;
  /** The types of authorization details that the tenant declares. */
  readonly detailTypes: DetailTypes;
  readonly subject: PrincipalRef;
  readonly subjectScopes: ReadonlySet<string>;
  /** Who alone may act by the presented token, and by all that comes of it. */
  readonly mayAct: PrincipalRef | undefined;
  /** When the presented token ends. */
  readonly presentedUntil: number;
  /** The grant behind the presented token, if Mandate issued it. */
  readonly parent: GrantRow | undefined;
  /** What an identity assertion bounds, where one was presented. */
  readonly asserted: Pick<Asserted, 'scopes' | 'use' | 'details'> | undefined;
  /** Whether the parent is a task that goes on: what is granted anew is no step deeper. */
  readonly renews: boolean;
  /** Whether the actor is let into the task that is presented, by the agent that goes on with it. */
  readonly joins: boolean;
  readonly now: number;
}

/** What an identity assertion says beside whom it is of: no more than that is granted. */
export interface Asserted {
  /** Addresses of one server of the tenant's. */
  readonly resources: readonly string[];
  /** Undefined: it bounds none. */
  readonly scopes: readonly string[] | undefined;
  readonly use: Use;
  /** Undefined: it bounds none. */
  readonly details: readonly Detail[] | undefined;
  /** When the subject's session ends, and a task with it; in milliseconds since the epoch, infinity where nothing says it. */
  readonly sessionEnds: number;
}

/** What may be granted at most, before the tenant's policy has its say. */
export interface Narrowed {
  readonly scopes: readonly string[];
  readonly use: Use;
  readonly details: readonly Detail[];
  readonly audiences: readonly string[];
  readonly mayAct: PrincipalRef | undefined;
  readonly actors: readonly PrincipalRef[];
  readonly depth: number;
  readonly expiresAt: number;
}

/**
 * The exchange rule: a child is never wider, longer or deeper than its parent. Pure. Throws `exchange_denied`,
 * `invalid_target`, `invalid_scope`, `invalid_authorization_details` or `token_expired`.
 */
export function narrow(facts: ExchangeFacts): Narrowed {
  const { request, actor, parent, asserted, now } = facts;
  const ceiling = ceilingOf(facts);
  mayPresent(facts);
  const before = ceilingsBefore(facts);
  const audiences = targetsOf(facts, ceiling);
  const scopes = request.scopes.filter(
    (scope) =>
      facts.subjectScopes.has(scope) &&
      ceiling.scopes.includes(scope) &&
      before.every(({ scopes: open }) => open.includes(scope)) &&
      ((parent ?? asserted)?.scopes?.includes(scope) ?? true),
  );
  if (scopes.length === 0)
    throw new ServiceError(
      'invalid_scope',
      'none of the scopes is held by the subject and open to this agent',
    );
  const depth = (parent?.depth ?? 0) + (facts.renews ? 0 : 1);
  const deepest = Math.min(ceiling.max_depth, ...before.map(({ max_depth: each }) => each));
  if (depth > deepest)
    throw new ServiceError('exchange_denied', `the delegation would be deeper than ${deepest}`);
  const details = narrowDetails(facts.detailTypes, {
    asked: request.details,
    parent: (parent ?? asserted)?.details,
    ceilings: [ceiling, ...before].map(({ authorization_details: most }) => most),
  });
  return {
    scopes: [...new Set(scopes)],
    use: narrowest(
      request.use ?? 'act',
      (parent ?? asserted)?.use ?? 'act',
      ...[ceiling, ...before].map(({ use: most }) => most),
    ),
    details,
    audiences,
    mayAct: mayActOf(facts),
    actors: chain(actor, parent),
    depth,
    expiresAt: end(facts, ceiling, now),
  };
}

function ceilingOf({ actor, ceiling }: ExchangeFacts): Ceiling {
  if (!ceiling)
    throw new ServiceError(
      'exchange_denied',
      `${principalKey(actor)} has no ceiling: nothing may be delegated to it`,
    );
  return ceiling;
}

/** Somebody to whom nothing may be delegated any more ends what was delegated through it. */
const ceilingsBefore = ({ chain: ceilings }: ExchangeFacts): Ceiling[] =>
  ceilings.map((ceiling) => {
    if (!ceiling) throw new ServiceError('exchange_denied', 'nothing may be delegated to an actor before it');
    return ceiling;
  });

/**
 * Who may hand in a token that Mandate issued: the one its `may_act` names, or else the actor it was issued to and the one
 * it was issued for.
 */
function mayPresent({ actor, parent, renews, joins, audiences }: ExchangeFacts): void {
  // A task is nobody's to present but of the agent that goes on with it, which is seen to before.
  if (!parent || renews || joins) return;
  const targets = audiencesOf(parent).map((audience) => audiences.get(audience));
  const holders = parent.mayAct ? [parent.mayAct] : [actingIn(parent), ...targets];
  if (!holders.some((holder) => holder && principalKey(holder) === principalKey(actor)))
    throw new ServiceError('exchange_denied', 'the token was issued to somebody else');
}

/** RFC 8707 section 2, RFC 8693 section 2.1: several names are those of one server, or its token would be good at another. */
function targetsOf({ request, audiences }: ExchangeFacts, ceiling: Ceiling): readonly string[] {
  const targets = request.audiences.map((audience) => {
    const target = audiences.get(audience);
    // An audience that is not there and one that is not open to this agent answer alike.
    if (!target || !(ceiling.audiences.includes(audience) || ceiling.audiences.includes(target.id)))
      throw new ServiceError('invalid_target', 'the audience is unknown or not open to this agent');
    return principalKey(target);
  });
  if (new Set(targets).size > 1)
    throw new ServiceError('invalid_target', 'the audiences are of more than one server: a token is for one');
  return [...new Set(request.audiences)];
}

/** RFC 8693 section 4.4: who may act is said once, and stays said for all that comes of it. */
function mayActOf({ request, mayAct }: ExchangeFacts): PrincipalRef | undefined {
  if (mayAct && request.mayAct && principalKey(mayAct) !== principalKey(request.mayAct))
    throw new ServiceError('exchange_denied', 'the token says already who alone may act, and not the same');
  return mayAct ?? request.mayAct;
}

/** RFC 8693 section 4.1: the new actor outermost; none before it is ever dropped. */
function chain(actor: PrincipalRef, parent: GrantRow | undefined): readonly PrincipalRef[] {
  if (!parent) return [actor];
  const [current] = parent.actors;
  return current && principalKey(current) === principalKey(actor) ? parent.actors : [actor, ...parent.actors];
}

/** Whole seconds, as `exp` counts them: rounded down, so that a chain of exchanges gains nothing. */
function end({ request, presentedUntil, parent }: ExchangeFacts, ceiling: Ceiling, now: number): number {
  const asked = request.lifetimeSeconds || MAX_LIFETIME_SECONDS;
  const seconds = Math.min(asked, ceiling.max_lifetime_seconds, MAX_LIFETIME_SECONDS);
  const until = Math.min(now + seconds * 1000, presentedUntil, parent?.expiresAt ?? Number.POSITIVE_INFINITY);
  const expiresAt = Math.floor(until / 1000) * 1000;
  if (expiresAt <= now) throw new ServiceError('token_expired', 'the token has expired');
  return expiresAt;
}
