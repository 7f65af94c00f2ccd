import type { Decisions } from '../../decision/decisions.ts';
import type { JsonObject, UncheckedRequest } from '../../decision/request.ts';
import { ServiceError } from '../../errors.ts';
import type { Callers } from '../../tenancy/callers.ts';
import type { Tenants } from '../../tenancy/tenants.ts';
import { presentedBy } from '../peer.ts';
import type { HttpResponse } from './exchange.ts';
import { readJson } from './json.ts';
import type { Route } from './router.ts';

/** The header in which an enforcement point passes on the token its own caller presented. */
export const SUBJECT_TOKEN_HEADER = 'mandate-subject-token';

interface Parts {
  readonly tenants: Tenants;
  readonly callers: Callers;
  readonly decisions: Decisions;
  readonly issuerOf: (tenant: string) => string;
}

/** AuthZEN Authorization API 1.0. A deny is a 200 with `decision: false`. */
export function authzenRoutes({ tenants, callers, decisions, issuerOf }: Parts): Route[] {
  return [
    {
      method: 'POST',
      path: '/t/{tenant}/access/v1/evaluation',
      handle: async (request, { tenant: id = '' }) => {
        const tenant = tenants.get(id);
        const caller = callers.authenticate(
          tenant,
          presentedBy(request.header('authorization'), request.peer),
          'check',
        );
        const body = await readJson(request);
        const answer = await decisions.check(tenant, caller, {
          ...requestOf(body),
          token: request.header(SUBJECT_TOKEN_HEADER),
        });
        return echo(request.header('x-request-id'), {
          status: 200,
          body: {
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
          },
        });
      },
    },
    {
      method: 'GET',
      path: '/.well-known/authzen-configuration/t/{tenant}',
      handle: async (_request, { tenant: id = '' }) => {
        const base = issuerOf(tenants.get(id).id);
        return {
          status: 200,
          body: { policy_decision_point: base, access_evaluation_endpoint: `${base}/access/v1/evaluation` },
        };
      },
    },
  ];
}

/** AuthZEN 1.0: the caller's X-Request-ID comes back with the answer. */
const echo = (id: string | undefined, response: HttpResponse): HttpResponse =>
  id === undefined || id.length > 256 ? response : { ...response, headers: { 'x-request-id': id } };

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

function part(body: JsonObject, member: string): Record<string, unknown> | undefined {
  const value = body[member];
  if (value === undefined) return undefined;
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new ServiceError('invalid_request', `${member} is not an object`);
  return value as Record<string, unknown>;
}

const text = (value: unknown): string => (typeof value === 'string' ? value : '');
