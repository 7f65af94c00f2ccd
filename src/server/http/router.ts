import { ServiceError } from '../../errors.ts';
import { noTracing, type Tracing } from '../tracing.ts';
import type { Exchange } from '../transport/exchange.ts';
import {
  errorResponse,
  type HttpHandler,
  type HttpResponse,
  type Intake,
  readRequest,
  writeResponse,
} from './exchange.ts';

export interface Route {
  readonly method: 'GET' | 'POST';
  /** A path whose `{name}` segments are parameters, `{rest...}` at the end for what remains. */
  readonly path: string;
  readonly handle: HttpHandler;
}

interface Compiled extends Route {
  readonly pattern: RegExp;
}

/** The plain HTTP routes. A path that is known under another method is a 405, any other a 404. */
export class Router {
  readonly #routes: readonly Compiled[];

  constructor(routes: readonly Route[]) {
    this.#routes = routes.map((route) => ({ ...route, pattern: compile(route.path) }));
  }

  async serve(exchange: Exchange, intake: Intake, tracing: Tracing = noTracing): Promise<void> {
    writeResponse(exchange, await this.#answer(exchange, intake, tracing));
  }

  async #answer(exchange: Exchange, intake: Intake, tracing: Tracing): Promise<HttpResponse> {
    try {
      const request = readRequest(exchange, intake);
      const found = this.#find(request.method === 'HEAD' ? 'GET' : request.method, request.url.pathname);
      const { method, path, handle } = found.route;
      // By the route and not by the address, which callers make up.
      return await tracing(
        `${method} ${path}`,
        exchange.headers,
        () => handle(request, found.parameters),
        failureIn,
      );
    } catch (error) {
      const refused = errorResponse(error, `${exchange.method} ${exchange.url.split('?')[0]}`);
      if (!(error instanceof NotAllowed)) return refused;
      return { ...refused, headers: { ...refused.headers, allow: error.methods.join(', ') } };
    }
  }

  #find(method: string, path: string): { route: Route; parameters: Record<string, string> } {
    const methods = new Set<string>();
    for (const route of this.#routes) {
      const match = route.pattern.exec(path);
      if (!match) continue;
      if (route.method === method) return { route, parameters: match.groups ?? {} };
      methods.add(route.method);
    }
    if (methods.size > 0) throw new NotAllowed([...methods, ...(methods.has('GET') ? ['HEAD'] : [])]);
    throw new ServiceError('not_found', 'nothing is served here');
  }
}

/** RFC 9110 section 15.5.6: says in `Allow` what the path does take. */
class NotAllowed extends ServiceError {
  readonly methods: readonly string[];

  constructor(methods: readonly string[]) {
    super('method_not_allowed', `this path takes ${methods.join(', ')}`);
    this.methods = methods;
  }
}

function failureIn({ status, body }: HttpResponse): string | undefined {
  if (status < 400) return undefined;
  const { error, code } = (body ?? {}) as { error?: string; code?: string };
  return error ?? code ?? String(status);
}

function compile(path: string): RegExp {
  const pattern = path
    .replace(/[.]/g, '\\.')
    .replace(/\{(\w+)\\\.\\\.\\\.\}/g, '(?<$1>.+)')
    .replace(/\{(\w+)\}/g, '(?<$1>[^/]+)');
  return new RegExp(`^${pattern}$`);
}
