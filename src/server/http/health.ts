import type { HttpResponse } from './exchange.ts';
import type { Route } from './router.ts';

/** Whether requests can be answered now; `problems` are for an operator. */
export type Readiness = () => { readonly ready: boolean; readonly problems: readonly string[] };

/** `/livez`: the process turns. `/readyz`: it can decide and record; `?verbose` says what is wrong. */
export function healthRoutes(readiness: Readiness): Route[] {
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
        const { ready, problems } = readiness();
        const lines = request.url.searchParams.has('verbose') ? problems : [];
        return plain(ready ? 200 : 503, [ready ? 'ready' : 'not ready', ...lines].join('\n'));
      },
    },
  ];
}
