import type { DataQueries } from '../../decision/data.ts';
import { ServiceError } from '../../errors.ts';
import type { Callers } from '../../tenancy/callers.ts';
import type { Tenant, Tenants } from '../../tenancy/tenants.ts';
import { presentedBy } from '../peer.ts';
import { errorResponse, type HttpHandler, type HttpRequest } from './exchange.ts';
import { parseJson } from './json.ts';
import type { Route } from './router.ts';

/** OPA's data API, for clients that speak it already: they change their address, nothing else. */
export function opaRoutes(parts: {
  tenants: Tenants;
  callers: Callers;
  data: DataQueries;
  throttle: (tenant: Tenant) => void;
}): Route[] {
  const handle: HttpHandler = async (request, { tenant: id = '', path = '' }) => {
    try {
      const began = performance.now();
      const tenant = parts.tenants.get(id);
      const caller = await parts.callers.authenticate(
        tenant,
        presentedBy(request.header('authorization'), request.peer),
        'check',
      );
      parts.throttle(tenant);
      const { searchParams } = request.url;
      checkQuery(request.url.search);
      const input = request.method === 'POST' ? await posted(request) : inQuery(searchParams.get('input'));
      const { result, isDeclared, decisionId, cost } = await parts.data.evaluate(
        parts.callers.again(tenant, caller, 'check'),
        caller,
        path.replace(/\/$/, ''),
        input,
      );
      const elapsed = Math.round((performance.now() - began) * 1e6);
      const metrics = isAsked(searchParams.get('metrics')) || isAsked(searchParams.get('instrument'));
      const members = [
        `"decision_id":"${decisionId}"`,
        ...(result === undefined ? [] : [`"result":${result}`]),
        ...(isDeclared ? [] : [`"warning":${JSON.stringify(undeclared)}`]),
        ...(metrics
          ? [`"metrics":{"timer_server_handler_ns":${elapsed},"counter_mandate_fuel":${cost}}`]
          : []),
      ];
      // Text, as a result may hold numbers that no JavaScript value does.
      return {
        status: 200,
        headers: { 'content-type': 'application/json' },
        body: `{${members.join(',')}}`,
      };
    } catch (error) {
      const { body, ...refused } = errorResponse(error, `${request.method} ${request.url.pathname}`);
      const { error: code, error_description: message } = body as Record<string, string>;
      return { ...refused, body: { code, message } };
    }
  };
  const path = '/t/{tenant}/v1/data/{path...}';
  return [
    { method: 'POST', path, handle },
    { method: 'GET', path, handle },
  ];
}

/** OPA answers a path that is not there as one that is undefined; its own warnings have this form. */
const undeclared = {
  code: 'entrypoint_undeclared',
  message: 'tenant.yaml declares no such entry point (entrypoints), so it is undefined',
};

/** As OPA takes it: whatever its content type, gzipped or not; with an empty body or no member `input` there is none. */
async function posted(request: HttpRequest): Promise<unknown> {
  const body = await request.body();
  if (body.length === 0) return undefined;
  const value = parseJson(body);
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new ServiceError('invalid_request', 'the body is a JSON object');
  return (value as { input?: unknown }).input;
}

/** `URL` reads what is no UTF-8 as something that nobody wrote. */
function checkQuery(query: string): void {
  try {
    decodeURIComponent(query);
  } catch (cause) {
    throw new ServiceError('invalid_request', 'the query is not UTF-8, percent-encoded', { cause });
  }
}

const inQuery = (text: string | null): unknown => (text === null ? undefined : parseJson(Buffer.from(text)));

/** A parameter without a value is a yes too. */
const isAsked = (value: string | null): boolean => value !== null && value !== 'false';
