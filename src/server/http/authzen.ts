import type { BatchSemantic } from '../../decision/batch.ts';
import type { Answer, Decisions } from '../../decision/decisions.ts';
import type { JsonObject, UncheckedRequest } from '../../decision/request.ts';
import { ServiceError } from '../../errors.ts';
import type { Caller, Callers } from '../../tenancy/callers.ts';
import type { Tenant, Tenants } from '../../tenancy/tenants.ts';
import { presentedBy } from '../peer.ts';
import { errorResponse, type HttpHandler } from './exchange.ts';
import { readJson } from './json.ts';
import type { Route } from './router.ts';

/** The header in which an enforcement point passes on the token its own caller presented. */
export const SUBJECT_TOKEN_HEADER = 'mandate-subject-token';

export interface AuthzenParts {
  readonly tenants: Tenants;
  readonly callers: Callers;
  readonly decisions: Decisions;
  readonly throttle: (tenant: Tenant) => void;
  readonly issuerOf: (tenant: string) => string;
}

const MAX_EVALUATIONS = 10_000;
const MAX_BATCH_BYTES = 4 * 1024 * 1024;

const semantics: readonly BatchSemantic[] = ['execute_all', 'deny_on_first_deny', 'permit_on_first_permit'];

/** AuthZEN Authorization API 1.0. A deny is a 200 with `decision: false`. */
export function authzenRoutes(parts: AuthzenParts): Route[] {
  const { tenants, decisions, issuerOf } = parts;
  const evaluate = async ({ tenant, caller, token, body }: Asked): Promise<unknown> =>
    evaluationBody(await decisions.check(tenant, caller, { ...requestOf(body), token }));
  return [
    { method: 'POST', path: '/t/{tenant}/access/v1/evaluation', handle: authzenHandler(parts, evaluate) },
    {
      method: 'POST',
      path: '/t/{tenant}/access/v1/evaluations',
      handle: authzenHandler(
        parts,
        async (asked) => {
          const items = itemsOf(asked.body);
          if (items.length === 0) return evaluate(asked);
          const { tenant, caller, token } = asked;
          const requests = items.map((item) => ({
            ...requestOf(item),
            // An item that names its own subject is not about the bearer of the token.
            token:
              Object.hasOwn(item, 'subject') && item['subject'] !== asked.body['subject'] ? undefined : token,
          }));
          const answers = await decisions.checkBatch(tenant, caller, requests, semanticOf(asked.body));
          return { evaluations: answers.map(evaluationBody) };
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
}

/** Admits the caller and reads the body. */
export function authzenHandler(
  { tenants, callers, throttle }: Pick<AuthzenParts, 'tenants' | 'callers' | 'throttle'>,
  answer: (asked: Asked) => Promise<unknown>,
  maxBytes?: number,
): HttpHandler {
  return async (request, { tenant: id = '' }) => {
    try {
      const tenant = tenants.get(id);
      const caller = await callers.authenticate(
        tenant,
        presentedBy(request.header('authorization'), request.peer),
        'check',
      );
      // Before the body: what would be refused is not read.
      throttle(tenant);
      const body = await readJson(request, maxBytes);
      const token = request.header(SUBJECT_TOKEN_HEADER);
      return { status: 200, body: await answer({ tenant, caller, token, body }) };
    } catch (error) {
      const refused = errorResponse(error, `POST ${request.url.pathname}`);
      // AuthZEN 1.0 knows one status for a request that is not one: 400.
      return { ...refused, status: refused.status === 415 ? 400 : refused.status };
    }
  };
}

const evaluationBody = (answer: Answer) => ({
  decision: answer.outcome === 'allow',
  context: {
    outcome: answer.outcome,
    reasons: answer.reasons,
    obligations: answer.obligations,
    ...(answer.challenge ? { challenge: answer.challenge } : {}),
    decision_id: answer.decisionId,
    policy_revision: answer.revision,
    record_index: answer.recordIndex,
  },
});

/** Each evaluation with the defaults of the body: a member of its own replaces the default whole. */
function itemsOf(body: JsonObject): Record<string, unknown>[] {
  const { evaluations } = body;
  if (evaluations === undefined) return [];
  if (!Array.isArray(evaluations)) throw new ServiceError('invalid_request', 'evaluations is not an array');
  if (evaluations.length > MAX_EVALUATIONS)
    throw new ServiceError('invalid_request', `at most ${MAX_EVALUATIONS} evaluations`);
  const { subject, action, resource, context } = body;
  const defaults = Object.entries({ subject, action, resource, context }).filter(
    ([, value]) => value !== undefined,
  );
  return evaluations.map((item: unknown) => {
    if (typeof item !== 'object' || item === null || Array.isArray(item))
      throw new ServiceError('invalid_request', 'an evaluation is not an object');
    return { ...Object.fromEntries(defaults), ...item };
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

/** Takes the members of the information model; unknown ones are ignored, as the specification says. */
export function requestOf(body: Record<string, unknown>): UncheckedRequest {
  const subject = part(body, 'subject');
  const action = part(body, 'action');
  const resource = part(body, 'resource');
  return {
    subject: subject && {
      type: text(subject['type']),
      id: text(subject['id']),
      properties: part(subject, 'properties'),
    },
    action: action && { name: text(action['name']), properties: part(action, 'properties') },
    resource: resource && {
      type: text(resource['type']),
      id: text(resource['id']),
      properties: part(resource, 'properties'),
    },
    context: part(body, 'context'),
  };
}

export function part(body: JsonObject, member: string): Record<string, unknown> | undefined {
  const value = body[member];
  // A member that may be left out may be null as well.
  if (value === undefined || value === null) return undefined;
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new ServiceError('invalid_request', `${member} is not an object`);
  return value as Record<string, unknown>;
}

const text = (value: unknown): string => (typeof value === 'string' ? value : '');
