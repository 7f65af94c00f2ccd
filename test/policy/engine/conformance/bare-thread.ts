import { createRequire } from 'node:module';
import { parentPort } from 'node:worker_threads';
import { type Case, inputsOf, jsonOf } from './cases.ts';
import { judgeResult, wantsError } from './engine.ts';
import type { Verdict } from './running.ts';

// It is CommonJS, whose names Node does not find.
const opaWasm = createRequire(import.meta.url)(
  '@open-policy-agent/opa-wasm',
) as typeof import('@open-policy-agent/opa-wasm');

/** What the main thread sends: a module, and the case of it that is to be run. */
export interface Task {
  readonly wasm: Uint8Array;
  readonly each: Case;
}

/** The stock host, on a thread of its own as it may never come back. */
async function judge({ wasm, each }: Task): Promise<Verdict> {
  const { note } = each;
  try {
    const policy = await opaWasm.loadPolicy(Buffer.from(wasm));
    policy.setData(JSON.parse(jsonOf(each.data ?? {})) as object);
    const [first] = inputsOf(each);
    const input = typeof first === 'string' ? first : (first?.json ?? '');
    const results = policy.evaluate(
      input === '' ? undefined : new TextEncoder().encode(input).buffer,
      each.entrypoint,
    ) as { result: unknown }[] | null;
    const result = results?.[0] === undefined ? undefined : JSON.stringify(results[0].result);
    if (wantsError(each)) return { note, outcome: 'failed', problem: 'no error' };
    return judgeResult(each, result)
      ? { note, outcome: 'passed' }
      : { note, outcome: 'failed', problem: `got ${result}` };
  } catch (error) {
    const problem = error instanceof Error ? error.message : JSON.stringify(error);
    if (problem.includes('not implemented: built-in function')) return { note, outcome: 'refused', problem };
    return { note, outcome: wantsError(each) ? 'passed' : 'failed', problem };
  }
}

parentPort?.on('message', (task: Task) => {
  void judge(task).then((verdict) => parentPort?.postMessage(verdict));
});
