import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Grpc } from '../e2e/grpc.ts';
import { aliceReads, check, connect, postJson } from '../e2e/requests.ts';
import { bearer, type Running, secrets, startServer } from '../e2e/server.ts';
import { authorityOverrides, isReady, startSidecar } from './fleet.ts';

/** What meters count is decided at a sidecar too, by every protocol: an authority counts it. */

const MOST = 5;
const WORKLOAD = 'spiffe://acme.example/t/acme/sa/exporter';
/** Each test has some of its own, who have done nothing yet. */
let people = 0;
const somebody = (): { type: string; id: string } => ({ type: 'user', id: `counted-${(people += 1)}` });

let authority: Running;
let sidecar: Running;

beforeAll(async () => {
  authority = await startServer({
    overrides: authorityOverrides,
    acme: (manifest) => {
      manifest.meters = { exports: { actions: ['counted.export'], per: 'subject', window: '1h' } };
      manifest.principals.push({ class: 'job', id: 'exporter', credentials: [{ spiffe_id: WORKLOAD }] });
      for (let no = 1; no <= 20; no += 1)
        manifest.principals.push({ class: 'user', id: `counted-${no}`, roles: ['reader'] });
    },
    acmeFiles: {
      'counted.rego': `package authz

allow if input.action.name == "counted.export"

deny contains "enough" if {
	input.action.name == "counted.export"
	input.usage.exports >= ${MOST}
}
`,
    },
  });
  sidecar = await startSidecar(authority);
  await isReady(sidecar);
});

afterAll(async () => {
  await sidecar[Symbol.asyncDispose]();
  await authority[Symbol.asyncDispose]();
});

const exporting = (subject: object) => ({
  tenant: 'acme',
  subject,
  action: { name: 'counted.export' },
  resource: { type: 'report', id: 'r1' },
});
const api = bearer(secrets.api);
const authzen = <T>(what: string, body: object) =>
  postJson<T>(`${sidecar.data}/t/acme/access/v1/${what}`, body, api);

/** One that counts nothing is decided here between those that do. */
const { tenant: _, ...reading } = aliceReads;

/** How often somebody may do it still. */
async function left(subject: object): Promise<number> {
  for (let done = 0; ; done += 1) {
    const { body } = await check(authority.data, exporting(subject), api);
    if (body.decision !== 'DECISION_ALLOW' || done > MOST) return done;
  }
}

