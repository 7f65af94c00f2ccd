import { create } from '@bufbuild/protobuf';
import type { ServiceImpl } from '@connectrpc/connect';
import type { DataQueries } from '../../decision/data.ts';
import type { Answer, Decisions } from '../../decision/decisions.ts';
import type { JsonObject, UncheckedRequest } from '../../decision/request.ts';
import { stepUpOf } from '../../delegation/refused.ts';
import { type ErrorCode, ServiceError } from '../../errors.ts';
import {
  HeaderValueOption_HeaderAppendAction as Append,
  type HeaderValueOption,
  HeaderValueOptionSchema,
} from '../../gen/envoy/config/core/v3/base_pb.ts';
import {
  type AttributeContext,
  type Authorization,
  type CheckRequest,
  type CheckResponse,
  CheckResponseSchema,
  type AttributeContext_HttpRequest as HttpRequest,
} from '../../gen/envoy/service/auth/v3/external_auth_pb.ts';
import type { Caller, Callers } from '../../tenancy/callers.ts';
import type { Tenant, Tenants } from '../../tenancy/tenants.ts';
import { challengeOf } from '../challenge.ts';
import type { PassingOn } from '../passing-on.ts';
import { admit, elsewhereFor } from './context.ts';
import { certificateOf } from './envoy-certificate.ts';
import { EnvoyHeaders } from './envoy-headers.ts';
import { proto } from './messages.ts';
import { opaEnvoyCheck } from './opa-envoy/check.ts';

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
  readonly data: DataQueries;
  readonly extAuthz: ExtAuthzOptions;
  /** Of a sidecar. */
  readonly passingOn?: PassingOn | undefined;
}

/** google.rpc.Code */
const OK = 0;
const INVALID_ARGUMENT = 3;
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
      const headers = new EnvoyHeaders(http);
      const tenantId = tenantOf(parts.extAuthz, attributes, headers);
      const { tenant, caller } = await admit(parts, context, tenantId, 'check');
      const { input, entrypoint } = tenant.manifest.ext_authz;
      if (input === 'opa') return opaChecked(parts, tenant, caller, entrypoint, message);
      const principal = principalOf(parts.callers, tenant, attributes, http, headers);
      const request = { ...requestOf(attributes, http, headers), ...principal };
      const fault = principal ? (headers.isText ? undefined : UNREADABLE) : NOBODY;
      if (fault) return responseOf(await parts.decisions.refuse(tenant, caller, request, fault));
      // A batch of one: what cannot be put to the policy, such as a path that is too long, is a deny like any other.
      const elsewhere = elsewhereFor(parts, context);
      const [answer] = await parts.decisions.checkBatch(tenant, caller, [request], 'execute_all', {
        elsewhere,
      });
      if (!answer) throw new ServiceError('internal', 'there is no answer');
      return responseOf(answer);
    },
  };
}

/** What cannot be read is denied and recorded, like any other request that is not sound. */
async function opaChecked(
  { data, decisions }: Parts,
  tenant: Tenant,
  caller: Caller,
  entryPoint: string,
  message: CheckRequest,
): Promise<CheckResponse> {
  try {
    return await opaEnvoyCheck(data, tenant, caller, entryPoint, message);
  } catch (error) {
    if (!(error instanceof ServiceError) || error.code !== 'invalid_request') throw error;
    const { method = '', path = '' } = message.attributes?.request?.http ?? {};
    const asked = {
      action: { name: `http.${method.toLowerCase()}` },
      resource: { type: 'http', id: path.split('?')[0] ?? '' },
    };
    return responseOf(await decisions.refuse(tenant, caller, asked, error));
  }
}

/** Envoy's configuration first, then the header, then the SPIFFE id: spiffe://domain/t/<tenant>/… */
function tenantOf(
  { tenantHeader }: ExtAuthzOptions,
  attributes: AttributeContext,
  headers: EnvoyHeaders,
): string {
  const configured = attributes.contextExtensions['tenant'];
  if (configured) return configured;
  const stated = tenantHeader === undefined ? undefined : headers.only(tenantHeader);
  if (stated) return stated;
  return /^spiffe:\/\/[^/]+\/t\/([^/]+)\//.exec(attributes.source?.principal ?? '')?.[1] ?? '';
}

const NOBODY = new ServiceError('unauthenticated', 'no token, no known workload');
const UNREADABLE = new ServiceError('invalid_request', 'a header is not UTF-8');

