import { ServiceError } from '../errors.ts';
import type { PrincipalRef } from '../ids.ts';
import { type Claims, claimsIn, classOf, type StatedBy } from './stated.ts';

export type JsonObject = { readonly [name: string]: unknown };

/** What came beside a token that is bound, and with which request. All of a batch share one. */
export interface Proof {
  /** The header DPoP (RFC 9449); empty, as are the next two, where there is none. */
  readonly dpop: string;
  readonly method: string;
  /** Absolute. */
  readonly uri: string;
  /** The caller's word on whose connection it came over: SHA-256 of its certificate, base64url (RFC 8705 section 3). */
  readonly x5tS256?: string | undefined;
}

/** A request as it came from some protocol: nothing in it is trusted. */
export interface UncheckedRequest {
  readonly subject?: { type: string; id: string; properties?: JsonObject | undefined } | undefined;
  readonly token?: string | undefined;
  readonly proof?: Proof | undefined;
  readonly action?: { name: string; properties?: JsonObject | undefined } | undefined;
  readonly resource?: { type: string; id: string; properties?: JsonObject | undefined } | undefined;
  readonly context?: JsonObject | undefined;
  readonly audience?: string | undefined;
  /** The id of an approval that is presented with it. */
  readonly approval?: string | undefined;
  /** The least version of the tenant's state that it is to be decided by. */
  readonly atLeast?: number | undefined;
  /** What its protocol found wrong with it while reading; the members that could be read are there. */
  readonly fault?: string | undefined;
}

/** A request whose parts are all there and of bounded size. */
export interface CheckRequest {
  readonly principal:
    | {
        readonly stated: PrincipalRef;
        readonly properties: JsonObject | undefined;
        /** Where the tenant takes the caller's word for who it is. */
        readonly claims?: Claims | undefined;
      }
    | { readonly token: string; readonly proof: Proof | undefined };
  readonly action: { readonly name: string; readonly properties?: JsonObject | undefined };
  readonly resource: {
    readonly type: string;
    readonly id: string;
    readonly properties?: JsonObject | undefined;
  };
  readonly context: JsonObject | undefined;
  readonly audience: string | undefined;
  readonly approval: string | undefined;
}

const MAX_NAME = 256;
const MAX_RESOURCE_ID = 1_024;
const MAX_TOKEN = 16_384;
const MAX_METHOD = 32;
const MAX_URI = 8_192;
/** How deep objects and arrays may nest in properties and context. */
export const MAX_DEPTH = 32;

/** Throws `invalid_request` or `principal_class_unknown`, naming the member that is wrong. */
export function checkRequest(request: UncheckedRequest, by: StatedBy): CheckRequest {
  const { subject, token, proof, action, resource, context, audience, approval, fault } = request;
  if (fault !== undefined) throw new ServiceError('invalid_request', fault);
  if (!action) throw missing('action');
  if (!resource) throw missing('resource');
  name('action.name', action.name, MAX_NAME);
  name('resource.type', resource.type, MAX_NAME);
  name('resource.id', resource.id, MAX_RESOURCE_ID);
  sound('action.properties', action.properties);
  sound('resource.properties', resource.properties);
  sound('context', context);
  // How the subject signed in is what its token says, and nobody else's word.
  if (token && context && Object.hasOwn(context, 'authentication'))
    throw new ServiceError('invalid_request', 'context.authentication comes from the token: leave it out');
  // Who approved what is Mandate's word alone, and a policy finds it elsewhere.
  if (context && Object.hasOwn(context, 'approval'))
    throw new ServiceError(
      'invalid_request',
      'context.approval is no member of the context: present an approval with one evaluation, in the way of its protocol',
    );
  if (audience) name('audience', audience, MAX_RESOURCE_ID);
  if (approval) name('approval', approval, MAX_NAME);
  return {
    principal: principalOf(subject, token, proof, by),
    action,
    resource,
    context,
    audience: audience || undefined,
    approval: approval || undefined,
  };
}

function principalOf(
  subject: UncheckedRequest['subject'],
  token: string | undefined,
  proof: Proof | undefined,
  by: StatedBy,
): CheckRequest['principal'] {
  if (token !== undefined && token !== '') {
    if (token.length > MAX_TOKEN)
      throw new ServiceError('invalid_request', `a token is at most ${MAX_TOKEN} bytes`);
    return { token, proof: proof && soundProof(proof) };
  }
  if (proof) throw new ServiceError('invalid_request', 'proof comes with a token');
  if (!subject) throw missing('subject');
  name('subject.type', subject.type, MAX_NAME);
  name('subject.id', subject.id, MAX_NAME);
  sound('subject.properties', subject.properties);
  const { id, properties } = subject;
  const cls = classOf(subject.type, by);
  return { stated: { class: cls, id }, properties, claims: claimsIn(cls, properties, by) };
}

/** As it is: by it a batch knows that it is the same. */
function soundProof(proof: Proof): Proof {
  const { x5tS256 } = proof;
  if (x5tS256) {
    if (!isThumbprint(x5tS256))
      throw new ServiceError('invalid_request', 'proof.x5t_s256 is no SHA-256 in base64url');
    if (proof.dpop === '' && proof.method === '' && proof.uri === '') return proof;
  }
  name('proof.dpop', proof.dpop, MAX_TOKEN);
  name('proof.method', proof.method, MAX_METHOD);
  name('proof.uri', proof.uri, MAX_URI);
  return proof;
}

const THUMBPRINT = /^[A-Za-z0-9_-]{43}$/;

/** As base64url has it: of the last character two bits are none of a hash's, and are zero. */
const isThumbprint = (text: string): boolean =>
  THUMBPRINT.test(text) && Buffer.from(text, 'base64url').toString('base64url') === text;

const missing = (member: string): ServiceError => new ServiceError('invalid_request', `${member} is missing`);

function name(member: string, value: unknown, max: number): void {
  if (typeof value !== 'string' || value === '') throw missing(member);
  if (value.length > max) throw new ServiceError('invalid_request', `${member} is longer than ${max}`);
}

function sound(member: string, value: JsonObject | undefined): void {
  if (value === undefined) return;
  const fault = faultIn(value, MAX_DEPTH);
  if (fault) throw new ServiceError('invalid_request', `${member} ${fault}`);
}

/** Stops at the bound, so that what is too deep is not walked to its end. */
function faultIn(value: object, left: number): string | undefined {
  if (left === 0) return `nests deeper than ${MAX_DEPTH}`;
  for (const item of Array.isArray(value) ? (value as unknown[]) : Object.values(value)) {
    // JSON has no such number; it would reach the policy as null.
    if (typeof item === 'number' && !Number.isFinite(item)) return 'holds a number that is not finite';
    if (typeof item !== 'object' || item === null) continue;
    const fault = faultIn(item, left - 1);
    if (fault) return fault;
  }
  return undefined;
}
