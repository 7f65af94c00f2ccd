import { createRequire } from 'node:module';
import path from 'node:path';
import { buildRecord } from '../../src/audit/record.ts';
import { decide } from '../../src/decision/decide.ts';
import { buildInput } from '../../src/decision/input.ts';
import { checkRequest, type UncheckedRequest } from '../../src/decision/request.ts';
import { decisionDraft } from '../../src/decision/rows.ts';
import { systemClock, systemRandom } from '../../src/effects.ts';
import { uuidv7 } from '../../src/ids.ts';
import type { PolicyInput } from '../../src/input.ts';
import type { Bundle } from '../../src/policy/bundle.ts';
import { Compiler } from '../../src/policy/compiler.ts';
import type { PolicyInstance } from '../../src/policy/engine/instance.ts';
import { PolicyModule } from '../../src/policy/engine/module.ts';
import { sourcesOf } from '../../src/policy/sources.ts';
import type { TenantNo } from '../../src/storage/rows.ts';
import { Facts } from '../../src/tenancy/facts.ts';
import { readTenantFiles } from '../../src/tenancy/folder/read.ts';
import { readTenant, type TenantSource } from '../../src/tenancy/tenants.ts';
import { median, rounded } from '../harness/rounds.ts';
import { factsOf, writeTenant } from '../peers/mandate/tenant.ts';
import { type Bench, type RowGroup, row } from '../row.ts';
import { type Question, questions, typical } from '../scenario/questions.ts';

const ENTRY = 'mandate/decision';
/** Of one contender before the next has its turn. */
const CALLS = 300;
const root = path.resolve(import.meta.dirname, '../..');
const limits = { fuel: 20_000_000, memoryPages: 1_024 };

// Its types and its ES module disagree about the exports; the CommonJS one is as typed.
const { loadPolicySync } = createRequire(import.meta.url)(
  '@open-policy-agent/opa-wasm',
) as typeof import('@open-policy-agent/opa-wasm');

/** Types of subjects are classes. */
const AS_NAMED = { subject_types: {} };

export const engineRows: RowGroup = {
  names: ['decide_vs_evaluate', 'fuel_overhead'],
  measure: async (bench) => {
    const { source, bundle } = await compiled(bench.folder);
    const times = race(bench, contenders(source, bundle));
    const of = (name: string): readonly number[] => times.get(name) ?? [];
    const compare = (ours: string, other: string) => {
      const ratio = rounded(
        median(of(ours).map((micros, round) => micros / (of(other)[round] ?? Number.NaN))),
      );
      return [median(of(ours)), median(of(other)), ratio] as const;
    };
    const [decided, evaluated, decideRatio] = compare('decide', 'opa-wasm');
    const [metered, unmetered, fuelRatio] = compare('metered', 'unmetered');
    bench.say(`decide ${decided.toFixed(1)} µs, opa-wasm ${evaluated.toFixed(1)} µs, ratio ${decideRatio}`);
    bench.say(`metered ${metered.toFixed(1)} µs, unmetered ${unmetered.toFixed(1)} µs, ratio ${fuelRatio}`);
    return [
      {
        ...row('decide_vs_evaluate', 'µs', decided, evaluated, {
          note: "input, decision and record's bytes, beside opa-wasm's evaluate() alone; wanted: 4 or less",
          raw: { evaluate_ours_us: rounded(metered) },
        }),
        ratio: decideRatio,
      },
      {
        ...row('fuel_overhead', 'µs', metered, unmetered, {
          note: 'evaluate() metered beside unmetered; wanted: 1.1 or less',
        }),
        ratio: fuelRatio,
      },
    ];
  },
};

async function compiled(place: string): Promise<{ source: TenantSource; bundle: Bundle }> {
  const parent = path.join(place, 'engine');
  writeTenant(parent, { id: 'bench', principals: [] });
  const folder = path.join(parent, 'bench');
  const files = await readTenantFiles({ folder, root: folder });
  const source = await readTenant(files);
  const policies = path.join(root, 'policies');
  const compiler = new Compiler({ opa: path.join(root, 'bin/opa'), policies, cache: undefined });
  return { source, bundle: await compiler.compile(await sourcesOf(files, source.manifest)) };
}

