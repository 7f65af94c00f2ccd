import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { Grpc, struct } from '../grpc.ts';
import { check, connect, exchangeFields, form, postJson, type TokenJson } from '../requests.ts';
import { bearer, eventually, type Options, type Running, secrets, startIn, writeTenants } from '../server.ts';
import { asked, type Body, holding, PATIENT, query, SEALED } from './sealed.ts';

/** What a tenant's package `audit` keeps out of its records. */

/** A server whose tenant acme has such a package. */
async function masking(rego: string, options: Options = {}): Promise<Running> {
  const folder = await mkdtemp(path.join(tmpdir(), 'mandate-masking-'));
  try {
    await writeTenants(folder, options);
    await writeAudit(folder, rego);
    return await startIn(folder, options);
  } catch (error) {
    await rm(folder, { recursive: true, force: true });
    throw error;
  }
}

async function writeAudit(folder: string, rego: string): Promise<void> {
  await mkdir(path.join(folder, 'tenants/acme/audit'), { recursive: true });
  await writeFile(path.join(folder, 'tenants/acme/audit/audit.rego'), `package audit\n\n${rego}`);
}

const about = (server: Running, more: object = {}) =>
  check(server.data, { ...asked('patient:ann'), ...more }, bearer(secrets.api));

const newest = async (server: Running, filter: object = {}): Promise<Body> => {
  const [record] = await query(server, { pageSize: 1, ...filter });
  if (!record) throw new Error('there is no record');
  return record.stored;
};

const isHeld = (server: Running, needle: string): boolean =>
  holding(path.join(server.folder, 'data'), needle).some((file) => file.startsWith('mandate.db'));

const NAMES = {
  subject: { class: 'user', type: 'user', id: 'alice', status: 'active' },
  actors: [],
  action: { name: 'document.read' },
  resource: { type: 'document', id: 'roadmap' },
  grant: null,
};

describe('a mask', () => {
  test('takes members out and replaces them, before they are stored; the record says which', async () => {
    await using server = await masking(`
mask contains "/input/context/patient/diagnosis"

mask contains {"op": "remove", "path": "/input/context/nothing"}

mask contains {"op": "upsert", "path": "/input/context/patient/name", "value": sprintf("%s…", [substring(input.input.context.patient.name, 0, 3)])}

mask contains {"op": "upsert", "path": "/input/context/note", "value": {"kept": [input.outcome, input.kind, input.input.subject.id]}}

mask contains "/input/subject/properties"
`);
    await about(server);
    const { masked, input, ...record } = await newest(server);
    expect([...(masked as string[])].sort()).toEqual([
      '/input/context/note',
      '/input/context/patient/diagnosis',
      '/input/context/patient/name',
      '/input/subject/properties',
    ]);
    expect(input.context).toEqual({
      about: 'patient:ann',
      patient: { name: 'Ann…', seen: null },
      place: 'ward-7',
      note: { kept: ['allow', 'decision', 'alice'] },
    });
    expect(input.subject).not.toHaveProperty('properties');
    expect(record).toMatchObject({ outcome: 'allow', rules: ['authz.allow'] });
    expect(isHeld(server, PATIENT.name)).toBe(false);
    expect(isHeld(server, 'ward-7')).toBe(true);
  });

  test('takes out nothing that identifies the answer, and drops no record: it says what it was asked for', async () => {
    const PROTECTED = [
      '/input /input/now /input/tenant/id /input/subject /input/subject/id /input/subject/status /input/actors',
      '/input/action /input/action/name /input/resource/id /input/resource/type /input/grant',
      '/outcome /kind /time /decision_id /caller /v /rules /reasons /reasons/0 /reasons/0/code',
      '/revision /cost /grant_id /masked /detail',
    ].flatMap((names) => names.split(' '));
    await using server = await masking(
      `mask contains each if some each in ${JSON.stringify(PROTECTED)}

mask contains {"op": "upsert", "path": path, "value": "x"} if some path in ["/outcome", "/input/subject/id", "/input/resource", "/new"]
`,
    );
    const { body } = await about(server, { action: { name: 'document.delete' } });
    const record = await newest(server, { decisionId: body.decisionId });
    expect(record).toMatchObject({
      outcome: 'deny',
      kind: 'decision',
      input: { subject: { id: 'alice' } },
    });
    expect(record).not.toHaveProperty('masked');
    expect(new Set(record['mask_refused'] as string[])).toEqual(
      new Set([...PROTECTED, '/input/resource', '/new']),
    );
    expect(record.input).toMatchObject({ ...NAMES, action: { name: 'document.delete' } });
  });

  test('has the text of reasons too', async () => {
    await using server = await masking(
      'mask contains sprintf("/reasons/%d/message", [at]) if some at, _ in input.reasons\n',
    );
    await about(server, { subject: { type: 'user', id: 'nobody' } });
    const { reasons, masked } = await newest(server);
    expect(reasons).toEqual([{ code: 'principal_unknown', message: '' }]);
    expect(masked).toEqual(['/reasons/0/message']);
  });

  test('sees a sealed member as it is stored, and may take it out', async () => {
    await using server = await masking(
      'mask contains "/input/context/patient" if startswith(input.input.context.patient.sealed.about, "patient:")\n',
      { acme: (manifest) => void (manifest.audit = { sealed: SEALED }) },
    );
    await about(server);
    const record = await newest(server);
    expect(record.input.context).toEqual({ about: 'patient:ann', place: 'ward-7' });
    expect(record['masked']).toEqual(['/input/context/patient']);
    expect(record).not.toHaveProperty('sealed');
  });

  test('holds for batches, streams, the data API and exchanges, on a thread as on main', async () => {
    await using server = await masking(
      `mask contains "/input/context/patient"

mask contains "/input/data_input/card"

mask contains "/input/subject/properties/clearance"
`,
      { acme: (manifest) => void (manifest.entrypoints = ['authz/allow']) },
    );
    const secret = `${PATIENT.name}${'-x'.repeat(1_000)}`;
    const { context, resource, ...rest } = asked('patient:ann', { name: secret });
    const message = {
      ...rest,
      resource: { ...resource, properties: struct(resource.properties) },
      context: struct(context),
    };
    using pep = new Grpc(server.data, secrets.api);
    await pep.checkByStream(message);
    await eventually(
      () => Promise.resolve(server.mandate.services.offload?.ready),
      (ready) => ready === 1,
    );
    await pep.call('DecisionService', 'CheckBatch', { ...message, items: [{}, {}, {}] });
    await pep.checkByStream(message);
    expect(server.mandate.services.offload?.answered).toBeGreaterThan(0);
    await postJson(
      `${server.data}/t/acme/v1/data/authz/allow`,
      { input: { card: secret, shop: 'here' } },
      bearer(secrets.api),
    );
    const url = `${server.data}/t/acme/dev/token?user=alice&client=research-agent`;
    const token = (await postJson<TokenJson>(url, '')).body.access_token;
    const agent = { id: 'research-agent', secret: secrets.agent };
    expect((await form(server.data, 'token', exchangeFields(token), agent)).status).toBe(200);
    const records = await query(server);
    const exchanged = await newest(server, { kind: 'exchange' });
    expect(records.map(({ stored }) => stored['masked'])).toEqual([
      ['/input/data_input/card'],
      ...Array.from({ length: 5 }, () => ['/input/context/patient', '/input/subject/properties/clearance']),
    ]);
    expect(exchanged['masked']).toEqual(['/input/subject/properties/clearance']);
    expect(isHeld(server, PATIENT.name)).toBe(false);
  });
});