describe('at a sidecar', () => {
  test('a batch has the answers in its order, what is counted and what is not', async () => {
    const subject = somebody();
    const { tenant, ...one } = exporting(subject);
    const items = [one, one, reading, one, one, reading, one, one, reading, one];
    const { status, body } = await connect<{ results: { decision: string; recordIndex?: string }[] }>(
      sidecar.data,
      'DecisionService/CheckBatch',
      { tenant, items },
      api,
    );
    expect(status, JSON.stringify(body)).toBe(200);
    const decisions = body.results.map(({ decision }) => decision.replace('DECISION_', '').toLowerCase());
    expect(decisions.filter((_each, at) => items[at] === reading)).toEqual(['allow', 'allow', 'allow']);
    const counted = decisions.filter((_each, at) => items[at] === one);
    expect(counted.filter((each) => each === 'allow')).toHaveLength(MOST);
    expect(counted).toHaveLength(7);
    expect(await left(subject)).toBe(0);
  });

  test('a batch over gRPC stops where it is to stop, and counts nothing after it', async () => {
    const subject = somebody();
    using grpc = new Grpc(sidecar.data, secrets.api);
    const { tenant, ...one } = exporting(subject);
    const ask = (semantic: string) =>
      grpc.call<{ results: { decision: string }[] }>('DecisionService', 'CheckBatch', {
        tenant,
        items: [one, one, one],
        semantic,
      });
    const first = await ask('BATCH_SEMANTIC_PERMIT_ON_FIRST_PERMIT');
    expect(first.results.map(({ decision }) => decision)).toEqual(['DECISION_ALLOW']);
    expect(await left(subject)).toBe(MOST - 1);
    const last = await ask('BATCH_SEMANTIC_DENY_ON_FIRST_DENY');
    expect(last.results.map(({ decision }) => decision)).toEqual(['DECISION_DENY']);
  });

  test('an evaluation and evaluations of AuthZEN', async () => {
    const subject = somebody();
    const { tenant: _tenant, ...one } = exporting(subject);
    const first = await authzen<{ decision: boolean; context: Record<string, unknown> }>('evaluation', one);
    expect(first).toMatchObject({ status: 200, body: { decision: true, context: { outcome: 'allow' } } });
    const evaluations = Array.from({ length: MOST + 1 }, () => ({}));
    const all = await authzen<{ evaluations: { decision: boolean; context: { reasons: object[] } }[] }>(
      'evaluations',
      { ...one, evaluations },
    );
    expect(all.status, JSON.stringify(all.body)).toBe(200);
    const allowed = all.body.evaluations.filter(({ decision }) => decision);
    expect(allowed).toHaveLength(MOST - 1);
    const denied = all.body.evaluations.find(({ decision }) => !decision);
    expect(denied?.context.reasons).toMatchObject([{ code: 'enough' }]);
  });

  test('an approval that is presented is looked at by the authority', async () => {
    const { tenant: _tenant, ...one } = exporting(somebody());
    const { status, body } = await authzen<{ decision: boolean; context: Record<string, unknown> }>(
      'evaluation',
      { ...one, context: { approval: { id: 'nobody-gave-this' } } },
    );
    expect(status, JSON.stringify(body)).toBe(200);
    expect(body.context).toMatchObject({ reason: 'approval_unverifiable' });
  });

  test('a search sees what the authority has counted, and counts nothing', async () => {
    const [subject, other] = [somebody(), somebody()];
    const { tenant: _tenant, ...one } = exporting(subject);
    for (let done = 0; done < MOST; done += 1) await check(authority.data, exporting(subject), api);
    const { status, body } = await authzen<{ results: { id: string }[] }>('search/subject', {
      ...one,
      subject: { type: 'user' },
    });
    expect(status, JSON.stringify(body)).toBe(200);
    const found = body.results.map(({ id }) => id);
    expect(found).toContain(other.id);
    expect(found).not.toContain(subject.id);
    expect(await left(other)).toBe(MOST);
  });

  test("Envoy's check of a workload, and of a token that nobody issued", async () => {
    const ask = (source: object, headers: object = {}) =>
      postJson<{ status: { code?: number }; deniedResponse?: { status: { code: number } } }>(
        `${sidecar.data}/envoy.service.auth.v3.Authorization/Check`,
        {
          attributes: {
            source,
            request: { http: { method: 'GET', host: 'x', path: '/', scheme: 'https', headers } },
            contextExtensions: { tenant: 'acme', action: 'counted.export' },
          },
        },
        api,
      );
    const codes: unknown[] = [];
    for (let done = 0; done <= MOST; done += 1) {
      const { status, body } = await ask({ principal: WORKLOAD });
      expect(status, JSON.stringify(body)).toBe(200);
      codes.push(body.deniedResponse?.status.code ?? 'ok');
    }
    expect(codes).toEqual([...Array.from({ length: MOST }, () => 'ok'), 403]);
    const { body } = await ask({}, { authorization: 'Bearer nobody.issued.this' });
    expect(body.deniedResponse?.status.code).toBe(401);
  });

  test('a stream, and what is not sound in it', async () => {
    const subject = somebody();
    using grpc = new Grpc(sidecar.data, secrets.api);
    const stream = grpc.duplex('DecisionService', 'CheckStream');
    const answers: Record<string, unknown>[] = [];
    const ended = new Promise((resolve, reject) => {
      stream.on('data', (each) => answers.push(each));
      stream.on('end', resolve);
      stream.on('error', reject);
    });
    for (let id = 1; id <= MOST + 2; id += 1)
      stream.write({ correlation_id: id, request: exporting(subject) });
    stream.write({ correlation_id: 99, request: { ...exporting(subject), resource: undefined } });
    stream.end();
    await ended;
    const decisions = answers.map(({ response }) => (response as { decision?: string } | null)?.decision);
    expect(decisions.filter((each) => each === 'DECISION_ALLOW')).toHaveLength(MOST);
    expect(decisions.filter((each) => each === 'DECISION_DENY')).toHaveLength(2);
    expect(answers.find(({ correlation_id: id }) => id === 99)).toMatchObject({
      error: { code: 'invalid_request' },
    });
  });
});
