import { createRequire } from 'node:module';
import { Worker } from 'node:worker_threads';
import { ServiceError } from '../../errors.ts';
import { type Asked, answered, type Whole } from '../../policy/explain/engine.ts';

/** By the wall clock: that host has no bound of its own. */
const MOST_MS = 5_000;
const MAX_HEAP_MIB = 512;
const PACKAGE = '@open-policy-agent/opa-wasm';

/** What its thread is given. */
export interface StockAsked extends Asked {
  readonly wasm: Uint8Array;
  readonly data: string;
  /** The package, as this module finds it. */
  readonly host: string;
}

/** JSON of the value; undefined where it has none. */
export type StockSaid = { readonly result: string | undefined } | { readonly problem: string };

/** OPA's WebAssembly host of npm, in a thread that is ended. Throws `unavailable` where it is not installed. */
export async function askStock(wasm: Uint8Array, data: string, asked: Asked): Promise<Whole> {
  const workerData: StockAsked = { ...asked, wasm, data, host: found() };
  const file = import.meta.url.endsWith('.ts') ? './stock-thread.ts' : './stock-thread.js';
  const worker = new Worker(new URL(file, import.meta.url), {
    workerData,
    name: 'mandate-stock',
    env: {},
    resourceLimits: { maxOldGenerationSizeMb: MAX_HEAP_MIB },
  });
  const said = await new Promise<StockSaid | undefined>((resolve) => {
    const timer = setTimeout(() => resolve(undefined), MOST_MS);
    const end = (answer: StockSaid): void => {
      clearTimeout(timer);
      resolve(answer);
    };
    worker.once('message', end);
    worker.once('error', (error: unknown) => end({ problem: String(error) }));
  });
  await worker.terminate();
  if (!said) return failed('unavailable', 'it took too long', true);
  return 'problem' in said ? failed('policy_failed', said.problem, false) : answered(said.result, 0);
}

const failed = (code: string, message: string, isLimited: boolean): Whole => ({
  answer: { result: '', cost: 0, code, message: message.slice(0, 400) },
  value: undefined,
  isLimited,
});

function found(): string {
  try {
    return createRequire(import.meta.url).resolve(PACKAGE);
  } catch (cause) {
    throw new ServiceError('unavailable', `${PACKAGE} is not installed: npm install ${PACKAGE}`, { cause });
  }
}
