import type { AccessRequests } from '../../../decision/approval/access-requests.ts';
import { callbackIn, taskStatuses } from '../../../decision/approval/callback.ts';
import type { NamedDenial } from '../../../decision/approval/denial.ts';
import { requestedAccess } from '../../../decision/approval/requested.ts';
import type { ApprovalRequests } from '../../../decision/approval/requests.ts';
import type { JsonObject } from '../../../decision/request.ts';
import { type ErrorCode, ServiceError } from '../../../errors.ts';
import type { ApprovalRow } from '../../../storage/approvals/rows.ts';
import type { Caller } from '../../../tenancy/callers.ts';
import type { Tenant } from '../../../tenancy/tenants.ts';
import { presentedBy } from '../../peer.ts';
import type { AuthzenParts } from '../authzen.ts';
import { errorResponse, type HttpHandler, type HttpRequest, type HttpResponse } from '../exchange.ts';
import { readJson } from '../json.ts';
import type { Route } from '../router.ts';
import { RETRY_SECONDS } from './answer.ts';
import { onlyMembers, part, requestOf, requestsAt, SUBJECT_TOKEN_HEADER } from './members.ts';

export interface RequestParts extends Pick<AuthzenParts, 'tenants' | 'callers' | 'throttle' | 'issuerOf'> {
  readonly accessRequests: AccessRequests;
  readonly approvalRequests: ApprovalRequests;
}

/** `items` and `client` are not taken: see docs/approvals.md. */
const MEMBERS = ['subject', 'action', 'resource', 'context', 'denial', 'callback', 'requested_access'];

/** OpenID AuthZEN Access Request and Approval Profile 1.0, draft 1, sections 5 and 6. */
export function accessRequestRoutes(parts: RequestParts): Route[] {
  const { accessRequests, approvalRequests, issuerOf } = parts;
  const told = ({ id }: Tenant, row: ApprovalRow, status?: number): HttpResponse =>
    taskResponse(row, requestsAt(issuerOf(id)), status);
  return [
    {
      method: 'POST',
      path: '/t/{tenant}/access/v1/requests',
      handle: admitted(parts, readJson, async ({ tenant, caller, request, body }) => {
        onlyMembers('the request', body, MEMBERS);
        const { reason, context } = withoutReason(part(body, 'context'));
        const token = request.header(SUBJECT_TOKEN_HEADER);
        const asked = { ...requestOf(tenant, { ...body, context }), token };
        const callback = callbackIn(tenant, part(body, 'callback'));
        const words = {
          reason,
          callback,
          requested: requestedAccess(part(body, 'requested_access'), reason),
          key: keyIn(request, body),
        };
        return told(tenant, await accessRequests.open(tenant, caller, asked, denialIn(body), words));
      }),
    },
    {
      method: 'GET',
      path: '/t/{tenant}/access/v1/requests/{id}',
      handle: admitted(parts, nothing, async ({ tenant, caller, id }) =>
        told(tenant, await approvalRequests.show(tenant, caller, id), 200),
      ),
    },
    {
      method: 'POST',
      path: '/t/{tenant}/access/v1/requests/{id}/cancel',
      handle: admitted(parts, commentIn, async ({ tenant, caller, body: note, id }) =>
        told(tenant, await approvalRequests.cancel(tenant, caller, id, note), 200),
      ),
    },
  ];
}

interface Admitted<Body> {
  readonly tenant: Tenant;
  readonly caller: Caller;
  readonly request: HttpRequest;
  readonly body: Body;
  /** Of the task, where the path has one. */
  readonly id: string;
}

const nothing = (): Promise<undefined> => Promise.resolve(undefined);

/** Admits the caller and reads the body; errors that the profile has a type for are in its form (RFC 9457). */
function admitted<Body>(
  { tenants, callers, throttle }: RequestParts,
  read: (request: HttpRequest) => Promise<Body>,
  answer: (asked: Admitted<Body>) => Promise<HttpResponse>,
): HttpHandler {
  return async (request, { tenant: tenantId = '', id = '' }) => {
    try {
      const tenant = tenants.get(tenantId);
      const presented = presentedBy(request.header('authorization'), request.peer);
      const caller = await callers.authenticate(tenant, presented, 'check');
      throttle(tenant);
      const body = await read(request);
      return await answer({ tenant: callers.again(tenant, caller, 'check'), caller, request, body, id });
    } catch (error) {
      const refused = errorResponse(error, `${request.method} ${request.url.pathname}`);
      return error instanceof ServiceError ? problemOf(error, refused) : refused;
    }
  };
}

/** Profile, section 10. */
const problems: Readonly<Partial<Record<ErrorCode, string>>> = {
  not_requestable: 'not_requestable',
  denial_expired: 'expired_denial',
  denial_unbound: 'invalid_denial_binding',
  not_found: 'unknown_task',
  approval_settled: 'invalid_task_state',
  duplicate_request: 'duplicate_request',
};

