import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { exchangeFields, form, postJson, request } from '../e2e/requests.ts';
import { type Running, secrets, startServer } from '../e2e/server.ts';

/** deploy/envoy.yaml against the example tenant: what Envoy would ask by it, and what it is told. */

const file = path.resolve(import.meta.dirname, '../../deploy/envoy.yaml');

const FILTER = 'envoy.filters.http.ext_authz';

interface Route {
  readonly match: {
    readonly prefix: string;
    readonly headers?: readonly {
      readonly name: string;
      readonly string_match: { readonly exact: string };
    }[];
  };
  readonly typed_per_filter_config: {
    readonly [FILTER]: { readonly check_settings: { readonly context_extensions: Record<string, string> } };
  };
}

interface Manager {
  readonly route_config: { readonly virtual_hosts: readonly [{ readonly routes: readonly Route[] }] };
  readonly http_filters: readonly {
    readonly name: string;
    readonly typed_config: {
      readonly failure_mode_allow?: boolean;
      readonly grpc_service?: {
        readonly initial_metadata: readonly { readonly key: string; readonly value: string }[];
      };
    };
  }[];
}

interface Answer {
  readonly okResponse?: object;
  readonly deniedResponse?: { readonly status: { readonly code: number } };
}

let server: Running;
let manager: Manager;
let agent: string;

beforeAll(async () => {
  server = await startServer();
  manager = managerIn(await readFile(file, 'utf8'));
  agent = await exchanged('bob');
});
afterAll(() => server[Symbol.asyncDispose]());

/** As envsubst leaves it, with the credential that the file's first lines name. */
function managerIn(text: string): Manager {
  const credential = /MANDATE_CREDENTIAL=(\S+)/.exec(text)?.[1] ?? '';
  expect(credential).toBe(secrets.mcp);
  const config = parse(text.replaceAll('${MANDATE_CREDENTIAL}', credential)) as {
    static_resources: {
      listeners: [{ filter_chains: [{ filters: [{ typed_config: Manager }] }] }];
    };
  };
  return config.static_resources.listeners[0].filter_chains[0].filters[0].typed_config;
}

/** The token of the agent that acts for a user, as in the README's first steps. */
async function exchanged(user: string): Promise<string> {
  const signedIn = await request<{ access_token: string }>(
    `${server.data}/t/acme/dev/token?user=${user}&client=research-agent`,
    { method: 'POST' },
  );
  const client = { id: 'research-agent', secret: secrets.agent };
  const { body } = await form(server.data, 'token', exchangeFields(signedIn.body.access_token), client);
  return body.access_token;
}

const routeOf = (method: string, where: string): Route | undefined =>
  manager.route_config.virtual_hosts[0].routes.find(
    ({ match }) =>
      where.startsWith(match.prefix) &&
      (match.headers ?? []).every(
        ({ name, string_match: { exact } }) => name === ':method' && exact === method,
      ),
  );

const plainly = (token: string | undefined): object => ({
  headers: token === undefined ? {} : { authorization: `Bearer ${token}` },
});

async function asked(
  method: string,
  where: string,
  token: string | undefined,
  headersOf = plainly,
): Promise<Answer> {
  const filter = manager.http_filters.find(({ name }) => name === FILTER)?.typed_config;
  expect(filter?.failure_mode_allow).toBe(false);
  const metadata = Object.fromEntries(
    (filter?.grpc_service?.initial_metadata ?? []).map(({ key, value }) => [key, value]),
  );
  const settings = routeOf(method, where)?.typed_per_filter_config[FILTER].check_settings;
  const { status, body } = await postJson<Answer>(
    `${server.data}/envoy.service.auth.v3.Authorization/Check`,
    {
      attributes: {
        request: {
          http: { method, path: where, host: '127.0.0.1:8080', scheme: 'http', ...headersOf(token) },
        },
        contextExtensions: settings?.context_extensions,
      },
    },
    metadata['authorization'],
  );
  expect(status, JSON.stringify(body)).toBe(200);
  return body;
}

describe('deploy/envoy.yaml, in front of the example tenant', () => {
  test('lets the agent read the handbook for whoever may', async () => {
    expect((await asked('GET', '/handbook/holidays?year=2025', agent)).okResponse).toBeDefined();
  });

  test('sees the same token with encode_raw_headers', async () => {
    const raw = (token: string | undefined): object => ({
      headerMap: {
        headers: [{ key: 'Authorization', rawValue: Buffer.from(`Bearer ${token}`).toString('base64') }],
      },
    });
    expect((await asked('GET', '/handbook/holidays', agent, raw)).okResponse).toBeDefined();
    expect((await asked('GET', '/salaries', agent, raw)).deniedResponse?.status.code).toBe(403);
  });

  test.each([
    ['GET', '/salaries'],
    ['POST', '/handbook/holidays'],
    ['GET', '/handbook'],
  ])('refuses %s %s with 403', async (method, where) => {
    expect((await asked(method, where, agent)).deniedResponse?.status.code).toBe(403);
  });

  test('refuses without a token with 401', async () => {
    const { deniedResponse } = await asked('GET', '/handbook/holidays', undefined);
    expect(deniedResponse?.status.code).toBe(401);
  });
});
