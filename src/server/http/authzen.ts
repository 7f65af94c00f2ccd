import type { BatchSemantic } from '../../decision/batch.ts';
import type { Answer, Decisions } from '../../decision/decisions.ts';
import type { Elsewhere } from '../../decision/elsewhere.ts';
import { checkRequest, type JsonObject, type UncheckedRequest } from '../../decision/request.ts';
import { ServiceError } from '../../errors.ts';
import { principalClasses } from '../../ids.ts';
import type { Caller, Callers } from '../../tenancy/callers.ts';
import type { Tenant, Tenants } from '../../tenancy/tenants.ts';
import type { PassingOn } from '../passing-on.ts';
import { presentedBy } from '../peer.ts';
import { evaluationBody, OBLIGATION_TYPES } from './authzen/answer.ts';
import {
  approvalIn,
  members,
  part,
  readers,
  requestOf,
  requestsAt,
  SUBJECT_TOKEN_HEADER,
} from './authzen/members.ts';
import { errorResponse, type HttpHandler } from './exchange.ts';
import { readJson } from './json.ts';
import type { Route } from './router.ts';

export interface AuthzenParts {
  readonly tenants: Tenants;
  readonly callers: Callers;
  readonly decisions: Decisions;
  readonly throttle: (tenant: Tenant) => void;
  readonly issuerOf: (tenant: string) => string;
  /** Of a sidecar. */
  readonly passingOn?: PassingOn | undefined;
}

const MAX_EVALUATIONS = 10_000;
const MAX_BATCH_BYTES = 4 * 1024 * 1024;

const semantics: readonly BatchSemantic[] = ['execute_all', 'deny_on_first_deny', 'permit_on_first_permit'];

/** AuthZEN Authorization API 1.0. A deny is a 200 with `decision: false`. */
export function authzenRoutes(parts: AuthzenParts): Route[] {
  const { tenants, decisions, issuerOf } = parts;
  const told = ({ id }: Tenant, answer: Answer): unknown => evaluationBody(answer, requestsAt(issuerOf(id)));
  const evaluate = async ({ tenant, caller, token, body, elsewhere }: Asked): Promise<unknown> => {
    const { approval, context } = approvalIn(part(body, 'context'));
    const asked = { ...requestOf(tenant, { ...body, context }), token, approval };
    return told(tenant, await evaluateOne(decisions, tenant, caller, asked, elsewhere));
  };
  return [
    { method: 'POST', path: '/t/{tenant}/access/v1/evaluation', handle: authzenHandler(parts, evaluate) },
    {
      method: 'POST',
      path: '/t/{tenant}/access/v1/evaluations',
      handle: authzenHandler(
        parts,
        async (asked) => {
          const requests = itemsOf(asked);
          if (requests.length === 0) return evaluate(asked);
          const { tenant, caller, body, elsewhere } = asked;
          const semantic = semanticOf(body);
          const answers = await decisions.checkBatch(tenant, caller, requests, semantic, { elsewhere });
          return { evaluations: answers.map((each) => told(tenant, each)) };
        },
        MAX_BATCH_BYTES,
      ),
    },
    {
      method: 'GET',
      path: '/.well-known/authzen-configuration/t/{tenant}',
      handle: async (_request, { tenant: id = '' }) => {
        const base = issuerOf(tenants.get(id).id);
        return {
          status: 200,
          body: {
            policy_decision_point: base,
            access_evaluation_endpoint: `${base}/access/v1/evaluation`,
            access_evaluations_endpoint: `${base}/access/v1/evaluations`,
            search_subject_endpoint: `${base}/access/v1/search/subject`,
            search_resource_endpoint: `${base}/access/v1/search/resource`,
            search_action_endpoint: `${base}/access/v1/search/action`,
            access_request_endpoint: requestsAt(base),
            capabilities: ['urn:openid:authzen:capability:access-request'],
            supported_obligations: OBLIGATION_TYPES,
          },
        };
      },
    },
  ];
}

/** What an AuthZEN endpoint is asked, by whom. */
export interface Asked {
  readonly tenant: Tenant;
  readonly caller: Caller;
  /** The token that the caller passes on, if any. */
  readonly token: string | undefined;
  readonly body: Record<string, unknown>;
  /** Who decides what a sidecar cannot. */
  readonly elsewhere: Elsewhere | undefined;
}

