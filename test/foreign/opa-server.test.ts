import { type ChildProcess, spawn } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { freePort } from '../../tools/fleet/ports.ts';
import { type Served, serve } from '../containment/tenants.ts';
import { bearer, eventually, sha256 } from '../e2e/server.ts';

/** OPA's own server and a tenant, with the same Rego and data, answer the same requests alike. */

const READER = 'an-opa-reader-test-secret-000000001';
const ASKER = 'an-opa-asker-test-secret-0000000001';

const REGO = `package authz

default allow := false

allow if input.user == "alice"

limits := {"reads": count(input.reads), "user": input.user}

kinds contains kind if some kind in ["b", "a"]

by_user[name] := age if some name, {"age": age} in data.authz.users

divided := 1 / input.by

two := 1 if input.a

two := 2 if input.b

exact := {"id": 9007199254740993, "price": 0.10, "large": 1e400}

list := ["zero", {"one": 1}]

twice(x) := x * 2

noted if {
	trace("a note")
	input.user == "alice"
}
`;

const DATA = {
  authz: { users: { alice: { age: 40 }, '7': { age: 7 } } },
  teams: { red: ['alice'], blue: [] },
};

let server: Served;
let opa: ChildProcess;
let folder: string;
let address: string;

beforeAll(async () => {
  const callers = [
    {
      class: 'service',
      id: 'reader',
      may: ['check', 'policy.read'],
      credentials: [{ secret_sha256: sha256(READER) }],
    },
    { class: 'service', id: 'asker', credentials: [{ secret_sha256: sha256(ASKER) }] },
  ];
  const manifest = { principals: callers, entrypoints: ['authz', 'teams'] };
  server = await serve([{ id: 'shop', manifest, rego: REGO, data: DATA }]);
  folder = await mkdtemp(path.join(tmpdir(), 'mandate-opa-server-'));
  await mkdir(path.join(folder, 'policy'));
  await writeFile(path.join(folder, 'policy', 'policy.rego'), REGO);
  await writeFile(path.join(folder, 'policy', 'data.json'), JSON.stringify(DATA));
  address = `127.0.0.1:${await freePort()}`;
  opa = spawn('bin/opa', ['run', '--server', '--addr', address, path.join(folder, 'policy')], {
    stdio: 'ignore',
  });
  await eventually(
    () =>
      fetch(`http://${address}/health`).then(
        ({ status }) => status,
        () => 0,
      ),
    (status) => status === 200,
  );
});
afterAll(async () => {
  opa.kill('SIGKILL');
  await rm(folder, { recursive: true, force: true });
  await server[Symbol.asyncDispose]();
});

interface Answer {
  readonly status: number;
  readonly text: string;
}

type Request = readonly [method: string, target: string, body?: unknown];

async function send(base: string, [method, target, body]: Request, secret = READER): Promise<Answer> {
  const answer = await fetch(`${base}/${target}`, {
    method,
    redirect: 'manual',
    headers: { authorization: bearer(secret) },
    ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
  });
  return { status: answer.status, text: await answer.text() };
}

const here = (request: Request, secret?: string): Promise<Answer> =>
  send(`${server.data}/t/shop`, request, secret);
const there = (request: Request): Promise<Answer> => send(`http://${address}`, request);

