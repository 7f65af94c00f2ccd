import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import type { HandlerContext, ServiceImpl } from '@connectrpc/connect';
import type { BatchSemantic } from '../../decision/batch.ts';
import type { Answer, Decisions } from '../../decision/decisions.ts';
import type { Elsewhere } from '../../decision/elsewhere.ts';
import type { UncheckedRequest } from '../../decision/request.ts';
import { ServiceError } from '../../errors.ts';
import {
  type CheckBatchRequest,
  CheckBatchRequestSchema,
  type CheckBatchResponse,
  CheckBatchResponseSchema,
  type CheckRequest,
  CheckRequestSchema,
  type CheckResponse,
  CheckResponseSchema,
  type CheckStreamRequest,
  type CheckStreamResponse,
  CheckStreamResponseSchema,
  type DecisionService,
  BatchSemantic as Semantic,
} from '../../gen/mandate/v1/decision_pb.ts';
import type { Caller, Callers, Presented } from '../../tenancy/callers.ts';
import type { StateVersions } from '../../tenancy/state-versions.ts';
import type { Tenants } from '../../tenancy/tenants.ts';
import { toServiceError } from '../errors.ts';
import { Farewells } from '../intake/farewell.ts';
import type { PassingOn } from '../passing-on.ts';
import { credentialIn, elsewhereFor, presentedIn, untilOf } from './context.ts';
import { batchOf, batchResult, checkResponse, requestOf } from './messages.ts';
import { type PlanParts, planMethod } from './plan.ts';

export interface DecisionParts {
  readonly tenants: Tenants;
  readonly callers: Callers;
  readonly decisions: Decisions;
  readonly versions: Pick<StateVersions, 'atLeast'>;
  /** Of a sidecar. */
  readonly passingOn?: PassingOn | undefined;
}

/** Aborted when the server stops. */
type Stopping = { readonly stopping: AbortSignal };

export const MAX_ITEMS = 10_000;

const semantics: Readonly<Record<number, BatchSemantic>> = {
  [Semantic.UNSPECIFIED]: 'execute_all',
  [Semantic.EXECUTE_ALL]: 'execute_all',
  [Semantic.DENY_ON_FIRST_DENY]: 'deny_on_first_deny',
  [Semantic.PERMIT_ON_FIRST_PERMIT]: 'permit_on_first_permit',
};

/** Admits the caller and decides, whatever protocol it came by. Throws or rejects. */
export function check(
  parts: DecisionParts,
  presented: Presented,
  tenantId: string,
  request: UncheckedRequest,
  elsewhere?: Elsewhere,
): Promise<Answer> {
  const tenant = parts.tenants.get(tenantId);
  const caller = parts.callers.authenticate(tenant, presented, 'check');
  // Most callers are known without waiting, and a turn of the queue is not free.
  if (request.atLeast !== undefined)
    return checkAtLeast(parts, tenantId, caller, request, request.atLeast, elsewhere);
  if (!(caller instanceof Promise)) return parts.decisions.check(tenant, caller, request, elsewhere);
  return caller.then((known) =>
    parts.decisions.check(parts.tenants.get(tenantId), known, request, elsewhere),
  );
}

async function checkAtLeast(
  { tenants, callers, decisions, versions }: DecisionParts,
  tenantId: string,
  caller: Caller | Promise<Caller>,
  request: UncheckedRequest,
  version: number,
  elsewhere: Elsewhere | undefined,
): Promise<Answer> {
  const known = await caller;
  const before = tenants.get(tenantId);
  await versions.atLeast(before.no, version);
  // What was waited for may be about whoever asks.
  const tenant = callers.again(before, known, 'check');
  return decisions.check(tenant, known, request, elsewhere);
}

/** A CheckBatchRequest as the core takes it. */
export interface AskedBatch {
  readonly tenant: string;
  readonly defaults: UncheckedRequest;
  readonly items: readonly Pick<UncheckedRequest, 'subject' | 'action' | 'resource' | 'context'>[];
  /** A number of the enum BatchSemantic. */
  readonly semantic: number;
}

export async function batch(
  parts: DecisionParts,
  presented: Presented,
  asked: AskedBatch,
  isOver: () => boolean,
  elsewhere?: Elsewhere,
): Promise<readonly Answer[]> {
  const caller = await parts.callers.authenticate(parts.tenants.get(asked.tenant), presented, 'check');
  const { items, semantic } = batchOfItems(asked);
  return parts.decisions.checkBatch(parts.tenants.get(asked.tenant), caller, items, semantic, {
    isOver,
    elsewhere,
  });
}