/** Admits the caller and reads the body. */
export function authzenHandler(
  {
    tenants,
    callers,
    throttle,
    passingOn,
  }: Pick<AuthzenParts, 'tenants' | 'callers' | 'throttle' | 'passingOn'>,
  answer: (asked: Asked) => Promise<unknown>,
  maxBytes?: number,
): HttpHandler {
  return async (request, { tenant: id = '' }) => {
    try {
      const tenant = tenants.get(id);
      const authorization = request.header('authorization');
      const caller = await callers.authenticate(tenant, presentedBy(authorization, request.peer), 'check');
      // Before the body: what would be refused is not read.
      throttle(tenant);
      const body = await readJson(request, maxBytes);
      const token = request.header(SUBJECT_TOKEN_HEADER);
      const elsewhere = passingOn?.elsewhere(authorization);
      const asked = { tenant: callers.again(tenant, caller, 'check'), caller, token, body, elsewhere };
      return { status: 200, body: await answer(asked) };
    } catch (error) {
      const refused = errorResponse(error, `POST ${request.url.pathname}`);
      // AuthZEN 1.0 knows one status for a request that is not one: 400.
      return { ...refused, status: refused.status === 415 ? 400 : refused.status };
    }
  };
}

/** A subject of a type that no class is called by is a deny like any other: what is asked for is well put. */
function evaluateOne(
  decisions: Decisions,
  tenant: Tenant,
  caller: Caller,
  request: UncheckedRequest,
  elsewhere: Elsewhere | undefined,
): Promise<Answer> {
  const isKnown = principalClasses.some((each) => each === request.subject?.type);
  const fault = isKnown ? undefined : faultOf(tenant, request);
  if (fault?.code === 'principal_class_unknown') return decisions.refuse(tenant, caller, request, fault);
  return decisions.check(tenant, caller, request, elsewhere);
}

function faultOf({ manifest }: Tenant, request: UncheckedRequest): ServiceError | undefined {
  try {
    checkRequest(request, manifest);
    return undefined;
  } catch (error) {
    if (error instanceof ServiceError) return error;
    throw error;
  }
}

/**
 * Each evaluation with the defaults of the body: a member of its own replaces the default whole. One that is not of the
 * form of an evaluation is a deny of its own; defaults that are not are a mistake of the whole.
 */
function itemsOf({ tenant, body, token }: Asked): UncheckedRequest[] {
  const { evaluations } = body;
  if (evaluations === undefined) return [];
  if (!Array.isArray(evaluations)) throw new ServiceError('invalid_request', 'evaluations is not an array');
  if (evaluations.length > MAX_EVALUATIONS)
    throw new ServiceError('invalid_request', `at most ${MAX_EVALUATIONS} evaluations`);
  const defaults = requestOf(tenant, body);
  return evaluations.map((item: unknown) => {
    if (typeof item !== 'object' || item === null || Array.isArray(item))
      return { fault: 'an evaluation is not an object' };
    const own = item as JsonObject;
    const request: { -readonly [name in keyof UncheckedRequest]: UncheckedRequest[name] } = {
      ...defaults,
      // An item that names its own subject is not about the bearer of the token.
      token: Object.hasOwn(own, 'subject') && own['subject'] !== body['subject'] ? undefined : token,
    };
    for (const member of members) {
      if (!Object.hasOwn(own, member)) continue;
      try {
        Object.assign(request, { [member]: readers[member](tenant, own) });
      } catch (error) {
        if (!(error instanceof ServiceError)) throw error;
        Object.assign(request, { [member]: undefined });
        request.fault ??= error.message;
      }
    }
    return request;
  });
}

function semanticOf(body: JsonObject): BatchSemantic {
  const asked = part(body, 'options')?.['evaluations_semantic'];
  if (asked === undefined) return 'execute_all';
  const known = semantics.find((each) => each === asked);
  if (!known)
    throw new ServiceError('invalid_request', `evaluations_semantic is one of ${semantics.join(', ')}`);
  return known;
}
