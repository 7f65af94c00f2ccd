import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { create, toBinary } from '@bufbuild/protobuf';
import { type Client, createClient } from '@connectrpc/connect';
import { createGrpcTransport } from '@connectrpc/connect-node';
import { CheckRequestSchema, DecisionService } from '../../src/gen/mandate/v1/decision_pb.ts';
import { PolicyService } from '../../src/gen/mandate/v1/policy_pb.ts';
import { call, frame } from '../harness/grpc.ts';
import { Latencies, latencies } from '../harness/load.ts';
import { interleaved, median } from '../harness/rounds.ts';
import { serve } from '../peers/mandate/server.ts';
import { type Bench, type Row, type RowGroup, row } from '../row.ts';

const acme = path.resolve(import.meta.dirname, '../../policies/acme');
const RECORDS = 200_000;
const BATCH = 500;
const WANTED_PER_S = 100_000;
const WANTED_ACTIVATE_MS = 250;
const WANTED_PLAN_MS = 100;
const RULES = 100;

/** What it takes to change a policy: to know what a change would do, and to make it. */
export const policyRows: RowGroup = {
  names: ['replay_per_s', 'activate_ms', 'plan_ms', 'shadow_overhead'],
  measure: async (bench, wanted) => {
    const folder = path.join(bench.folder, 'policy');
    mkdirSync(folder, { recursive: true });
    const { running, dataUrl, adminUrl } = await serve(folder, acme, ['--dev']);
    await using _running = running;
    const decisions = createClient(DecisionService, createGrpcTransport({ baseUrl: dataUrl }));
    const policies = createClient(PolicyService, createGrpcTransport({ baseUrl: adminUrl }));
    return [
      ...(wanted.has('replay_per_s') ? [await replays(bench, decisions, policies)] : []),
      // Before the policy is another one.
      ...(wanted.has('plan_ms') ? [await plans(bench, decisions)] : []),
      ...(wanted.has('activate_ms') ? [await activations(bench, decisions, policies)] : []),
      ...(wanted.has('shadow_overhead') ? [await shadows(bench, dataUrl, decisions, policies)] : []),
    ];
  },
};

type Decisions = Client<typeof DecisionService>;
type Policies = Client<typeof PolicyService>;

const questionOf = (id: number) => ({
  subject: { type: 'user', id: id % 3 === 0 ? 'bob' : 'alice' },
  action: { name: id % 2 === 0 ? 'document.read' : 'document.edit' },
  resource: {
    type: 'document',
    id: `doc-${id}`,
    properties: { project: 'apollo', sensitivity: id % 5 === 0 ? 'restricted' : 'internal' },
  },
});

async function replays(bench: Bench, decisions: Decisions, policies: Policies): Promise<Row> {
  const count = bench.quick ? 2_000 : RECORDS;
  for (let made = 0; made < count; made += BATCH)
    await decisions.checkBatch({
      tenant: 'acme',
      items: Array.from({ length: BATCH }, (_, at) => questionOf(made + at)),
    });
  const { revision } = await policies.getRevision({ tenant: 'acme', withContents: true });
  const files = [
    ...(revision?.files ?? []).map(({ path: name, content }) => ({ path: name, content })),
    file('bench.rego', 'package authz\n\ndeny contains "closed" if input.subject.id == "bob"\n'),
  ].filter(({ path: name }) => !/_test\.(?:rego|yaml)$/.test(name));
  const pushed = await policies.pushRevision({ tenant: 'acme', files });
  const figures: number[] = [];
  for (let round = 0; round < bench.rounds; round += 1) {
    const began = performance.now();
    let replayed = 0n;
    for await (const { report } of policies.replay({
      tenant: 'acme',
      revision: pushed.revision?.revision ?? '',
      last: BigInt(count),
    }))
      replayed = report?.replayed ?? replayed;
    if (Number(replayed) < count - 100) throw new Error(`only ${replayed} of ${count} were replayed`);
    figures.push((Number(replayed) / (performance.now() - began)) * 1_000);
    bench.say(`replay: ${Math.round(figures.at(-1) ?? 0)} decisions a second`);
  }
  return row('replay_per_s', 'decisions/s', median(figures), WANTED_PER_S, {
    note: `${count} recorded decisions, each asked of the candidate and of the active revision, from the call to the report; wanted: ${WANTED_PER_S} or more`,
    raw: { rounds: figures.map(Math.round) },
  });
}

