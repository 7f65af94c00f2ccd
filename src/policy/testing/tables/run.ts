import { RE2JS } from 're2js';
import { ServiceError } from '../../../errors.ts';
import type { Bench, Compiler } from '../../compiler.ts';
import { PolicyModule } from '../../engine/module.ts';
import type { PolicySources } from '../../sources.ts';
import { Evaluator } from '../evaluation.ts';
import type { Judged } from '../judgement.ts';
import type { Passed } from '../reached/measure.ts';
import type { TestOptions } from '../run.ts';
import { askedIn, fullName } from './asked.ts';
import { judgeTabled } from './judgement.ts';
import { opinionsOn } from './opinions.ts';

/** The entry point that a service asks: the tenant's rules with the platform's guardrails. */
const DECISION = 'mandate/decision';

export interface RanTables {
  readonly tests: readonly Judged[];
  readonly passed: readonly Passed[];
}

/**
 * Runs the tests of a tenant's tables: each is a whole decision by the module that serves, within the tenant's limits.
 * Throws `policy_invalid` for a table that is not understood, and for what does not compile.
 */
export async function runTables(
  compiler: Compiler,
  bench: Bench,
  sources: PolicySources,
  { only, limits, clock, stopwatch, principals }: TestOptions,
): Promise<RanTables> {
  if (sources.tables.size === 0) return { tests: [], passed: [] };
  const all = await askedIn(sources, principals, clock());
  const chosen = only === undefined ? undefined : expression(only);
  const asked = chosen ? all.filter((each) => chosen.matcher(fullName(each)).find()) : all;
  if (asked.length === 0) return { tests: [], passed: [] };
  const [{ wasm, data }, opinions] = await Promise.all([compiler.compile(sources), opinionsOn(bench, asked)]);
  const evaluator = new Evaluator(PolicyModule.compile(wasm), data, limits, stopwatch);
  const passed: Passed[] = [];
  const tests = asked.map((each, at) => {
    const context = { nowMs: each.nowMs, seed: fullName(each) };
    const evaluated = evaluator.evaluate(DECISION, context, each.input);
    const { value } = evaluated;
    passed.push({ name: fullName(each), entrypoint: DECISION, context, input: each.input, value });
    return judgeTabled(each, evaluated, opinions[at] ?? { silent: 'it was not asked' });
  });
  return { tests, passed };
}

/** Of Go's kind, as OPA takes it for tests in Rego. */
function expression(only: string): RE2JS {
  try {
    return RE2JS.compile(only);
  } catch (cause) {
    throw new ServiceError('invalid_request', `--run: ${(cause as Error).message}`, { cause });
  }
}
