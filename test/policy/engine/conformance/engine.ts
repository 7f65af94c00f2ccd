import { ServiceError } from '../../../../src/errors.ts';
import type { PolicyInput } from '../../../../src/input.ts';
import { capabilitiesFor } from '../../../../src/policy/engine/capabilities.ts';
import { PolicyModule } from '../../../../src/policy/engine/module.ts';
import { context } from '../opa.ts';
import { agrees, type Case, inputsOf, jsonOf } from './cases.ts';
import { type Host, readCapabilities, refusalsBy, runCases, type Verdict } from './running.ts';

/** What a tenant has if neither its manifest nor the operator says otherwise. */
const defaults = { fuel: 20_000_000, memoryPages: 1_024 };

/** OPA's cases by the engine, compiled as a tenant's policies are. */
export async function runOurs(cases: readonly Case[]): Promise<Verdict[]> {
  const current = readCapabilities();
  const refusal = refusalsBy(current);
  const refused: Verdict[] = [];
  const usable = cases.filter((each) => {
    const problem = refusal(each);
    if (problem !== undefined) refused.push({ note: each.note, outcome: 'refused', problem });
    return problem === undefined;
  });
  return [...refused, ...(await runCases(usable, ourEngine, capabilitiesFor(current)))];
}

const ourEngine: Host = async (wasm, cases) => {
  const module = PolicyModule.compile(wasm);
  return cases.map((each): Verdict => {
    const problem = inputsOf(each)
      .map((input) => judgeWith(module, each, input))
      .find((found) => found !== undefined);
    return problem === undefined
      ? { note: each.note, outcome: 'passed' }
      : { note: each.note, outcome: 'failed', problem };
  });
};

/** What is wrong with our answer; undefined if nothing is. */
function judgeWith(module: PolicyModule, each: Case, input: string | PolicyInput): string | undefined {
  let result: string | undefined;
  try {
    const instance = module.instantiate(jsonOf(each.data ?? {}), defaults);
    ({ result } = instance.evaluateToJson(each.entrypoint, input, context));
    if (!instance.whole) return 'the memory is not as it was';
  } catch (error) {
    if (!(error instanceof ServiceError)) throw error;
    return wantsError(each) && error.code === 'policy_failed' ? undefined : `${error.code}: ${error.detail}`;
  }
  return judgeResult(each, result) ? undefined : `got ${result}`;
}

/** An error that ends the evaluation; one of a built-in leaves the result undefined. */
export const wantsError = (each: Case): boolean =>
  (each.want_error_code ?? each.want_error) !== undefined && !each.strict_error;

/** @param result as JSON; undefined if it is */
export function judgeResult(each: Case, result: string | undefined): boolean {
  const { want_result: wanted, want_defined: isDefined, isWrapped, sort_bindings: anyOrder = false } = each;
  if (isDefined !== undefined && wanted === undefined)
    return (result !== undefined && (!isWrapped || result !== '[]')) === isDefined;
  if (wanted === undefined) return each.strict_error === true && (result === undefined || result === '[]');
  if (isWrapped) return agrees(result, wanted, true);
  return agrees(result, wanted[0]?.['x'], anyOrder);
}
