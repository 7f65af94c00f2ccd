import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { audit } from '../cli/within.ts';
import { aliceReads, check, connect } from '../e2e/requests.ts';
import { asked, PATIENT, SEALED } from '../e2e/sealed/sealed.ts';
import { bearer, eventually, type Running, secrets, startServer } from '../e2e/server.ts';
import { authorityOverrides, isReady, startSidecar } from './fleet.ts';
import { BASE, decided, logsAt, queried } from './kept.ts';

/** At an authority: why another server decided as it did, where its older records are, and a copy of its log. */

let authority: Running;
let sidecar: Running;
let folder: string;
let plain: string;
let sealed: string;

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'mandate-explained-'));
  authority = await startServer({
    overrides: { ...authorityOverrides, base_url: BASE },
    acme: (manifest) => {
      manifest.audit = { sealed: SEALED };
    },
    // So that what is sealed decides.
    acmeFiles: {
      'patients.rego':
        'package authz\n\ndeny contains "seen" if {\n\tinput.context.place == "ward-7"\n\tnot input.context.patient.name\n}\n',
    },
  });
  sidecar = await startSidecar(authority, { node: 'one', base_url: BASE });
  await isReady(sidecar);
  [plain = ''] = await decided(sidecar, 1);
  const { body } = await check(sidecar.data, asked('patient:ann'), bearer(secrets.api));
  expect(body.decision).toBe('DECISION_ALLOW');
  sealed = body.decisionId;
  await eventually(
    async () =>
      (await logsAt(authority)).some(({ node }) => node === 'one') &&
      (await queried(authority, { node: 'one', kind: 'decision' })).length === 2,
    (isThere) => isThere,
  );
}, 60_000);

afterAll(async () => {
  await sidecar[Symbol.asyncDispose]();
  await authority[Symbol.asyncDispose]();
  await rm(folder, { recursive: true });
});

interface Explained {
  node: string;
  index?: string;
  decisionId: string;
  outcome: string;
  recorded: string;
  missing?: string[];
  explanation: { agreement: string; rules?: { name: string }[]; notes?: string[] };
}

const explain = (request: object, at: Running = authority) =>
  connect<Explained & { message?: string }>(at.admin, 'AuditService/Explain', { tenant: 'acme', ...request });

test('what another server decided is explained by the id of its decision, or by its place there', async () => {
  const byId = await explain({ decisionId: plain });
  expect(byId.status, JSON.stringify(byId.body)).toBe(200);
  expect(byId.body).toMatchObject({
    node: 'one',
    decisionId: plain,
    outcome: 'allow',
    recorded: 'same',
    explanation: { agreement: 'same' },
  });
  expect(byId.body.explanation.rules?.length).toBeGreaterThan(0);
  const { index } = byId.body;
  expect((await explain({ index, node: 'one' })).body).toMatchObject({ decisionId: plain, recorded: 'same' });
  // The same place in the own log is another record.
  const [own] = await decided(authority, 1);
  expect((await explain({ decisionId: own })).body).toMatchObject({ node: 'main', recorded: 'same' });
  expect((await explain({ index })).body.decisionId).not.toBe(plain);
});

test('what the other server sealed is said to be missing, and who has it; that one explains it', async () => {
  const there = await explain({ decisionId: sealed }, sidecar);
  expect(there.body).toMatchObject({ node: 'one', recorded: 'same', outcome: 'allow' });
  const { body } = await explain({ decisionId: sealed });
  expect(body).toMatchObject({ node: 'one', recorded: 'unknown', outcome: 'deny' });
  expect(body.missing).toContain('/input/context/patient');
  const notes = body.explanation.notes?.join('\n') ?? '';
  expect(notes).toContain('one sealed /context/patient');
  expect(JSON.stringify(body)).not.toContain(PATIENT.name);
});

test('a decision that no log has, a node and a place that are not there are told so', async () => {
  const unknown = `${plain.slice(0, -4)}0000`;
  for (const request of [
    { decisionId: unknown },
    { decisionId: plain, node: 'main' },
    { index: 0, node: 'nobody' },
    { index: 100_000, node: 'one' },
  ])
    expect((await explain(request)).body.message, JSON.stringify(request)).toContain('not_found');
  expect((await explain({ node: 'one' })).body.message).toContain('invalid_request');
});

const at = async (...args: string[]) => await audit(...args, '-t', 'acme', '--admin', authority.admin);

test('the command explains it, and says whose it is', async () => {
  const { code, stdout } = await at('explain', plain);
  expect([code, stdout]).toEqual([0, expect.stringMatching(/server +one\n/)]);
  expect((await at('explain', plain, '--node', 'main')).code).toBe(2);
});

test('volumes are of the log that is meant', async () => {
  const { tenant, ...item } = aliceReads;
  const items = Array.from({ length: 100 }, () => item);
  for (let each = 0; each < 3; each += 1)
    expect((await connect(authority.data, 'DecisionService/CheckBatch', { tenant, items })).status).toBe(200);
  const made = await eventually(
    () => at('volumes', '--make'),
    ({ stdout }) => stdout.includes('0-255'),
  );
  expect(made.code).toBe(0);
  expect((await at('volumes', '--node', 'main')).stdout).toBe((await at('volumes')).stdout);
  expect((await at('volumes', '--node', 'one')).stdout).not.toContain('0-255');
  expect((await at('volumes', '--node', 'nobody')).stderr).toContain('not_found');
});

test('an export is of the log that is meant, and of the own one without a name, whatever it is called', async () => {
  const one = path.join(folder, 'one.jsonl');
  const exported = await at('export', one, '--format', 'jsonl', '--node', 'one');
  expect([exported.code, exported.stdout]).toEqual([0, expect.stringContaining('/t/acme/log/one')]);
  const own = path.join(folder, 'own.jsonl');
  const args = ['export', own, '--format', 'jsonl', '-t', 'acme', '--admin', sidecar.admin];
  const there = await audit(...args);
  expect([there.code, there.stdout]).toEqual([0, expect.stringContaining('/t/acme/log/one')]);
});
