import type { DataQueries } from '../../decision/data.ts';
import type { Callers } from '../../tenancy/callers.ts';
import type { Tenants } from '../../tenancy/tenants.ts';
import { errorForms, toServiceError } from '../errors.ts';
import { presentedBy } from '../peer.ts';
import type { HttpHandler } from './exchange.ts';
import { readJson } from './json.ts';
import type { Route } from './router.ts';

/** OPA's data API, for clients that speak it already: they change their address, nothing else. */
export function opaRoutes(parts: { tenants: Tenants; callers: Callers; data: DataQueries }): Route[] {
  const handle: HttpHandler = async (request, { tenant: id = '', path = '' }) => {
    try {
      const began = performance.now();
      const tenant = parts.tenants.get(id);
      const caller = await parts.callers.authenticate(
        tenant,
        presentedBy(request.header('authorization'), request.peer),
        'check',
      );
      const body = request.method === 'POST' ? await readJson(request) : {};
      const { result, decisionId, cost } = await parts.data.evaluate(
        tenant,
        caller,
        path.replace(/\/$/, ''),
        body['input'],
      );
      const elapsed = Math.round((performance.now() - began) * 1e6);
      const metrics =
        request.url.searchParams.get('metrics') === 'true' || request.url.searchParams.has('instrument');
      return {
        status: 200,
        body: {
          decision_id: decisionId,
          ...(result === undefined ? {} : { result }),
          ...(metrics ? { metrics: { timer_server_handler_ns: elapsed, counter_mandate_fuel: cost } } : {}),
        },
      };
    } catch (error) {
      const known = toServiceError(error, `${request.method} ${request.url.pathname}`);
      return { status: errorForms[known.code].http, body: { code: known.code, message: known.message } };
    }
  };
  const path = '/t/{tenant}/v1/data/{path...}';
  return [
    { method: 'POST', path, handle },
    { method: 'GET', path, handle },
  ];
}
