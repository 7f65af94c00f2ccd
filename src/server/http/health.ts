import type { HttpRequest, HttpResponse } from './exchange.ts';
import type { Route } from './router.ts';

/** Whether requests can be answered now, and what an operator should know. */
export interface Readiness {
  readonly ready: () => boolean;
  readonly problems: () => readonly string[];
  /** Those that name tenants. */
  readonly ofTenants: () => readonly string[];
}

/**
 * `/livez`: the process turns. `/readyz`: it can decide and record; `?verbose` says what is wrong. Tenants are named
 * only to whom `mayKnow` lets: anybody else hears how many have something wrong.
 */
export function healthRoutes(readiness: Readiness, mayKnow: (request: HttpRequest) => boolean): Route[] {
  const plain = (status: number, body: string): HttpResponse => ({
    status,
    headers: { 'content-type': 'text/plain; charset=utf-8' },
    body: `${body}\n`,
  });
  return [
    { method: 'GET', path: '/livez', handle: async () => plain(200, 'ok') },
    {
      method: 'GET',
      path: '/readyz',
      handle: async (request) => {
        const ready = readiness.ready();
        const verdict = ready ? 'ready' : 'not ready';
        const lines = request.url.searchParams.has('verbose')
          ? [...readiness.problems(), ...tenantLines(readiness.ofTenants(), mayKnow(request))]
          : [];
        return plain(ready ? 200 : 503, [verdict, ...lines].join('\n'));
      },
    },
  ];
}

function tenantLines(problems: readonly string[], named: boolean): readonly string[] {
  if (named || problems.length === 0) return problems;
  return [`tenants with problems: ${problems.length}; an operator sees which on the admin plane`];
}