/** What no two servers have alike: each decision its id, times, and who made it. */
const alike = ({ status, text }: Answer): Answer => ({
  status,
  text: text
    .trim()
    .replace(/^\{\s*"decision_id":\s*"[^"]*",\s*"state_version":\s*\d+,?/, '{')
    .replace(/^\{\s*\}$/, '{}')
    .replace(/^\{\n +/, '{\n  '),
});

const alice = { input: { user: 'alice' } };
const bob = { input: { user: 'bob', reads: [1, 2] } };

const SAME: readonly Request[] = [
  ['POST', 'v1/data/authz/allow', alice],
  ['POST', 'v1/data/authz/allow', bob],
  ['POST', 'v1/data/authz/allow?pretty', bob],
  ['GET', 'v1/data/authz/allow'],
  ['GET', `v1/data/authz/allow?input=${encodeURIComponent('{"user":"alice"}')}`],
  // Packages: rules and data documents, those that are undefined left out.
  ['POST', 'v1/data/authz', alice],
  ['POST', 'v1/data/authz', bob],
  ['POST', 'v1/data/authz?pretty=true', bob],
  ['POST', 'v1/data/authz', { input: { by: 2, a: true } }],
  ['GET', 'v1/data/authz'],
  ['GET', 'v1/data/authz?metrics=false&provenance=false&instrument=no&explain=off'],
  // Below rules.
  ['POST', 'v1/data/authz/limits/reads', bob],
  ['GET', 'v1/data/authz/list/1/one'],
  ['GET', 'v1/data/authz/list/01'],
  ['GET', 'v1/data/authz/kinds'],
  ['GET', 'v1/data/authz/kinds/a'],
  ['GET', 'v1/data/authz/by_user'],
  ['GET', 'v1/data/authz/by_user/alice'],
  ['GET', 'v1/data/authz/by_user/7'],
  ['GET', 'v1/data/authz/users/alice'],
  ['GET', 'v1/data/authz/users/7'],
  ['GET', 'v1/data/authz/%61llow'],
  // Documents alone.
  ['GET', 'v1/data/teams'],
  ['GET', 'v1/data/teams?pretty=1'],
  ['GET', 'v1/data/teams?pretty'],
  ['GET', 'v1/data/teams/red/0'],
  ['GET', 'v1/data/teams/green'],
  // Undefined, and failing.
  ['POST', 'v1/data/authz/divided', { input: { by: 0 } }],
  ['POST', 'v1/data/authz/limits', { input: {} }],
  ['POST', 'v1/data/authz/exact', alice],
  ['POST', 'v1/data/authz/exact?pretty', alice],
  // No input, and another member.
  ['POST', 'v1/data/authz/allow', ''],
  ['POST', 'v1/data/authz/allow', {}],
  ['POST', 'v1/data/authz/allow', { other: 1 }],
  ['POST', 'v1/data/authz/allow', { input: null }],
  // The input as it is.
  ['POST', 'v0/data/authz/allow', { user: 'alice' }],
  ['POST', 'v0/data/authz/allow', {}],
  ['POST', 'v0/data/authz/allow', ''],
  ['POST', 'v0/data/authz?pretty=true', { user: 'alice' }],
  ['POST', 'v0/data/authz/kinds', 'null'],
  ['POST', 'v0/data/authz/divided', { by: 0 }],
  ['POST', 'v0/data/teams/red', {}],
  ['GET', 'health'],
  ['GET', 'health?bundles'],
  // Queries.
  ['POST', 'v1/query', { query: 'data.authz.limits[x] = y', input: bob.input }],
  ['POST', 'v1/query', { query: 'data.authz.allow', input: alice.input }],
  ['POST', 'v1/query', { query: 'data.authz.two', input: {} }],
  ['POST', 'v1/query', { query: 'x = {"b", "a"}; y := data.authz.exact.id' }],
  ['POST', 'v1/query', { query: 'data.authz.twice(2, x)' }],
  ['POST', 'v1/query?pretty', { query: 'data.teams[team][_] = "alice"' }],
  ['POST', 'v1/query', { query: 'false' }],
  ['GET', 'v1/query?q=1%20%3D%3D%201'],
  ['GET', 'v1/query?q=x%3Ddata.teams'],
  ['POST', 'v1/compile', { query: 'data.authz.allow == true', unknowns: ['input'] }],
  [
    'POST',
    'v1/compile',
    { query: 'data.authz.allow == true', input: alice.input, unknowns: ['input.other'] },
  ],
  [
    'POST',
    'v1/compile',
    { query: 'data.authz.limits.reads > 1', input: { user: 'bob' }, unknowns: ['input.reads'] },
  ],
  [
    'POST',
    'v1/compile',
    { query: 'input.team in object.keys(data.teams)', unknowns: ['data.teams'], input: { team: 'red' } },
  ],
  ['POST', 'v1/compile?pretty=true', { query: 'false' }],
  [
    'POST',
    'v1/compile',
    {
      query: 'data.authz.allow == true',
      unknowns: ['input'],
      options: { disableInlining: ['data.authz.allow'] },
    },
  ],
];

describe("OPA's server and a tenant answer the same", () => {
  test.each(
    SAME.map((request) => [`${request[0]} ${request[1]} ${JSON.stringify(request[2] ?? '')}`, request]),
  )('%s', async (_name, request) => {
    expect(alike(await here(request))).toEqual(alike(await there(request)));
  });
});

const NOTHING = /^\{"decision_id":"[^"]+","state_version":\d+\}$/;

/** Where they differ, and why: each is in docs/services.md. */
const OTHERWISE: readonly (readonly [
  why: string,
  request: Request,
  theirs: number,
  ours: number,
  of: RegExp,
])[] = [
  [
    'codes of errors are those of Mandate',
    ['POST', 'v1/data/authz/allow', '{'],
    400,
    400,
    /"invalid_request"/,
  ],
  [
    'and so in queries',
    ['POST', 'v1/query', { query: '1 +' }],
    400,
    400,
    /"invalid_request".*rego_parse_error/s,
  ],
  [
    'what fails is told by its code',
    ['POST', 'v1/data/authz/two', { input: { a: 1, b: 1 } }],
    500,
    500,
    /"policy_failed"/,
  ],
  [
    'and in queries',
    ['POST', 'v1/query', { query: 'data.authz.two', input: { a: 1, b: 1 } }],
    500,
    500,
    /"policy_failed".*eval_conflict_error.*"policy.rego"/s,
  ],
  [
    'a function has no value, and is no mistake',
    ['GET', 'v1/data/authz/twice'],
    500,
    200,
    /^\{"decision_id":"[^"]+","state_version":\d+\}$/,
  ],
  ['so is what no value of a rule can have', ['GET', 'v1/data/authz/limits/none'], 500, 200, NOTHING],
  ['of arrays', ['GET', 'v1/data/authz/list/9'], 500, 200, NOTHING],
  ['before their beginning', ['GET', 'v1/data/authz/list/-1'], 500, 200, NOTHING],
  ['by a name', ['GET', 'v1/data/authz/list/one'], 500, 200, NOTHING],
  ['of numbers', ['GET', 'v1/data/authz/list/1/one/deeper'], 500, 200, NOTHING],
  ['of sets', ['GET', 'v1/data/authz/kinds/0'], 500, 200, NOTHING],
  ['only what is declared is served', ['GET', 'v1/data/secret'], 200, 200, /entrypoint_undeclared/],
  ['and so of all', ['GET', 'v1/data'], 200, 200, /entrypoint_undeclared/],
  [
    'what is not declared is missing',
    ['POST', 'v0/data/secret', '{}'],
    404,
    404,
    /"undefined_document".*document missing/s,
  ],
  ['nothing is redirected', ['POST', 'v1/data/authz/allow/', alice], 301, 200, /"result":true/],
  [
    'built-ins never fail strictly',
    ['POST', 'v1/data/authz/divided?strict-builtin-errors', { input: { by: 0 } }],
    500,
    400,
    /strict-builtin-errors/,
  ],
  ['explain is never pretty', ['POST', 'v1/data/authz/allow?explain=full&pretty', alice], 200, 400, /pretty/],
  ['no parameter is ignored', ['GET', 'v1/data/authz/allow?watch=true'], 200, 400, /the parameter watch/],
  ['nor a level of explain', ['GET', 'v1/data/authz/allow?explain=everything'], 200, 400, /explain is/],
  [
    'nor a member of a query',
    ['POST', 'v1/compile', { query: 'true', unknown: [] }],
    200,
    400,
    /the member unknown/,
  ],
  ['nothing is written by it', ['PUT', 'v1/data/written', '[]'], 204, 405, /method_not_allowed/],
  ['nor policies', ['PUT', 'v1/policies/x', 'package x'], 200, 404, /not_found/],
  [
    'numbers are exact or refused',
    ['POST', 'v1/data/authz/limits', '{"input":{"user":9007199254740993,"reads":[]}}'],
    200,
    400,
    /double/,
  ],
];

test.each(OTHERWISE)('%s', async (_why, request, theirs, ours, of) => {
  expect((await there(request)).status).toBe(theirs);
  const answer = await here(request);
  expect(answer.text).toMatch(of);
  expect(answer.status).toBe(ours);
});

test('whatever path is asked for: the same, or nothing where OPA has a mistake of types', async () => {
  const names = [
    'users',
    'alice',
    'age',
    'by_user',
    'list',
    'one',
    'kinds',
    'a',
    'red',
    'limits',
    'reads',
    'allow',
  ];
  const part = fc.constantFrom(
    ...names,
    'exact',
    'id',
    '0',
    '1',
    '7',
    '-1',
    '00',
    '+1',
    '99999999999999999999',
    'x y',
    'é',
  );
  const path = fc.tuple(fc.constantFrom('authz', 'teams'), fc.array(part, { maxLength: 3 }));
  await fc.assert(
    fc.asyncProperty(path, fc.constantFrom(alice, bob, { input: 1 }), async ([root, parts], body) => {
      const target = ['v1/data', root, ...parts.map(encodeURIComponent)].join('/');
      const [mine, opas] = await Promise.all([here(['POST', target, body]), there(['POST', target, body])]);
      if (opas.status === 500) expect(mine.text, target).toMatch(NOTHING);
      else expect(alike(mine), target).toEqual(alike(opas));
    }),
    { numRuns: 300 },
  );
});

describe('beside the result', () => {
  test('metrics, instrument and provenance have the members that OPA has', async () => {
    for (const name of ['metrics', 'instrument', 'provenance']) {
      const request: Request = ['POST', `v1/data/authz/allow?${name}=true`, alice];
      const [mine, opas] = await Promise.all(
        [here(request), there(request)].map(async (each) => JSON.parse((await each).text)),
      );
      expect(
        Object.keys(mine)
          .filter((each) => !['decision_id', 'state_version'].includes(each))
          .sort(),
      ).toEqual(Object.keys(opas).sort());
    }
    const { provenance } = JSON.parse((await here(['GET', 'v1/data/authz/allow?provenance'])).text);
    expect(provenance).toEqual({
      version: expect.any(String),
      bundles: { shop: { revision: expect.stringMatching(/^sha256:/) } },
    });
  });

  test('explain has the events of OPA, for who may read the policy', async () => {
    const eventsOf = async (answer: Promise<Answer>): Promise<string[]> => {
      const { explanation } = JSON.parse((await answer).text) as {
        explanation: { op: string; type: string; message?: string; locals: unknown[] }[];
      };
      return explanation.map(({ op, type, message = '' }) => `${op} ${type} ${message}`);
    };
    for (const level of ['notes', 'fails', 'full', 'debug']) {
      const request: Request = ['POST', `v1/data/authz/noted?explain=${level}`, alice];
      expect(await eventsOf(here(request)), level).toEqual(await eventsOf(there(request)));
    }
    expect(await here(['POST', 'v1/data/authz/noted?explain=notes', alice], ASKER)).toMatchObject({
      status: 403,
      text: expect.stringContaining('policy.read'),
    });
  });
});

describe('a query', () => {
  test('is for who may read the policy alone', async () => {
    for (const target of ['v1/query', 'v1/compile'])
      expect((await here(['POST', target, { query: 'data' }], ASKER)).status).toBe(403);
    expect((await here(['GET', 'v1/query?q=data'], 'nobody')).status).toBe(401);
  });

  test('sees neither files, nor the network, nor the environment', async () => {
    for (const query of [
      '--data=/etc/passwd',
      '-d /etc',
      'x := opa.runtime()',
      'http.send({"method": "get", "url": "http://127.0.0.1:1"}, x)',
      'net.lookup_ip_addr("localhost", x)',
      'x := rego.parse_module("x", "package x")',
    ])
      expect(await here(['POST', 'v1/query', { query }]), query).toMatchObject({ status: 400 });
    for (const schema of ['file:///etc/passwd', 'http://127.0.0.1:1/x']) {
      const query = `json.match_schema({}, {"$ref": "${schema}"}, x)`;
      const { text } = await here(['POST', 'v1/query', { query }]);
      expect(text, schema).not.toMatch(/root:|"result":\[\{"x":\[true/);
    }
  });

  test('gives its references to nobody as options', async () => {
    for (const unknowns of [
      ['--data=/etc'],
      ['-d'],
      ['input.x; true'],
      ['input["\\""]'],
      [1],
      'input',
      Array(65).fill('input'),
    ])
      expect(await here(['POST', 'v1/compile', { query: 'true', unknowns }])).toMatchObject({ status: 400 });
    const options = { disableInlining: ['--capabilities=/etc/x'] };
    expect(await here(['POST', 'v1/compile', { query: 'true', options }])).toMatchObject({ status: 400 });
  });

  test('that does not end is ended, and decisions go on meanwhile', async () => {
    const query = 'numbers.range(1, 100000)[i]; numbers.range(1, 100000)[j]; i * j < 0';
    const asked = here(['POST', 'v1/query', { query }]);
    for (let at = 0; at < 20; at += 1)
      expect((await here(['POST', 'v1/data/authz/allow', alice], ASKER)).status).toBe(200);
    expect(await asked).toMatchObject({ status: 504, text: expect.stringContaining('deadline_exceeded') });
  });

  test('stands in the log, with who asked and what', async () => {
    const query = 'data.teams.red[_] == "alice"';
    await here(['POST', 'v1/query', { query, input: { a: 1 } }]);
    const answer = await fetch(`${server.admin}/mandate.v1.AuditService/Query`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ tenant: 'shop', kind: 'plan' }),
    });
    const { records } = (await answer.json()) as { records: { body: string; kind: string }[] };
    const bodies = records.map(({ body }) => JSON.parse(Buffer.from(body, 'base64').toString()));
    expect(bodies).toContainEqual(
      expect.objectContaining({
        kind: 'plan',
        outcome: 'done',
        caller: 'service:reader',
        input: expect.objectContaining({ query, data_input: { a: 1 } }),
      }),
    );
  });
});
