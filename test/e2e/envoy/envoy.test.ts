import { execFile, spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Grpc } from '../grpc.ts';
import { exchangeFields, form, request } from '../requests.ts';
import { type Running, secrets, startServer } from '../server.ts';

/** Envoy's side of external authorization, built from go-control-plane's stubs: nothing of ours. */

const REGO = `package authz

allow if {
	input.action.name == "http.get"
	startswith(input.resource.id, "/docs/")
	input.resource.properties.host == "docs.acme.example"
}

obligations contains {
	"type": "http",
	"request_headers": {"x-acme-subject": input.subject.id},
	"remove_headers": ["x-internal"],
	"response_headers": {"x-served-by": "docs"},
	"metadata": {"project": "apollo"},
} if input.resource.type == "http"

obligations contains {"type": "http", "on": "deny", "status": 404, "body": "there is nothing here"} if {
	input.resource.id == "/docs/hidden"
}

challenge := {"type": "step_up", "acr_values": ["urn:acme:mfa"], "max_age": 300} if {
	input.resource.id == "/docs/vault"
}

deny contains "hidden" if input.resource.id == "/docs/hidden"
`;

const workload = 'spiffe://acme.example/t/acme/sa/nightly-index';

interface Answer {
  readonly error?: string;
  readonly status?: { readonly code?: number };
  readonly ok_response?: {
    readonly headers?: readonly { readonly header: { readonly key: string; readonly value: string } }[];
    readonly headers_to_remove?: readonly string[];
    readonly response_headers_to_add?: readonly { readonly header: { readonly key: string } }[];
  };
  readonly denied_response?: {
    readonly status: { readonly code: string };
    readonly headers?: readonly { readonly header: { readonly key: string; readonly value: string } }[];
    readonly body: string;
  };
  readonly dynamic_metadata?: Readonly<Record<string, unknown>>;
}

let folder: string;
let server: Running;

beforeAll(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), 'mandate-envoy-'));
  const build = ['build', '-o', path.join(folder, 'client'), '.'];
  await promisify(execFile)('go', build, { cwd: import.meta.dirname, timeout: 280_000 });
  server = await startServer({
    acme: (manifest) => {
      const job = manifest.principals.find((each) => each.class === 'job');
      if (job) job.credentials = [{ spiffe_id: workload }];
      for (const { ceiling } of manifest.principals) ceiling?.audiences?.push('docs-api');
    },
  });
  await writeFile(path.join(server.tenantFolder('acme'), 'authz', 'http.rego'), REGO);
  using operator = new Grpc(server.admin, secrets.operator);
  await operator.call('PolicyService', 'ReloadPolicy', { tenant: 'acme' });
}, 300_000);

