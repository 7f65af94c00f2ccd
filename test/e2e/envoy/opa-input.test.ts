import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { connect, postJson } from '../requests.ts';
import { bearer, eventually, type Running, secrets, startServer } from '../server.ts';

/** `ext_authz: {input: opa}`: a policy that was written for opa-envoy-plugin, but for its package. */

/** The policy of the plugin's documentation, and its answer as an object. */
const REGO = `package authz.envoy

import input.attributes.request.http as http_request

default allowed := false

allowed if {
	is_token_valid
	action_allowed
}

is_token_valid if {
	token.valid
	now := time.now_ns() / 1000000000
	token.payload.nbf <= now
	now < token.payload.exp
}

action_allowed if {
	http_request.method == "GET"
	token.payload.role == "guest"
	glob.match("/people/*", ["/"], http_request.path)
}

action_allowed if {
	http_request.method == "POST"
	token.payload.role == "admin"
	glob.match("/people", ["/"], http_request.path)
	lower(input.parsed_body.firstname) != base64url.decode(token.payload.sub)
}

token := {"valid": valid, "payload": payload} if {
	[_, encoded] := split(http_request.headers.authorization, " ")
	[valid, _, payload] := io.jwt.decode_verify(encoded, {"secret": "secret"})
}

allow := {"allowed": true, "headers": {"x-ext-auth-allow": "yes"}, "response_headers_to_add": {"x-by": "acme"}, "request_headers_to_remove": ["x-secret"], "dynamic_metadata": {"role": token.payload.role}} if {
	allowed
} else := "broken" if {
	input.parsed_path[0] == "broken"
} else := {"allowed": true, "http_status": 200, "headers": {"a": 1}} if {
	input.parsed_path[0] == "malformed"
} else := 1 + count(numbers.range(1, 100000000)) if {
	input.parsed_path[0] == "endless"
} else := {"allowed": false, "headers": {"x-why": "no"}, "body": "Unauthorized Request", "http_status": 301} if {
	input.parsed_path[0] != "undefined"
}
`;

let server: Running;
beforeAll(async () => {
  server = await startServer({
    overrides: { dev: false },
    acme: (manifest) => {
      manifest.entrypoints = ['authz/envoy/allow'];
      manifest.ext_authz = { input: 'opa', entrypoint: 'authz/envoy/allow' };
    },
    acmeFiles: { 'authz/envoy.rego': REGO },
  });
});
afterAll(() => server[Symbol.asyncDispose]());

interface Envoy {
  readonly status: { readonly code?: number; readonly message?: string };
  readonly okResponse?: {
    readonly headers?: readonly object[];
    readonly headersToRemove?: readonly string[];
    readonly responseHeadersToAdd?: readonly object[];
  };
  readonly deniedResponse?: {
    readonly status: { readonly code: unknown };
    readonly body: string;
    readonly headers?: object[];
  };
  readonly dynamicMetadata: {
    readonly decision_id: string;
    readonly state_version: number;
    readonly role?: string;
  };
}

/** Of the role, signed with "secret", as in the plugin's documentation. */
const tokenOf = async (role: string): Promise<string> => {
  const { SignJWT } = await import('jose');
  const jwt = new SignJWT({ role, sub: 'YWxpY2U', nbf: 1_514_851_139 }).setProtectedHeader({ alg: 'HS256' });
  return jwt.setExpirationTime('1h').sign(Buffer.from('secret'.padEnd(6)));
};

const ask = async (http: Record<string, unknown>, authorization = bearer(secrets.api)): Promise<Envoy> => {
  const attributes = { contextExtensions: { tenant: 'acme' }, request: { http } };
  const { body } = await postJson<Envoy>(
    `${server.data}/envoy.service.auth.v3.Authorization/Check`,
    { attributes },
    authorization,
  );
  return body;
};

const recordOf = async (id: string): Promise<string> => {
  const { body } = await connect<{ records: { body: string }[] }>(
    server.admin,
    'AuditService/Query',
    { tenant: 'acme', decisionId: id },
    bearer(secrets.operator),
  );
  return Buffer.from(body.records[0]?.body ?? '', 'base64').toString();
};