/** Each answers one question of a hundred, from a request or an input to a decision. */
function contenders(source: TenantSource, bundle: Bundle): Record<string, (nth: number) => unknown> {
  const asked = [typical, ...questions(99, 100)];
  const requests = asked.map(requestOf);
  const facts = asked.map(factsFor);
  const context = { nowMs: systemClock(), seed: 'bench' };
  const inputOf = (
    nth: number,
    request = checkRequest(requests[nth] as UncheckedRequest, AS_NAMED),
  ): PolicyInput => {
    const { action, resource, context: more } = request;
    const subject = facts[nth] as Facts;
    const now = context.nowMs;
    const alone = { stated: undefined, actors: [], authentication: undefined, grant: undefined };
    return buildInput({ ...alone, now, tenant: source.id, subject, action, resource, context: more });
  };
  // From the second time on a principal's part is one that lasts.
  const [, inputs] = [asked, asked].map((all) => all.map((_, nth) => inputOf(nth))) as [
    unknown,
    PolicyInput[],
  ];
  const values = inputs.map(({ json }) => JSON.parse(json) as object);
  const metered = PolicyModule.compile(bundle.wasm).instantiate(bundle.data, limits);
  const theirs = loadPolicySync(Uint8Array.from(bundle.wasm).buffer, 16);
  theirs.setData(JSON.parse(bundle.data) as object);
  // Where a memory happens to lie makes some percent of a difference: another one each round.
  const inTurns = (module: PolicyModule) => {
    const instances = Array.from({ length: 7 }, () => module.instantiate(bundle.data, limits));
    let calls = 0;
    return (nth: number) => {
      const instance = instances[Math.floor(calls++ / CALLS) % instances.length] as PolicyInstance;
      return instance.evaluate(ENTRY, inputs[nth] as PolicyInput, context);
    };
  };
  const policy = {
    revision: bundle.revision,
    masks: false,
    approves: false,
    evaluate: metered.evaluate.bind(metered),
  };
  return {
    decide: (nth) => {
      const decisionId = uuidv7(context.nowMs, systemRandom(10));
      const request = checkRequest(requests[nth] as UncheckedRequest, AS_NAMED);
      const input = inputOf(nth, request);
      const decided = decide(policy, ENTRY, input, { nowMs: context.nowMs, seed: decisionId });
      const subject = (facts[nth] as Facts).ref;
      const head = {
        tenantNo: 1 as TenantNo,
        time: context.nowMs,
        decisionId,
        caller: 'service:bench',
        version: 7,
      };
      const named = { action: request.action.name, resource: request.resource, actors: [] };
      return Buffer.from(
        buildRecord(decisionDraft(head, decided, { subject, named, input: input.json })).body,
      );
    },
    'opa-wasm': (nth) => theirs.evaluate(values[nth], ENTRY),
    metered: inTurns(PolicyModule.compile(bundle.wasm)),
    unmetered: inTurns(PolicyModule.compileUnmetered(bundle.wasm)),
  };
}

const requestOf = ({ principal, action, document: { id, ...properties } }: Question): UncheckedRequest => ({
  subject: { type: 'user', id: principal.id },
  action: { name: action },
  resource: { type: 'document', id, properties },
});

/** As the store would give them: JSON texts. */
function factsFor({ principal }: Question): Facts {
  const { id, roles, properties } = factsOf(principal);
  const members = `"properties":${JSON.stringify(properties)},"groups":[],"roles":${JSON.stringify(roles)}`;
  return new Facts({ class: 'user', id }, 'active', members);
}

/** Microseconds a call in each round; the contenders take turns of a few milliseconds. */
function race(bench: Bench, by: Record<string, (nth: number) => unknown>): Map<string, number[]> {
  const [warm, rounds] = bench.quick ? [5, 20] : [20, 150];
  const times = new Map<string, number[]>(Object.keys(by).map((name) => [name, []]));
  const [forth, back] = [Object.entries(by), Object.entries(by).toReversed()];
  for (let round = -warm; round < rounds; round += 1)
    // Whoever comes after one that does the same finds the caches warm.
    for (const [name, answer] of round % 2 === 0 ? forth : back) {
      const began = performance.now();
      for (let call = 0; call < CALLS; call += 1) answer(call % 100);
      if (round >= 0) times.get(name)?.push(((performance.now() - began) * 1000) / CALLS);
    }
  return times;
}