/** The bearer of the request's token, whoever proves to hold the key of one, or the workload that Envoy verified. */
function principalOf(
  callers: Callers,
  tenant: Tenant,
  attributes: AttributeContext,
  http: HttpRequest,
  headers: EnvoyHeaders,
): Pick<UncheckedRequest, 'token' | 'subject' | 'proof'> | undefined {
  const [, scheme, token] = /^(bearer|dpop) +(\S+)$/i.exec(headers.only('authorization') ?? '') ?? [];
  const dpop = headers.only('dpop');
  const x5tS256 = certificateOf(attributes, headers);
  if (token && scheme?.toLowerCase() === 'bearer')
    return { token, ...(x5tS256 !== undefined && { proof: { dpop: '', method: '', uri: '', x5tS256 } }) };
  if (token && dpop !== undefined)
    return { token, proof: { dpop, method: http.method, uri: addressOf(attributes, http), x5tS256 } };
  // A request that came with a credential is judged by it: a token nobody can read does not become the workload's word.
  if (headers.has('authorization')) return undefined;
  const source = attributes.source?.principal ?? '';
  const workload = source.startsWith('spiffe://') ? callers.holder(tenant, source) : undefined;
  return workload && { subject: { type: workload.class, id: workload.id } };
}

/**
 * Where the request went, as its client knows it: below an address that Envoy's configuration names. The host is whatever
 * the client wrote. Without it nothing is proven.
 */
function addressOf({ contextExtensions: { base } }: AttributeContext, { path }: HttpRequest): string {
  return base && path.startsWith('/') ? `${base.replace(/\/$/, '')}${path}` : '';
}

/** The path is never cut: a policy that allows by its beginning or its end would be told another one. */
function requestOf(attributes: AttributeContext, http: HttpRequest, headers: EnvoyHeaders): UncheckedRequest {
  const mark = http.path.indexOf('?');
  const [path, query] = mark < 0 ? [http.path, ''] : [http.path.slice(0, mark), http.path.slice(mark + 1)];
  const { action, audience } = attributes.contextExtensions;
  return {
    audience,
    action: { name: action || `http.${http.method.toLowerCase()}`, properties: {} },
    resource: {
      type: 'http',
      id: path || '/',
      properties: { host: http.host, method: http.method, path, query, scheme: http.scheme },
    },
    context: {
      headers: headers.shown,
      source: attributes.source?.principal ?? '',
      destination: attributes.destination?.principal ?? '',
    },
  };
}

/** Obligations of type `http` say what Envoy adds, removes or answers; see docs/services.md. */
function responseOf(answer: Answer): CheckResponse {
  const http = answer.obligations.filter(({ type }) => type === 'http');
  if (answer.outcome !== 'allow') {
    const isStepUp = stepUpOf(answer.challenge) !== undefined;
    // RFC 9470 section 3: another sign-in would help, as another token would.
    const why = isStepUp ? 'unauthenticated' : (answer.reasons[0]?.code ?? '');
    const [status, code] = denials.get(why) ?? [403, PERMISSION_DENIED];
    return denied(status, code, answer, http);
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
    dynamicMetadata: metadata(answer, http),
  });
}

/** HTTP's and gRPC's status where the reason says that a better token, or a sounder request, would help. */
const denials: ReadonlyMap<string, readonly [number, number]> = new Map<ErrorCode, readonly [number, number]>(
  [
    ['unauthenticated', [401, UNAUTHENTICATED]],
    ['token_invalid', [401, UNAUTHENTICATED]],
    ['token_expired', [401, UNAUTHENTICATED]],
    ['token_revoked', [401, UNAUTHENTICATED]],
    ['dpop_invalid', [401, UNAUTHENTICATED]],
    ['certificate_invalid', [401, UNAUTHENTICATED]],
    ['invalid_request', [400, INVALID_ARGUMENT]],
  ],
);

function denied(status: number, code: number, answer: Answer, http: readonly JsonObject[]): CheckResponse {
  const { reasons, challenge, decisionId } = answer;
  const body = http.find((each) => typeof each['body'] === 'string')?.['body'] as string | undefined;
  const own = http.find((each) => typeof each['status'] === 'number')?.['status'] as number | undefined;
  const authenticate = challengeOf(answer);
  return create(CheckResponseSchema, {
    status: { code, message: reasons.map((reason) => reason.code).join(' ') },
    httpResponse: {
      case: 'deniedResponse',
      value: {
        status: { code: own !== undefined && own >= 400 && own < 600 ? own : status },
        headers: [
          ...(authenticate === undefined ? [] : headerOptions({ 'www-authenticate': authenticate })),
          ...http.flatMap(({ response_headers: headers }) => headerOptions(headers)),
        ],
        body:
          body ??
          JSON.stringify({ error: reasons[0]?.code ?? 'not_allowed', challenge, decision_id: decisionId }),
      },
    },
    dynamicMetadata: metadata(answer, http),
  });
}

const metadata = ({ decisionId, stateVersion }: Answer, http: readonly JsonObject[]) =>
  proto(
    Object.assign(
      { decision_id: decisionId, state_version: stateVersion },
      ...http.map(({ metadata: more }) => more ?? {}),
    ) as JsonObject,
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
