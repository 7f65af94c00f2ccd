import { create } from '@bufbuild/protobuf';
import type { ServiceImpl } from '@connectrpc/connect';
import type { Answer, Decisions } from '../../decision/decisions.ts';
import type { JsonObject, UncheckedRequest } from '../../decision/request.ts';
import { type ErrorCode, ServiceError } from '../../errors.ts';
import {
  HeaderValueOption_HeaderAppendAction as Append,
  type HeaderValueOption,
  HeaderValueOptionSchema,
} from '../../gen/envoy/config/core/v3/base_pb.ts';
import {
  type AttributeContext,
  type Authorization,
  type CheckResponse,
  CheckResponseSchema,
  type AttributeContext_HttpRequest as HttpRequest,
} from '../../gen/envoy/service/auth/v3/external_auth_pb.ts';
import type { Callers } from '../../tenancy/callers.ts';
import type { Tenant, Tenants } from '../../tenancy/tenants.ts';
import { admit } from './context.ts';
import { proto } from './messages.ts';

export interface ExtAuthzOptions {
  /**
   * The request header that names the tenant. Only for meshes whose edge sets or strips it: whoever can set it
   * chooses the tenant. `context_extensions.tenant` of Envoy's own configuration comes first.
   */
  readonly tenantHeader: string | undefined;
}

interface Parts {
  readonly tenants: Tenants;
  readonly callers: Callers;
  readonly decisions: Decisions;
  readonly extAuthz: ExtAuthzOptions;
}

/** Headers that carry credentials; they are no policy's business and in no record. */
const SECRET_HEADERS: ReadonlySet<string> = new Set([
  'authorization',
  'cookie',
  'proxy-authorization',
  'x-api-key',
]);

/** google.rpc.Code */
const OK = 0;
const PERMISSION_DENIED = 7;
const UNAUTHENTICATED = 16;

/**
 * Envoy's external authorization. The action is `http.<method>`, the resource the path; the subject is the bearer of
 * the request's token, else the workload of the SPIFFE id that Envoy verified.
 */
export function extAuthzService(parts: Parts): ServiceImpl<typeof Authorization> {
  return {
    async check(message, context) {
      const attributes = message.attributes;
      const http = attributes?.request?.http;
      if (!attributes || !http)
        throw new ServiceError('invalid_request', 'attributes.request.http is missing');
      const tenantId = tenantOf(parts.extAuthz, attributes, http);
      const { tenant, caller } = await admit(parts, context, tenantId, 'check');
      const request = requestOf(tenant, attributes, http);
      if (!request)
        return denied(
          401,
          UNAUTHENTICATED,
          [{ code: 'unauthenticated', message: 'no token, no known workload' }],
          [],
          undefined,
        );
      return responseOf(await parts.decisions.check(tenant, caller, request));
    },
  };
}

/** Envoy's configuration first, then the header, then the SPIFFE id: spiffe://domain/t/<tenant>/… */
function tenantOf(
  { tenantHeader }: ExtAuthzOptions,
  attributes: AttributeContext,
  http: HttpRequest,
): string {
  const configured = attributes.contextExtensions['tenant'];
  if (configured) return configured;
  const stated = tenantHeader === undefined ? undefined : http.headers[tenantHeader];
  if (stated) return stated;
  return /^spiffe:\/\/[^/]+\/t\/([^/]+)\//.exec(attributes.source?.principal ?? '')?.[1] ?? '';
}

function requestOf(
  tenant: Tenant,
  attributes: AttributeContext,
  http: HttpRequest,
): UncheckedRequest | undefined {
  const authorization = http.headers['authorization'];
  const token = authorization && /^bearer (\S+)$/i.exec(authorization)?.[1];
  const workload = tenant.credentials.get(attributes.source?.principal ?? '');
  // A request that came with a credential is judged by it: a token nobody can read does not become the workload's word.
  if (authorization && !token) return undefined;
  if (!token && !workload) return undefined;
  const [path = '/', query = ''] = http.path.split('?', 2);
  const { action, audience } = attributes.contextExtensions;
  return {
    token: token || undefined,
    subject: workload && !token ? { type: workload.class, id: workload.id } : undefined,
    audience,
    action: { name: action || `http.${http.method.toLowerCase()}`, properties: {} },
    resource: {
      type: 'http',
      id: path.slice(0, 1_024) || '/',
      properties: { host: http.host, method: http.method, path, query, scheme: http.scheme },
    },
    context: {
      headers: Object.fromEntries(Object.entries(http.headers).filter(([name]) => !SECRET_HEADERS.has(name))),
      source: attributes.source?.principal ?? '',
      destination: attributes.destination?.principal ?? '',
    },
  };
}

type Why = readonly { readonly code: string; readonly message: string }[];

/** Obligations of type `http` say what Envoy adds, removes or answers; see the README. */
function responseOf(answer: Answer): CheckResponse {
  const http = answer.obligations.filter(({ type }) => type === 'http');
  if (answer.outcome !== 'allow') {
    const code = UNAUTHORIZED.has(answer.reasons[0]?.code as ErrorCode) ? 401 : 403;
    return denied(
      code,
      code === 401 ? UNAUTHENTICATED : PERMISSION_DENIED,
      answer.reasons,
      http,
      answer.decisionId,
    );
  }
  return create(CheckResponseSchema, {
    status: { code: OK },
    httpResponse: {
      case: 'okResponse',
      value: {
        headers: http.flatMap(({ request_headers: headers }) => headerOptions(headers)),
        headersToRemove: http.flatMap(({ remove_headers: names }) =>
          Array.isArray(names) ? names.filter((each) => typeof each === 'string') : [],
        ),
        responseHeadersToAdd: http.flatMap(({ response_headers: headers }) => headerOptions(headers)),
      },
    },
    dynamicMetadata: metadata(answer.decisionId, http),
  });
}

/** Reasons that a better token would mend. */
const UNAUTHORIZED: ReadonlySet<ErrorCode> = new Set(['token_invalid', 'token_expired', 'token_revoked']);

function denied(
  status: number,
  code: number,
  reasons: Why,
  http: readonly JsonObject[],
  decisionId: string | undefined,
): CheckResponse {
  const body = http.find((each) => typeof each['body'] === 'string')?.['body'] as string | undefined;
  const own = http.find((each) => typeof each['status'] === 'number')?.['status'] as number | undefined;
  return create(CheckResponseSchema, {
    status: { code, message: reasons.map((reason) => reason.code).join(' ') },
    httpResponse: {
      case: 'deniedResponse',
      value: {
        status: { code: own !== undefined && own >= 400 && own < 600 ? own : status },
        headers: http.flatMap(({ response_headers: headers }) => headerOptions(headers)),
        body: body ?? JSON.stringify({ error: reasons[0]?.code ?? 'not_allowed', decision_id: decisionId }),
      },
    },
    ...(decisionId === undefined ? {} : { dynamicMetadata: metadata(decisionId, http) }),
  });
}

const metadata = (decisionId: string, http: readonly JsonObject[]) =>
  proto(
    Object.assign({ decision_id: decisionId }, ...http.map(({ metadata: more }) => more ?? {})) as JsonObject,
  );

function headerOptions(headers: unknown): HeaderValueOption[] {
  if (typeof headers !== 'object' || headers === null) return [];
  return Object.entries(headers).map(([key, value]) =>
    create(HeaderValueOptionSchema, {
      header: { key, value: String(value) },
      appendAction: Append.OVERWRITE_IF_EXISTS_OR_ADD,
    }),
  );
}