/** A plan that was not asked for before, and the same once it was. */
async function plans(bench: Bench, decisions: Decisions): Promise<Row> {
  const [cold, cached]: [number[], number[]] = [[], []];
  for (let round = 0; round < Math.max(5, bench.rounds); round += 1)
    for (const figures of [cold, cached]) {
      const began = performance.now();
      const { condition } = await decisions.plan({
        tenant: 'acme',
        principal: { case: 'subject', value: { type: 'user', id: 'alice' } },
        action: { name: 'document.read' },
        resourceType: 'document',
        context: { round },
      });
      if (!condition) throw new Error('no condition');
      figures.push(performance.now() - began);
    }
  return row('plan_ms', 'ms', median(cold), WANTED_PLAN_MS, {
    note: `a plan of the example tenant, from the call to the answer; the same again, from the cache: ${median(cached).toFixed(1)} ms; wanted: ${WANTED_PLAN_MS} or less`,
    raw: { cold: cold.map(Math.round), cached: cached.map(Math.round) },
  });
}

/** From the push of a policy of so many rules to the first decision by it. */
async function activations(bench: Bench, decisions: Decisions, policies: Policies): Promise<Row> {
  const figures: number[] = [];
  for (let round = 0; round < Math.max(3, bench.rounds); round += 1) {
    const rules = Array.from(
      { length: RULES },
      (_, at) =>
        `allow if {\n\tinput.action.name == "document.read"\n\tinput.resource.properties.level == ${at}\n\tinput.subject.id != "nobody-${round}"\n}\n`,
    );
    const began = performance.now();
    const { revision } = await policies.pushRevision({
      tenant: 'acme',
      files: [file('rules.rego', `package authz\n\n${rules.join('\n')}`)],
      activate: true,
    });
    const { subject, ...question } = questionOf(1);
    const principal = { case: 'subject' as const, value: subject };
    const answer = await decisions.check({ tenant: 'acme', principal, ...question });
    if (answer.policyRevision !== revision?.revision) throw new Error('an older revision decided');
    figures.push(performance.now() - began);
  }
  return row('activate_ms', 'ms', median(figures), WANTED_ACTIVATE_MS, {
    note: `from the push of a policy of ${RULES} rules, compiled and checked, to the first decision by it; wanted: ${WANTED_ACTIVATE_MS} or less`,
    raw: { rounds: figures.map(Math.round) },
  });
}

/** Calls a second of one connection; a shadow that falls behind would show nothing. */
const SHADOW_RATE = 2_000;
const AT_ONCE = 8;

/** What a call waits for, with a shadow and without. */
async function shadows(
  bench: Bench,
  dataUrl: string,
  decisions: Decisions,
  policies: Policies,
): Promise<Row> {
  const pushed = await policies.pushRevision({
    tenant: 'acme',
    files: [file('shadow.rego', 'package authz\n\nallow if input.subject.id == "alice"\n')],
  });
  const revision = pushed.revision?.revision ?? '';
  const { subject, ...question } = questionOf(1);
  const principal = { case: 'subject' as const, value: subject };
  const body = frame(
    toBinary(CheckRequestSchema, create(CheckRequestSchema, { tenant: 'acme', principal, ...question })),
  );
  const asked = {
    url: `${dataUrl}/mandate.v1.DecisionService/Check`,
    headers: { 'content-type': 'application/grpc', te: 'trailers' },
    body: path.join(bench.folder, 'shadow.bin'),
  };
  writeFileSync(asked.body, body);
  const { bytes: responseBytes } = await call(asked.url, asked.headers, body);
  const under = (shadow: string) => async (): Promise<Latencies> => {
    await policies.setShadow({ tenant: 'acme', revision: shadow });
    const shape = { ...asked, responseBytes, clients: 1, streams: AT_ONCE };
    const log = path.join(bench.folder, 'shadow.log');
    return latencies(shape, SHADOW_RATE, bench.seconds * 2, log);
  };
  const rounds = await interleaved(bench.rounds, { without: under(''), with: under(revision) }, bench.tries);
  const behind = (await policies.getShadow({ tenant: 'acme' })).behind;
  await decisions.check({ tenant: 'acme', principal, ...question });
  const all = (name: string) => Latencies.together(rounds[name]?.figures ?? []);
  const [between, beside] = [all('with'), all('without')];
  return row('shadow_overhead', 'ms', between.at(0.99), beside.at(0.99), {
    note: `p99 of a check at ${SHADOW_RATE} a second, with a shadow that keeps up and without one; wanted: 1.1 or less`,
    raw: {
      p50: [between.at(0.5), beside.at(0.5)],
      p999: [between.at(0.999), beside.at(0.999)],
      behind: Number(behind),
    },
  });
}

const file = (name: string, text: string) => ({ path: name, content: new TextEncoder().encode(text) });