/** The items with the batch's defaults. Throws `invalid_request`. */
export function batchOfItems({ defaults, items, semantic: number }: AskedBatch): {
  items: UncheckedRequest[];
  semantic: BatchSemantic;
} {
  if (items.length === 0 || items.length > MAX_ITEMS)
    throw new ServiceError('invalid_request', `items: 1 to ${MAX_ITEMS}`);
  const semantic = semantics[number];
  if (!semantic) throw new ServiceError('invalid_request', 'semantic is not one of BatchSemantic');
  const whole = items.map(
    (item): UncheckedRequest => ({
      // An item that names its own subject is not about the bearer of the batch's token.
      subject: item.subject ?? defaults.subject,
      token: item.subject ? undefined : defaults.token,
      proof: item.subject ? undefined : defaults.proof,
      action: item.action ?? defaults.action,
      resource: item.resource ?? defaults.resource,
      context: item.context ?? defaults.context,
      audience: defaults.audience,
    }),
  );
  return { items: whole, semantic };
}

async function answerTo(
  parts: DecisionParts,
  presented: Presented,
  message: CheckRequest,
  context: HandlerContext,
): Promise<CheckResponse> {
  const request = requestOf(message);
  if (!parts.passingOn?.takes(message.tenant, request))
    return checkResponse(
      await check(parts, presented, message.tenant, request, elsewhereFor(parts, context)),
    );
  const bytes = await parts.passingOn.check(
    credentialIn(context),
    toBinary(CheckRequestSchema, message),
    untilOf(context),
  );
  return fromBinary(CheckResponseSchema, bytes);
}

async function answerToBatch(
  parts: DecisionParts,
  message: CheckBatchRequest,
  context: HandlerContext,
): Promise<CheckBatchResponse> {
  const { passingOn } = parts;
  const asked = batchOf(message);
  if (passingOn?.takesBatch(asked.defaults)) {
    const bytes = toBinary(CheckBatchRequestSchema, message);
    const answer = await passingOn.batch(credentialIn(context), bytes, untilOf(context));
    return fromBinary(CheckBatchResponseSchema, answer);
  }
  const isOver = (): boolean => context.signal.aborted;
  const answers = await batch(parts, presentedIn(context), asked, isOver, elsewhereFor(parts, context));
  return create(CheckBatchResponseSchema, {
    results: answers.map(batchResult),
    policyRevision: answers[0]?.revision ?? '',
  });
}

async function answerOne(
  parts: DecisionParts,
  presented: Presented,
  { correlationId, request }: CheckStreamRequest,
  context: HandlerContext,
): Promise<CheckStreamResponse> {
  try {
    if (!request) throw new ServiceError('invalid_request', 'request is missing');
    const value = await answerTo(parts, presented, request, context);
    return create(CheckStreamResponseSchema, { correlationId, result: { case: 'response', value } });
  } catch (error) {
    return refused(correlationId, toServiceError(error, 'CheckStream'));
  }
}

function refused(
  correlationId: bigint,
  { code, message, retryAfterMs = 0 }: ServiceError,
): CheckStreamResponse {
  const value = { code, message, retryAfterMs };
  return create(CheckStreamResponseSchema, { correlationId, result: { case: 'error', value } });
}

/** DecisionService behind Connect: for JSON, gRPC-Web, compressed messages and HTTP/1.1. */
export function decisionService(
  parts: DecisionParts & PlanParts & Stopping,
): ServiceImpl<typeof DecisionService> {
  return {
    check: (message, context) => answerTo(parts, presentedIn(context), message, context),
    checkBatch: (message, context) => answerToBatch(parts, message, context),
    checkStream: (messages, context) => answers(parts, messages, context),
    ...planMethod(parts),
  };
}

/** How many messages of a stream are worked on, or have answers that wait to be read; reading waits beyond it. */
const MAX_OPEN = 256;

/** Answers as they come, also while the caller sends nothing more. */
async function* answers(
  parts: DecisionParts & Stopping,
  messages: AsyncIterable<CheckStreamRequest>,
  context: HandlerContext,
): AsyncGenerator<CheckStreamResponse> {
  const presented = presentedIn(context);
  const done: CheckStreamResponse[] = [];
  const state = { open: 0, isRead: false };
  let change = Promise.withResolvers<void>();
  const changed = (): void => {
    change.resolve();
    change = Promise.withResolvers();
  };
  let failure: { readonly error: unknown } | undefined;
  /** Nothing more is read; what was read is answered first. */
  const end = (error?: unknown): void => {
    if (error !== undefined) failure ??= { error };
    state.isRead = true;
    changed();
  };
  using farewells = new Farewells(parts.stopping, end);
  const read = async (): Promise<void> => {
    for await (const message of messages) {
      if (state.isRead) return;
      const late = farewells.heard();
      if (late) {
        done.push(refused(message.correlationId, late));
        changed();
      } else {
        state.open += 1;
        void answerOne(parts, presented, message, context).then((answer) => {
          state.open -= 1;
          done.push(answer);
          changed();
        });
      }
      while (state.open + done.length >= MAX_OPEN) await change.promise;
    }
  };
  void read().then(() => end(), end);
  while (!state.isRead || state.open > 0 || done.length > 0) {
    if (done.length === 0) await change.promise;
    yield* done.splice(0);
    changed();
  }
  if (failure) throw failure.error;
}
