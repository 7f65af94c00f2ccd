import http from 'node:http';
import { text } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { connect } from './requests.ts';
import { basic, bearer, editTenant, type Running, secrets, startServer } from './server.ts';

/** Whoever asks decides how long a body takes to come: what ends meanwhile has ended for it, too. */

let server: Running;
beforeEach(async () => {
  server = await startServer({
    acme: (manifest) => {
      manifest['entrypoints'] = ['authz/allow'];
    },
  });
});
afterEach(() => server[Symbol.asyncDispose]());

interface Asked {
  readonly path: string;
  readonly body: string;
  readonly headers: Record<string, string>;
}

const json = { authorization: bearer(secrets.api), 'content-type': 'application/json' };
const form = {
  authorization: basic('docs-api', secrets.api),
  'content-type': 'application/x-www-form-urlencoded',
};
const reads = {
  subject: { type: 'user', id: 'alice' },
  action: { name: 'document.read' },
  resource: { type: 'document', id: 'plan' },
};
const asks: Readonly<Record<string, Asked>> = {
  evaluation: { path: 'access/v1/evaluation', body: JSON.stringify(reads), headers: json },
  evaluations: {
    path: 'access/v1/evaluations',
    body: JSON.stringify({ evaluations: [reads] }),
    headers: json,
  },
  search: {
    path: 'access/v1/search/action',
    body: JSON.stringify({ ...reads, action: undefined }),
    headers: json,
  },
  'access request': { path: 'access/v1/requests', body: JSON.stringify(reads), headers: json },
  'data query': { path: 'v1/data/authz/allow', body: JSON.stringify({ input: reads }), headers: json },
  introspection: { path: 'oauth2/introspect', body: 'token=x', headers: form },
};

/** The end of the body is sent once that is done. */
async function slowly(
  { path, body, headers }: Asked,
  meanwhile: () => Promise<unknown>,
): Promise<{ status: number | undefined; body: string }> {
  const length = { 'content-length': String(Buffer.byteLength(body)) };
  const url = `${server.data}/t/acme/${path}`;
  const request = http.request(url, { method: 'POST', headers: { ...headers, ...length }, agent: false });
  const answer = new Promise<http.IncomingMessage>((resolve, reject) =>
    request.on('response', resolve).on('error', reject),
  );
  request.write(body.slice(0, 1));
  // Until it is known who asks.
  await delay(100);
  await meanwhile();
  request.end(body.slice(1));
  const response = await answer;
  return { status: response.statusCode, body: await text(response) };
}

const reload = () => connect(server.admin, 'PolicyService/ReloadPolicy', { tenant: 'acme' });

/** What comes of each of them, all begun before it and ended after. */
async function allAround(change: () => Promise<unknown>): Promise<Record<string, number | undefined>> {
  let changed: Promise<unknown> | undefined;
  const answers = Object.entries(asks).map(async ([name, asked]) => {
    const { status } = await slowly(asked, () => (changed ??= change()));
    return [name, status] as const;
  });
  return Object.fromEntries(await Promise.all(answers));
}

const each = (status: number): Record<string, number> =>
  Object.fromEntries(Object.keys(asks).map((name) => [name, status]));

describe('a body that comes late', () => {
  test('is answered, or refused for what it is', async () => {
    expect(await allAround(() => Promise.resolve())).toEqual({ ...each(200), 'access request': 400 });
  });

  test('is of nobody who was disabled meanwhile', async () => {
    const statuses = await allAround(() =>
      connect(server.admin, 'TenantService/SetPrincipalStatus', {
        tenant: 'acme',
        class: 'service',
        id: 'docs-api',
        status: 'PRINCIPAL_STATUS_DISABLED',
      }),
    );
    expect(statuses).toEqual(each(403));
  });

  test('is of nobody whose credential was taken away meanwhile', async () => {
    const statuses = await allAround(async () => {
      await editTenant(server.tenantFolder('acme'), ({ principals }) => {
        const api = principals.find(({ id }) => id === 'docs-api');
        if (api) api.credentials = [];
      });
      await reload();
    });
    expect(statuses).toEqual(each(401));
  });
});

test('what is sealed since it began is sealed in its record', async () => {
  const context = { patient: 'a name that nobody is to read' };
  const body = JSON.stringify({ ...reads, context });
  const answer = await slowly({ ...(asks['evaluation'] as Asked), body }, async () => {
    await editTenant(server.tenantFolder('acme'), (manifest) => {
      manifest['audit'] = { sealed: [{ path: '/context/patient' }] };
    });
    await reload();
  });
  expect(answer.status).toBe(200);
  const { body: log } = await connect<{ records: { body: string }[] }>(server.admin, 'AuditService/Query', {
    tenant: 'acme',
    kind: 'decision',
  });
  const records = log.records.map((each) => Buffer.from(each.body, 'base64').toString());
  expect(records).toHaveLength(1);
  expect(records.join()).not.toContain(context.patient);
});
