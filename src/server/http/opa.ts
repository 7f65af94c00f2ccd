import type { Tenant } from '../../tenancy/tenants.ts';
import { type DataParts, dataV0, dataV1, health } from './opa/data.ts';
import { compileV1, queryV1 } from './opa/query.ts';
import type { Route } from './router.ts';

/** OPA's data API, for clients that speak it already: they change their address, nothing else. */
export function opaRoutes(parts: DataParts & { readonly isServed: (tenant: Tenant) => boolean }): Route[] {
  const v1 = dataV1(parts);
  const query = queryV1(parts);
  return [
    { method: 'POST', path: '/t/{tenant}/v1/data/{path...}', handle: v1 },
    { method: 'GET', path: '/t/{tenant}/v1/data/{path...}', handle: v1 },
    { method: 'POST', path: '/t/{tenant}/v1/data', handle: v1 },
    { method: 'GET', path: '/t/{tenant}/v1/data', handle: v1 },
    { method: 'POST', path: '/t/{tenant}/v0/data/{path...}', handle: dataV0(parts) },
    { method: 'GET', path: '/t/{tenant}/health', handle: health(parts) },
    { method: 'POST', path: '/t/{tenant}/v1/query', handle: query },
    { method: 'GET', path: '/t/{tenant}/v1/query', handle: query },
    { method: 'POST', path: '/t/{tenant}/v1/compile', handle: compileV1(parts) },
  ];
}