describe('a policy for opa-envoy-plugin', () => {
  test('is asked with that plugin’s input, and its answer is Envoy’s', async () => {
    const authorization = `Bearer ${await tokenOf('guest')}`;
    const answer = await ask({
      method: 'GET',
      path: '/people/1?a=b',
      headers: { authorization, 'x-a': '1' },
    });
    expect(answer).toMatchObject({
      status: {},
      okResponse: {
        headers: [{ header: { key: 'x-ext-auth-allow', value: 'yes' } }],
        headersToRemove: ['x-secret'],
        responseHeadersToAdd: [{ header: { key: 'x-by', value: 'acme' } }],
      },
      dynamicMetadata: { role: 'guest' },
    });
  });

  test('reads bodies, and denies with its own status and body', async () => {
    const authorization = `Bearer ${await tokenOf('admin')}`;
    const post = (body: object): Promise<Envoy> =>
      ask({
        method: 'POST',
        path: '/people',
        headers: { authorization, 'content-type': 'application/json' },
        body: JSON.stringify(body),
      });
    expect((await post({ firstname: 'bob' })).okResponse).toBeDefined();
    expect(await post({ firstname: 'Alice' })).toMatchObject({
      status: { code: 7 },
      deniedResponse: { body: 'Unauthorized Request', headers: [{ header: { key: 'x-why' } }] },
    });
  });

  test.each([
    ['undefined', '/undefined', 'policy_undefined'],
    ['of no form that the plugin takes', '/broken', 'policy_failed'],
    ['an allow with headers that are none', '/malformed', 'policy_failed'],
    ['without an end', '/endless', 'deadline_exceeded'],
  ])('what is %s is a deny that says so, and is recorded as one', async (_what, path, code) => {
    const answer = await ask({ method: 'GET', path, headers: {} });
    expect(answer).toMatchObject({ status: { code: 7, message: code } });
    expect(answer.okResponse).toBeUndefined();
    const record = await recordOf(answer.dynamicMetadata.decision_id);
    expect(record).toContain('"outcome":"deny"');
    expect(record).toContain(`"state_version":${answer.dynamicMetadata.state_version},`);
  });

  test('what cannot be read is a deny with 400, and is recorded', async () => {
    const answer = await ask({ method: 'GET', path: '/%zz', headers: {} });
    expect(answer.status).toEqual({ code: 3, message: 'invalid_request' });
    expect(await recordOf(answer.dynamicMetadata.decision_id)).toContain('http.get');
  });

  test('the record holds what was asked, without the credentials, and says so', async () => {
    const token = await tokenOf('guest');
    const headers = { authorization: `Bearer ${token}`, cookie: 'session=geheim', 'x-a': 'seen' };
    const { dynamicMetadata } = await ask({ method: 'GET', path: '/people/1', headers });
    const record = await recordOf(dynamicMetadata.decision_id);
    expect(record).toContain('seen');
    expect(record).toContain(`"state_version":${dynamicMetadata.state_version},`);
    expect(record).not.toContain(token);
    expect(record).not.toContain('geheim');
    expect(record).toContain('/input/data_input/attributes/request/http/headers/authorization');
  });

  test('is asked by the tenant’s own callers alone, and not once it was killed', async () => {
    const denied = await ask({ method: 'GET', path: '/people/1', headers: {} }, bearer('nobody'));
    expect(JSON.stringify(denied)).toContain('unauthenticated');
    const authorization = `Bearer ${await tokenOf('guest')}`;
    const people = { method: 'GET', path: '/people/1', headers: { authorization } };
    expect((await ask(people)).okResponse).toBeDefined();
    const kill = { tenant: 'acme', wholeTenant: true, reason: 'test' };
    const killed = await connect(server.admin, 'KillService/Kill', kill, bearer(secrets.operator));
    expect(killed.status).toBe(200);
    expect((await ask(people)).status).toEqual({ code: 7, message: 'tenant_killed' });
  });
});

test('the rule is authz.allow where the tenant names none: true allows, and nothing else does', async () => {
  await using own = await startServer({
    globex: (manifest) => {
      manifest.entrypoints = ['authz/allow'];
      manifest.ext_authz = { input: 'opa' };
    },
  });
  await writeFile(
    path.join(own.tenantFolder('globex'), 'policy.rego'),
    'package authz\n\nallow if input.attributes.request.http.headers["x-a"] == "1"\n',
  );
  const asked = async (value: string): Promise<number> => {
    const http = { method: 'GET', path: '/', headers: { 'x-a': value } };
    const attributes = { contextExtensions: { tenant: 'globex' }, request: { http } };
    const where = `${own.data}/envoy.service.auth.v3.Authorization/Check`;
    return (await postJson<Envoy>(where, { attributes })).body.status.code ?? 0;
  };
  await eventually(
    () => asked('1'),
    (code) => code === 0,
  );
  await eventually(
    () => asked('2'),
    (code) => code === 7,
  );
});

test('a rule that is no entry point of the tenant’s keeps its tenant.yaml from being taken', async () => {
  await expect(
    startServer({
      acme: (manifest) => {
        manifest.ext_authz = { input: 'opa', entrypoint: 'authz/other' };
      },
    }),
  ).rejects.toThrow('ext_authz: entrypoints has no authz/other');
});
