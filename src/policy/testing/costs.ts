import type { ManifestPrincipal } from '../../tenancy/manifest.ts';
import type { Bench, Compiler } from '../compiler.ts';
import { MAPPING } from '../decided.ts';
import type { Limits } from '../engine/instance.ts';
import { PolicyModule } from '../engine/module.ts';
import { Names, nameOf } from '../naming/places.ts';
import type { PolicySources } from '../sources.ts';
import { build, compileTests, entrypointOf, isAsked, namesOf } from './compilation.ts';
import { builtinOfTests } from './earnest.ts';
import { Evaluator, type Stopwatch } from './evaluation.ts';
import { planned } from './planning.ts';
import { parseAll } from './syntax.ts';
import { askedIn, fullName } from './tables/asked.ts';

/** Something that is asked of a policy, and what it costs on the engine that serves. */
export interface Cost {
  readonly name: string;
  /** Fuel units, the same each time. */
  readonly fuel: number;
  /** The median of all runs on this machine, in microseconds, without what comes before and after an evaluation. */
  readonly microseconds: number;
  /** Of a rule: by which question it is dearest. */
  readonly at?: string;
  /** The code by which it ends, where it does not come to a value. */
  readonly error?: string;
}

export interface Costs {
  /** Tests in Rego, requests of tables, and inputs that were given: a whole decision each, but for the first. */
  readonly questions: readonly Cost[];
  /** Rules, each asked by itself with all that it calls. */
  readonly rules: readonly Cost[];
}

export interface CostOptions {
  /** Inputs of a decision, JSON. */
  readonly inputs: readonly { readonly name: string; readonly json: string }[];
  /** How often each question is asked. */
  readonly count: number;
  readonly limits: Limits;
  readonly principals: readonly ManifestPrincipal[];
  readonly nowMs: number;
  readonly stopwatch: Stopwatch;
}

/** Rules are asked no more questions than that. */
const MAX_ASKED = 100;
const MAX_RULES = 500;
/** Their input is another one. */
const APART: ReadonlySet<string | undefined> = new Set(['audit', 'approval', 'mandate']);

interface Question {
  readonly name: string;
  readonly entrypoint: string;
  readonly input: string;
  readonly nowMs: number;
}

/** What a tenant's policy costs, dearest first. Throws `policy_invalid` for what does not compile. */
export function costsOf(compiler: Compiler, sources: PolicySources, options: CostOptions): Promise<Costs> {
  const { limits, stopwatch, nowMs, principals, inputs, count } = options;
  return compiler.withTests(sources, async (bench) => {
    const [bundle, tests, asked] = await Promise.all([
      compiler.compile(sources),
      compileTests(bench, sources),
      askedIn(sources, principals, nowMs),
    ]);
    const decisions = [
      ...asked.map((each) => ({ name: fullName(each), input: each.input, nowMs: each.nowMs })),
      ...inputs.map(({ name, json }) => ({ name, input: json, nowMs })),
    ].map((each) => ({ ...each, entrypoint: 'mandate/decision' }));
    const serving = new Evaluator(PolicyModule.compile(bundle.wasm), bundle.data, limits, stopwatch);
    const questions = decisions.map((each) => costOf(serving, each, count));
    if (tests.module) {
      const testing = new Evaluator(tests.module, sources.data, limits, stopwatch);
      for (const test of tests.tests.filter(
        (each) => isAsked(each) && !tests.refused.has(entrypointOf(each)),
      ))
        questions.push(
          costOf(
            testing,
            { name: test.path.join('.'), entrypoint: entrypointOf(test), input: '', nowMs },
            count,
          ),
        );
    }
    const rules = await rulesCosts(bench, sources, decisions.slice(0, MAX_ASKED), options);
    return { questions: questions.sort(dearest), rules: rules.sort(dearest) };
  });
}

const dearest = (a: Cost, b: Cost): number => b.fuel - a.fuel || (a.name < b.name ? -1 : 1);

/** The engine counts by entry point, so each rule is one: rules that are no function, as these have no value. */
async function rulesCosts(
  bench: Bench,
  sources: PolicySources,
  questions: readonly Question[],
  { limits, stopwatch, count }: CostOptions,
): Promise<Cost[]> {
  if (questions.length === 0) return [];
  const files = [...sources.modules.keys()].map((file) => `tenant/${file}`);
  const names = new Set<string>();
  for (const syntax of (await parseAll(files, bench.run)).values()) {
    const { package: own } = new Names(syntax, new Set());
    if (APART.has(own[1])) continue;
    // Other packages of such a tenant have another input than the questions.
    if (sources.decision !== undefined && own[1] !== MAPPING && own[1] !== 'delegation') continue;
    for (const { head } of syntax.rules ?? [])
      if (!head.args) names.add([...own.slice(1), nameOf(head)].map(encodeURIComponent).join('/'));
  }
  const { built } = await planned([...names].slice(0, MAX_RULES), (entrypoints) =>
    build(bench, {
      entrypoints,
      folder: 'tenant',
      names: namesOf(sources),
      capabilities: bench.capabilities,
    }),
  );
  if (!built) return [];
  const module = PolicyModule.compile(built, builtinOfTests);
  const evaluator = new Evaluator(module, sources.data, limits, stopwatch);
  return [...names]
    .filter((each) => module.entrypoints.has(each))
    .flatMap((entrypoint) => {
      const [most] = questions
        .map((each) => ({ each, cost: evaluator.evaluate(entrypoint, contextOf(each), each.input).cost }))
        .sort((a, b) => b.cost - a.cost);
      if (!most) return [];
      const cost = costOf(evaluator, { ...most.each, entrypoint }, count);
      return [{ ...cost, name: entrypoint.split('/').map(decodeURIComponent).join('.'), at: most.each.name }];
    });
}

const contextOf = ({ name, nowMs }: Question) => ({ nowMs, seed: name });

function costOf(evaluator: Evaluator, question: Question, count: number): Cost {
  const { name, entrypoint, input } = question;
  const runs = Array.from({ length: count }, () =>
    evaluator.evaluate(entrypoint, contextOf(question), input),
  );
  const times = runs.map(({ milliseconds }) => milliseconds).sort((a, b) => a - b);
  const [first] = runs;
  return {
    name,
    fuel: first?.cost ?? 0,
    microseconds: Math.round((times[times.length >> 1] ?? 0) * 1_000),
    ...(first?.error ? { error: first.error.code } : {}),
  };
}
