import { createRequire } from 'node:module';
import { parentPort, workerData } from 'node:worker_threads';
import type { StockAsked, StockSaid } from './stock.ts';

/** What of the package is called; it is no dependency, so its types are not there. */
interface Host {
  loadPolicySync(
    wasm: Uint8Array,
    memory: number,
    builtins: Readonly<Record<string, (...args: unknown[]) => unknown>>,
  ): {
    setData(data: unknown): void;
    evaluate(input: unknown, entryPoint: string): readonly { readonly result?: unknown }[];
  };
}

const MEMORY_PAGES = 16;
const NANOSECONDS = 1_000_000;

function evaluated({ host, wasm, data, input, entryPoint, nowMs }: StockAsked): StockSaid {
  try {
    const stock = createRequire(import.meta.url)(host) as Host;
    // It has no clock of its own; what it has no built-in for it says itself.
    const builtins = { 'time.now_ns': () => nowMs * NANOSECONDS };
    const policy = stock.loadPolicySync(wasm, MEMORY_PAGES, builtins);
    policy.setData(JSON.parse(data));
    const [first] = policy.evaluate(JSON.parse(input), entryPoint);
    return { result: first?.result === undefined ? undefined : JSON.stringify(first.result) };
  } catch (error) {
    return { problem: error instanceof Error ? error.message : String(error) };
  }
}

parentPort?.postMessage(evaluated(workerData as StockAsked));