function problemOf({ code, message }: ServiceError, refused: HttpResponse): HttpResponse {
  const name = problems[code];
  if (name === undefined) return { ...refused, status: refused.status === 415 ? 400 : refused.status };
  const type = `urn:openid:authzen:access-request:error:${name}`;
  return {
    ...refused,
    headers: { ...refused.headers, 'content-type': 'application/problem+json' },
    body: JSON.stringify({ type, title: name, status: refused.status, detail: message, code }),
  };
}

function taskResponse(row: ApprovalRow, endpoint: string, status?: number): HttpResponse {
  const { id, state, settledAt, approvedUntil } = row;
  const at = `${endpoint}/${id}`;
  const isPending = state === 'pending';
  const isApproved = taskStatuses[state] === 'approved';
  return {
    // Section 5.2: what is settled already is told as made.
    status: status ?? (isPending ? 202 : 201),
    headers: {
      'cache-control': 'no-store',
      ...(status === undefined && { location: at }),
      ...(isPending && { 'retry-after': String(RETRY_SECONDS) }),
    },
    body: {
      task: {
        id,
        status: taskStatuses[state],
        status_endpoint: at,
        expires_at: new Date(approvedUntil ?? row.expiresAt).toISOString(),
        ...(isPending && { links: { cancel: `${at}/cancel` } }),
      },
      ...(isApproved && {
        result: {
          mode: 'reevaluate',
          approval: {
            id,
            approved_at: new Date(settledAt ?? 0).toISOString(),
            approved_until: new Date(approvedUntil ?? 0).toISOString(),
          },
        },
      }),
    },
  };
}

/** Of a key, as RFC 8941 writes a string: what is between the quotes. Many send it without them. */
const QUOTED = /^"((?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\]){1,255})"$/;
const BARE = /^[\w.:~+/=-]{1,255}$/;

/** draft-ietf-httpapi-idempotency-key-header section 2. Throws `invalid_request`. */
function keyIn(request: HttpRequest, body: JsonObject): { text: string; body: unknown } | undefined {
  const header = request.header('idempotency-key');
  if (header === undefined) return undefined;
  const quoted = QUOTED.exec(header)?.[1]?.replaceAll(/\\(.)/g, '$1');
  const text = quoted ?? (BARE.test(header) ? header : undefined);
  if (text !== undefined) return { text, body };
  throw new ServiceError(
    'invalid_request',
    'Idempotency-Key is a text in quotes of 1 to 255 characters, such as "7b8d0f0d-65a1-4af1-9fd3-a684f08a5d13"',
  );
}

/** The profile's place for the requester's words is a member of the context, which the evaluation did not have. */
const JUSTIFICATION = 'business_justification';

function withoutReason(context: JsonObject | undefined): { reason: string; context: JsonObject | undefined } {
  if (!context || !Object.hasOwn(context, JUSTIFICATION)) return { reason: '', context };
  const { [JUSTIFICATION]: reason, ...rest } = context;
  if (typeof reason !== 'string')
    throw new ServiceError('invalid_request', `context.${JUSTIFICATION} is a text`);
  return { reason, context: rest };
}

const DENIAL_MEMBERS = ['evaluation_id', 'expires_at', 'evaluated_at', 'reason', 'template'];

/** Throws `invalid_request` and `denial_unbound`. */
function denialIn(body: JsonObject): NamedDenial {
  const denial = part(body, 'denial');
  if (!denial)
    throw new ServiceError('denial_unbound', 'denial is missing: name the decision that denied it');
  onlyMembers('denial', denial, DENIAL_MEMBERS);
  const { evaluation_id: decisionId, expires_at: until } = denial;
  const expiresAt = typeof until === 'string' ? Date.parse(until) : Number.NaN;
  if (typeof decisionId !== 'string' || Number.isNaN(expiresAt))
    throw new ServiceError(
      'denial_unbound',
      'denial has an evaluation_id, and expires_at as the denial said it',
    );
  return { decisionId, expiresAt };
}

/** Of a cancellation, whose body may be left out (section 6.5). Throws `invalid_request`. */
async function commentIn(request: HttpRequest): Promise<string> {
  if (request.header('content-type') === undefined) {
    if ((await request.body()).length > 0)
      throw new ServiceError('invalid_request', 'the content type is application/json');
    return '';
  }
  const body = await readJson(request);
  onlyMembers('a cancellation', body, ['reason', 'comment']);
  const words = [body['reason'] ?? '', body['comment'] ?? ''];
  if (!words.every((each) => typeof each === 'string'))
    throw new ServiceError('invalid_request', 'reason and comment are texts');
  return words.filter((each) => each !== '').join(': ');
}