afterAll(async () => {
  await server?.[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

async function ask(request: object, credential: string = secrets.api): Promise<Answer> {
  const child = spawn(path.join(folder, 'client'), [server.data.replace('http://', ''), credential]);
  child.stdin.end(`${JSON.stringify(request)}\n`);
  const chunks: Buffer[] = [];
  for await (const chunk of child.stdout) chunks.push(chunk as Buffer);
  return JSON.parse(Buffer.concat(chunks).toString()) as Answer;
}

const get = (where: string) => ({
  extensions: { tenant: 'acme' },
  principal: workload,
  method: 'GET',
  path: where,
  headers: {},
});

describe("Envoy's external authorization, asked through go-control-plane", () => {
  test('allows a workload by its SPIFFE id, with headers and metadata from obligations', async () => {
    const answer = await ask(get('/docs/roadmap?draft=1'));
    expect(answer.status?.code ?? 0).toBe(0);
    expect(answer.ok_response?.headers?.map(({ header }) => [header.key, header.value])).toEqual([
      ['x-acme-subject', 'nightly-index'],
    ]);
    expect(answer.ok_response?.headers_to_remove).toEqual(['x-internal']);
    expect(answer.ok_response?.response_headers_to_add?.[0]?.header.key).toBe('x-served-by');
    expect(answer.dynamic_metadata).toMatchObject({
      project: 'apollo',
      decision_id: expect.any(String),
      state_version: expect.any(Number),
    });
  });

  test('denies with the body and status that an obligation names', async () => {
    const answer = await ask(get('/docs/hidden'));
    expect(answer.status?.code).toBe(7);
    expect(answer.denied_response).toMatchObject({
      status: { code: 'NotFound' },
      body: 'there is nothing here',
    });
  });

  test('denies what no rule allows with 403 and the reason', async () => {
    const answer = await ask({ ...get('/docs/roadmap'), method: 'POST' });
    expect(answer.denied_response?.status.code).toBe('Forbidden');
    expect(JSON.parse(answer.denied_response?.body ?? '')).toMatchObject({ error: 'not_allowed' });
  });

  test('RFC 9470 3: a step-up is a 401 that says which sign-in would do, and the challenge whole', async () => {
    const { denied_response: denied } = await ask(get('/docs/vault'));
    expect(denied?.status.code).toBe('Unauthorized');
    expect(denied?.headers?.map(({ header }) => [header.key, header.value])).toEqual([
      [
        'www-authenticate',
        'Bearer error="insufficient_user_authentication", acr_values="urn:acme:mfa", max_age="300"',
      ],
    ]);
    expect(JSON.parse(denied?.body ?? '')).toMatchObject({
      challenge: { type: 'step_up', acr_values: ['urn:acme:mfa'], max_age: 300 },
    });
  });

  test('RFC 6750 3.1: a scope that is missing is a 403 that names it', async () => {
    const signedIn = await request<{ access_token: string }>(
      `${server.data}/t/acme/dev/token?user=alice&client=research-agent`,
      { method: 'POST' },
    );
    const fields = exchangeFields(signedIn.body.access_token, { audience: 'docs-api' });
    const client = { id: 'research-agent', secret: secrets.agent };
    const { body } = await form(server.data, 'token', fields, client);
    const { denied_response: denied } = await ask({
      ...get('/docs/roadmap'),
      extensions: { tenant: 'acme', action: 'document.suggest' },
      headers: { authorization: `Bearer ${body.access_token}` },
    });
    expect(denied?.status.code).toBe('Forbidden');
    expect(denied?.headers?.map(({ header }) => [header.key, header.value])).toEqual([
      ['www-authenticate', 'Bearer error="insufficient_scope", scope="docs.suggest"'],
    ]);
  });

  test('takes the tenant from the SPIFFE id where Envoy names none', async () => {
    expect((await ask({ ...get('/docs/roadmap'), extensions: {} })).ok_response).toBeDefined();
  });

  test('a request without token and workload is 401, one with a bad token too, whatever the workload', async () => {
    const stranger = await ask({ ...get('/docs/roadmap'), principal: '' });
    expect(stranger.denied_response?.status.code).toBe('Unauthorized');
    const forged = await ask({ ...get('/docs/roadmap'), headers: { authorization: 'Bearer a.b.c' } });
    expect(forged.denied_response?.status.code).toBe('Unauthorized');
    const basic = await ask({ ...get('/docs/roadmap'), headers: { authorization: 'Basic YTpi' } });
    expect(basic.denied_response?.status.code).toBe('Unauthorized');
  });

  describe('with encode_raw_headers', () => {
    const bytes = (text: string | Buffer): string => Buffer.from(text).toString('base64');
    const raw = (...headers: [string, string | Buffer][]) => ({
      ...get('/docs/roadmap'),
      raw: headers.map(([name, value]) => [bytes(name), bytes(value)]),
    });

    test('a workload is still the workload', async () => {
      expect((await ask(raw([':path', '/docs/roadmap'], ['x-request-id', 'r-1']))).ok_response).toBeDefined();
    });

    test('a credential is seen, and one that cannot be read is refused, whatever the workload may', async () => {
      const forged = 'Bearer a.b.c';
      for (const headers of [
        [['authorization', forged]],
        [['Authorization', forged]],
        [['AUTHORIZATION', 'Basic YTpi']],
        [['authorization', '']],
        [['authorization', Buffer.from([0x42, 0xff, 0xfe])]],
        [
          ['authorization', forged],
          ['authorization', forged],
        ],
      ] as [string, string | Buffer][][]) {
        const answer = await ask(raw(...headers));
        expect(answer.denied_response?.status.code, JSON.stringify(headers)).toBe('Unauthorized');
      }
    });

    test('a header that is not UTF-8 is no sound request', async () => {
      const answer = await ask(raw(['x-name', Buffer.from([0x61, 0xe9])]));
      expect(answer.denied_response?.status.code).toBe('BadRequest');
    });

    test('no header that carries a credential is in the record', async () => {
      const answer = await ask(raw(['Cookie', 'session=s3cr3t'], ['x-request-id', 'r-78']));
      using operator = new Grpc(server.admin, secrets.operator);
      const { records } = await operator.call<{ records: { body: Buffer }[] }>('AuditService', 'Query', {
        tenant: 'acme',
        decision_id: answer.dynamic_metadata?.['decision_id'],
        page_size: 1,
      });
      const body = records[0]?.body.toString() ?? '';
      expect(body).toContain('r-78');
      expect(body).not.toContain('s3cr3t');
    });
  });

  test('what is refused for want of a principal is in the record, with the id that Envoy is told', async () => {
    const stranger = await ask({ ...get('/docs/roadmap'), principal: '' });
    using operator = new Grpc(server.admin, secrets.operator);
    const { records } = await operator.call<{ records: { body: Buffer }[] }>('AuditService', 'Query', {
      tenant: 'acme',
      decision_id: stranger.dynamic_metadata?.['decision_id'],
      page_size: 1,
    });
    expect(JSON.parse(records[0]?.body.toString() ?? '')).toMatchObject({
      outcome: 'deny',
      state_version: stranger.dynamic_metadata?.['state_version'] ?? 'none',
      reasons: [{ code: 'unauthenticated' }],
      input: { resource: { type: 'http', id: '/docs/roadmap' } },
    });
  });

  test('a path is never cut: one that is too long is denied, a query keeps its question marks', async () => {
    const long = await ask(get(`/docs/${'x'.repeat(1_100)}/admin`));
    expect(long.denied_response?.status.code).toBe('BadRequest');
    expect(JSON.parse(long.denied_response?.body ?? '')).toMatchObject({ error: 'invalid_request' });
    const asked = await ask(get('/docs/roadmap?a=1?b=2'));
    using operator = new Grpc(server.admin, secrets.operator);
    const { records } = await operator.call<{ records: { body: Buffer }[] }>('AuditService', 'Query', {
      tenant: 'acme',
      decision_id: asked.dynamic_metadata?.['decision_id'],
      page_size: 1,
    });
    expect(JSON.parse(records[0]?.body.toString() ?? '')).toMatchObject({
      input: { resource: { properties: { path: '/docs/roadmap', query: 'a=1?b=2' } } },
    });
  });

  test('an unknown tenant and a wrong caller are errors, which Envoy takes for a deny', async () => {
    expect((await ask({ ...get('/docs/roadmap'), extensions: { tenant: 'nobody' } })).error).toContain(
      'tenant_unknown',
    );
    expect((await ask(get('/docs/roadmap'), 'wrong')).error).toContain('unauthenticated');
  });

  test('no header that carries a credential is in the record', async () => {
    await ask({ ...get('/docs/roadmap'), headers: { cookie: 'session=s3cr3t', 'x-request-id': 'r-77' } });
    using operator = new Grpc(server.admin, secrets.operator);
    const { records } = await operator.call<{ records: { body: Buffer }[] }>('AuditService', 'Query', {
      tenant: 'acme',
      page_size: 1,
    });
    const body = records[0]?.body.toString() ?? '';
    expect(body).toContain('r-77');
    expect(body).not.toContain('s3cr3t');
  });
});
