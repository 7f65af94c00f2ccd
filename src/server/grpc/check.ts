import { isMetered } from '../../decision/metering/met.ts';
import type { Tokens } from '../../delegation/tokens.ts';
import { systemClock } from '../../effects.ts';
import { ServiceError } from '../../errors.ts';
import type { Caller, Presented } from '../../tenancy/callers.ts';
import type { Tenant } from '../../tenancy/tenants.ts';
import { batch, check, type DecisionParts, MAX_ITEMS } from '../connect/decision.ts';
import { toServiceError } from '../errors.ts';
import type { Offload } from '../offload/offload.ts';
import type { Kind } from '../offload/protocol.ts';
import { requestIn } from '../passing-on.ts';
import { type Peer, presentedBy } from '../peer.ts';
import type { HotMethod } from '../server.ts';
import { decodeBatch, decodeCheck, decodeStreamCheck } from './codec/request.ts';
import {
  encodeBatch,
  encodeCheck,
  encodeRaw,
  encodeStreamAnswer,
  encodeStreamError,
  encodeStreamRaw,
} from './codec/response.ts';
import { askedIn, isCounted, outlines } from './outlined.ts';
import type { UnaryHandler } from './unary.ts';

export interface HotParts extends DecisionParts {
  /** The decision threads, where there may be any. */
  readonly offload?: Offload | undefined;
  readonly tokens: Pick<Tokens, 'vouches'>;
}

/** Decides where the protocols are spoken. */
type Here = (
  presented: Presented,
  message: Uint8Array,
  until: number,
  authorization: string | undefined,
) => Promise<Uint8Array>;

/** The methods of DecisionService on the hot path: from bytes to bytes. */
export function hotMethods(parts: HotParts): Record<'Check' | 'CheckBatch' | 'CheckStream', HotMethod> {
  const opened =
    (kind: Kind, here: Here) =>
    (authorization: string | undefined, peer: Peer): UnaryHandler | Promise<UnaryHandler> => {
      const presented = presentedBy(authorization, peer);
      const decide = (message: Uint8Array, until: number) => here(presented, message, until, authorization);
      const handle: UnaryHandler = (message, until) =>
        onThread(parts, kind, presented, message, until, decide) ?? decide(message, until);
      const greeting = parts.callers.greet(presented);
      return greeting instanceof Promise ? greeting.then(() => handle) : handle;
    };
  return {
    Check: {
      kind: 'unary',
      name: 'mandate.v1.DecisionService/Check',
      open: opened('check', async (presented, message, until, authorization) => {
        const { tenant, request } = decodeCheck(message);
        if (parts.passingOn?.takes(tenant, request))
          return encodeRaw(await parts.passingOn.check(authorization, message, until));
        const elsewhere = parts.passingOn?.elsewhere(authorization, until);
        return encodeCheck(await check(parts, presented, tenant, request, elsewhere));
      }),
    },
    CheckBatch: {
      kind: 'unary',
      name: 'mandate.v1.DecisionService/CheckBatch',
      open: opened('batch', async (presented, message, until, authorization) => {
        const { passingOn } = parts;
        const asked = decodeBatch(message);
        if (passingOn?.takesBatch(asked.defaults))
          return encodeRaw(await passingOn.batch(authorization, message, until));
        const elsewhere = passingOn?.elsewhere(authorization, until);
        return encodeBatch(await batch(parts, presented, asked, () => systemClock() >= until, elsewhere));
      }),
    },
    CheckStream: {
      kind: 'duplex',
      name: 'mandate.v1.DecisionService/CheckStream',
      open: (authorization, peer) => {
        const answer = opened('stream', async (presented, message, until, credential) => {
          const { correlationId, asked } = decodeStreamCheck(message);
          if (!asked) throw new ServiceError('invalid_request', 'request is missing');
          if (parts.passingOn?.takes(asked.tenant, asked.request))
            return encodeStreamRaw(
              correlationId,
              await parts.passingOn.check(credential, requestIn(message), until),
            );
          const elsewhere = parts.passingOn?.elsewhere(credential, until);
          return encodeStreamAnswer(
            correlationId,
            await check(parts, presented, asked.tenant, asked.request, elsewhere),
          );
        })(authorization, peer);
        return answer instanceof Promise ? answer.then(forItself) : forItself(answer);
      },
      refuse: named,
    },
  };
}

/** What goes wrong with one question of a stream is its own answer. */
export const forItself =
  (answer: UnaryHandler): UnaryHandler =>
  async (message, until) => {
    try {
      return await answer(message, until);
    } catch (error) {
      return named(message, toServiceError(error, 'CheckStream'));
    }
  };

/** A message that cannot be read at all ends the stream: nobody would know whose answer it is. */
export const named = (message: Uint8Array, error: ServiceError): Uint8Array =>
  encodeStreamError(decodeStreamCheck(message).correlationId, error);

/**
 * Whether a thread can decide what it takes a look into the message to know: nothing in it is counted, which is done in one
 * place, and a token is one that was seen before.
 */
function isForThread(
  parts: HotParts,
  tenant: Tenant,
  kind: Kind,
  message: Uint8Array,
  token: boolean,
): boolean {
  if (!token && !isMetered(tenant.manifest)) return true;
  const whole = askedIn[kind](message);
  if (!whole) return false;
  if (isCounted(tenant, whole)) return false;
  if (!token) return true;
  const { by } = whole;
  if (by.token === undefined || by.proof !== undefined) return false;
  return parts.tokens.vouches(tenant, by.token, systemClock());
}

/** What a thread can decide, and for which tenant. */
interface ForThread {
  readonly tenant: Tenant;
  readonly items: number;
  readonly isVouched: boolean;
}

/**
 * Undefined for what is done here: there is no thread, it is cheaper so, it is about a token that is new or comes with an
 * approval, it is counted, or anything in it is unusual, and then it is refused here too.
 */
function forThread(parts: HotParts, kind: Kind, message: Uint8Array): ForThread | undefined {
  const { offload, tenants } = parts;
  if (!offload) return undefined;
  const outline = outlines[kind](message);
  const tenant = outline && tenants.find(outline.tenant);
  if (!tenant || outline.special || outline.items > MAX_ITEMS) return undefined;
  if (kind === 'check' && offload.leaves(tenant, message)) return undefined;
  if (!offload.serves(tenant)) return undefined;
  if (!isForThread(parts, tenant, kind, message, outline.token)) return undefined;
  return { tenant, items: outline.items, isVouched: outline.token };
}

/** Admits the caller and lets a decision thread do the rest; undefined for what is done `here`. Throws or rejects. */
function onThread(
  parts: HotParts,
  kind: Kind,
  presented: Presented,
  message: Uint8Array,
  until: number,
  here: (message: Uint8Array, until: number) => Promise<Uint8Array>,
): Promise<Uint8Array> | undefined {
  const { offload, callers } = parts;
  const found = forThread(parts, kind, message);
  if (!offload || !found) return undefined;
  const caller = callers.authenticate(found.tenant, presented, 'check');
  const asked = (known: Caller, { tenant, items, isVouched }: ForThread): Promise<Uint8Array> =>
    offload.ask(kind, tenant, known, message, { items, until, isVouched });
  if (!(caller instanceof Promise)) return asked(caller, found);
  // What was found may have changed meanwhile: the tenant, what it counts and seals, and what its tokens are worth.
  return caller.then((known) => {
    const now = forThread(parts, kind, message);
    return now ? asked(known, now) : here(message, until);
  });
}