describe('detail', () => {
  test('brief keeps names, the outcome, rules and codes', async () => {
    await using server = await masking('detail := "brief" if input.outcome == "allow"\n');
    const shown = {
      type: 'document',
      id: 'handbook',
      properties: { project: 'hermes', sensitivity: 'restricted' },
    };
    await about(server);
    const { input, ...record } = await newest(server);
    expect(record).toMatchObject({
      detail_level: 'brief',
      outcome: 'allow',
      rules: ['authz.allow'],
      reasons: [],
    });
    expect(input).toMatchObject(NAMES);
    expect(Object.keys(input).sort()).toEqual([
      'action',
      'actors',
      'grant',
      'now',
      'resource',
      'subject',
      'tenant',
    ]);
    expect(Object.keys(input.subject ?? {}).sort()).toEqual(['class', 'id', 'status', 'type']);
    await about(server, { action: { name: 'document.edit' }, resource: shown });
    expect((await newest(server)).input.context).toMatchObject({ place: 'ward-7' });
  });
});

describe('a package that fails', () => {
  test.each([
    [
      'runs out of fuel',
      'mask contains "/x" if count([1 | some a in numbers.range(1, 3000); some b in numbers.range(1, 3000); a + b == -1]) == 1\n',
      'deadline_exceeded',
    ],
    ['contradicts itself', 'detail := x if some x in ["full", "brief"]\n', 'policy_failed'],
    ['asks for what is no level', 'detail := "none"\n', 'policy_failed'],
    ['answers false for a level', 'detail := false\n', 'policy_failed'],
    ['gives a mask that is a text', 'mask := caller if caller := input.caller\n', 'policy_failed'],
    ['gives a mask that is an object', 'mask := {"path": "/input/context/patient"}\n', 'policy_failed'],
    ['names what is no pointer', 'mask contains "input.context.patient"\n', 'policy_failed'],
    [
      'names another operation',
      'mask contains {"op": "encrypt", "path": "/input/context/patient"}\n',
      'policy_failed',
    ],
    [
      'adds a member that is not known',
      'mask contains {"op": "remove", "path": "/input/context/patient", "if": true}\n',
      'policy_failed',
    ],
    [
      'names too much',
      'mask contains sprintf("/input/context/m%d", [n]) if some n in numbers.range(1, 65)\n',
      'policy_failed',
    ],
  ])('as it %s keeps all out that may be, and the decision is recorded', async (_name, rego, code) => {
    await using server = await masking(rego);
    const { body } = await about(server);
    expect(body.decision).toBe('DECISION_ALLOW');
    const record = await newest(server, { decisionId: body.decisionId });
    expect(record).toMatchObject({ outcome: 'allow', mask_failed: code, input: NAMES });
    expect(record.input).not.toHaveProperty('context');
    expect(record.input.subject).not.toHaveProperty('properties');
    expect(isHeld(server, PATIENT.name)).toBe(false);
  });

  test('is counted, on a thread as on main', async () => {
    await using server = await masking('detail := "none"\n');
    const counted = async (): Promise<number> =>
      Number(
        /^mandate_mask_failures_total\{tenant="acme"\} (\d+)$/m.exec(
          await server.mandate.services.metrics(),
        )?.[1] ?? 0,
      );
    const { context, resource, ...rest } = asked('patient:ann', 'x');
    const properties = struct(resource.properties);
    const message = { ...rest, resource: { ...resource, properties }, context: struct(context) };
    using pep = new Grpc(server.data, secrets.api);
    await eventually(
      async () => {
        await pep.checkByStream(message);
        return server.mandate.services.offload?.answered ?? 0;
      },
      (answered) => answered > 0,
    );
    await about(server);
    const records = (await query(server, { pageSize: 1_000 })).length;
    expect(records).toBeGreaterThan(1);
    expect(await counted()).toBe(records);
  });

  test('loses no denial, though it is slowed down for failing', async () => {
    await using server = await masking('detail := x if some x in ["full", "brief"]\n');
    const answers = await Promise.all(
      Array.from({ length: 60 }, () => about(server, { subject: { type: 'user', id: 'nobody' } })),
    );
    const denied = answers.filter(({ status }) => status === 200);
    expect(denied.length).toBeGreaterThan(0);
    const records = await query(server, { pageSize: 100 });
    expect(records.filter(({ stored }) => stored['mask_failed'] !== undefined)).toHaveLength(denied.length);
  });

  test('loses no refusal of an exchange, though both it and its policy are slowed down', async () => {
    await using server = await masking('detail := x if some x in ["full", "brief"]\n');
    const agent = { id: 'research-agent', secret: secrets.agent };
    for (let turn = 0; turn < 30; turn += 1)
      expect((await form(server.data, 'token', exchangeFields('a.b.c'), agent)).status).toBe(400);
    const records = await query(server, { kind: 'exchange', pageSize: 100 });
    expect(records).toHaveLength(30);
    const codes = new Set(records.map(({ stored }) => stored['mask_failed']));
    expect(codes).toEqual(new Set(['policy_failed', 'resource_exhausted']));
  });

  test('as it does not compile keeps the one before, over a restart too; with none before all is kept out that may be', async () => {
    await using server = await masking('mask contains "/input/context/patient"\n');
    await about(server);
    await server.stop();
    await writeAudit(server.folder, 'mask contains "/input/context/patient" if\n');
    const kept = await startIn(server.folder);
    await about(kept);
    expect((await newest(kept)).masked).toEqual(['/input/context/patient']);
    expect(isHeld(kept, PATIENT.name)).toBe(false);
    await kept.stop();
    await rm(path.join(server.folder, 'data'), { recursive: true });
    await using again = await startIn(server.folder);
    const { body } = await about(again);
    expect(body.decision).toBe('DECISION_DENY');
    const record = await newest(again, { decisionId: body.decisionId });
    expect(record).toMatchObject({
      mask_failed: 'policy_undefined',
      reasons: [{ code: 'policy_undefined' }],
    });
    expect(isHeld(again, PATIENT.name)).toBe(false);
  });
});

test('a tenant without the package has records as they were', async () => {
  await using server = await masking('x := 1\n');
  await connect(server.data, 'DecisionService/Check', { ...asked('patient:ann'), tenant: 'globex' });
  const [record] = await query(server, { tenant: 'globex' });
  expect(record?.stored.input.context).toMatchObject({ patient: PATIENT });
  await about(server);
  const own = await newest(server);
  expect(own.input.context).toMatchObject({ patient: PATIENT });
  for (const member of ['masked', 'mask_failed', 'mask_refused', 'detail_level'])
    expect(own).not.toHaveProperty(member);
});
