import { ServiceError } from '../../errors.ts';
import type { PolicyInput } from '../../input.ts';
import { type Abi, bindAbi, bindFloor, bindFuel } from './abi.ts';
import type { Builtin } from './builtins/builtin.ts';
import { Abort, toServiceError } from './failure.ts';
import { Heap } from './heap.ts';
import { type EvaluationContext, Host } from './host.ts';
import { Inputs } from './input.ts';
import { Integrity, type Span } from './integrity.ts';
import { readPlainValue } from './memory/plain.ts';
import { resultIn } from './memory/reader.ts';
import { align, reserve } from './memory/room.ts';
import { ValueReader } from './memory/values.ts';
import { ValueWriter } from './memory/writer.ts';
import { type StaticLayout, Statics } from './metering/statics.ts';
import { valueBelow } from './values/below.ts';
import { parseExactJson } from './values/exact.ts';
import { toJson } from './values/json.ts';
import { type WasmGlobal, type WasmMemory, type WasmModule, wasm } from './webassembly.ts';

export type { EvaluationContext } from './host.ts';

export interface Limits {
  /** Fuel units of one evaluation, at most 2^31 - 1. A unit stands for up to eight WebAssembly instructions. */
  readonly fuel: number;
  /** Pages of 64 KiB, data, input and working memory together. */
  readonly memoryPages: number;
}

export interface Evaluation {
  /** The entry point's value; undefined if it has none. Integers beyond 2^53 are rounded, as in any JSON.parse. */
  readonly result: unknown;
  /** Fuel units spent: equal for equal module, data, input and context. */
  readonly cost: number;
}

/** What an instance is made of; only PolicyModule puts it together. */
export interface InstanceParts {
  readonly module: WasmModule;
  readonly entrypoints: ReadonlyMap<string, number>;
  /** Built-ins by the module's id. */
  readonly builtins: readonly (Builtin | undefined)[];
  /** The memory that the module itself asks for, in pages. */
  readonly minimumPages: number;
  readonly statics: StaticLayout | undefined;
  readonly print: (line: string) => void;
}

const maximumFuel = 2 ** 31 - 1;
/** Small policies then never grow their memory, which replaces the views of it. */
const usualPages = 8;
/** Input, data, result and entry point, a word each. */
const contextBytes = 16;
/** A policy in a memory of its own, for one tenant at a time. Not reentrant, and of no use after a failure. */
export class PolicyInstance {
  readonly #entrypoints: ReadonlyMap<string, number>;
  readonly #limits: Limits;
  readonly #heap: Heap;
  readonly #host: Host;
  readonly #abi: Abi;
  readonly #fuel: WasmGlobal;
  readonly #floor: WasmGlobal;
  /** The address of the data, and where the heap is free behind it. */
  readonly #data: number;
  readonly #free: number;
  readonly #statics: Statics | undefined;
  readonly #integrity: Integrity;
  /** The end of all that evaluations have written since the memory was as new. */
  #written: number;
  readonly #inputs: Inputs;
  #poisoned = false;
  #budget = 0;

  /**
   * @throws ServiceError `policy_memory_exceeded`, `policy_invalid` for data that is no JSON, or
   * `resource_exhausted` if the process can hold no more instances
   */
  constructor(parts: InstanceParts, dataJson: string, limits: Limits) {
    if (parts.minimumPages > limits.memoryPages)
      throw new ServiceError('policy_memory_exceeded', 'The policy needs more memory than it may have.');
    const initial = Math.min(Math.max(parts.minimumPages, usualPages), limits.memoryPages);
    this.#heap = new Heap(reserveMemory(initial, limits.memoryPages));
    this.#host = new Host(this.#heap, parts.print);
    this.#entrypoints = parts.entrypoints;
    this.#limits = limits;
    const instance = new wasm.Instance(parts.module, { env: this.#host.imports() });
    this.#abi = bindAbi(instance);
    this.#fuel = bindFuel(instance);
    this.#floor = bindFloor(instance);
    this.#host.bind(this.#abi, this.#fuel, parts.builtins);
    this.#data = this.#load(dataJson);
    this.#free = align(this.#abi.opa_heap_ptr_get() >>> 0);
    this.#written = this.#free;
    this.#statics = parts.statics && new Statics(this.#heap, parts.statics);
    this.#integrity = new Integrity(this.#heap, spansOf(parts.statics, this.#free));
    this.#inputs = new Inputs(this.#abi, this.#heap, this.#fuel, this.#free + contextBytes);
  }

  /** True after any failure during an evaluation: evaluate() then throws, and the owner discards the instance. */
  get poisoned(): boolean {
    return this.#poisoned;
  }

  /** Whether all that evaluations only read is as it was. */
  get whole(): boolean {
    return this.#integrity.isWhole();
  }

  /** Fuel units that the last evaluation spent, also one that failed. */
  get spent(): number {
    return this.#budget - Math.max(0, this.#fuel.value);
  }

  /** The size of the memory. It never shrinks, so an owner recycles an instance that has grown. */
  get memoryBytes(): number {
    return this.#heap.size;
  }

  /** The memory as it is before the first evaluation: what `restore` takes. Only of a fresh instance. */
  image(): Uint8Array {
    return Uint8Array.from(this.#heap.view.subarray(0, this.#free));
  }

  /**
   * Makes the instance as new, with nothing left of what it evaluated: every byte is written that an evaluation can
   * have written. `image` is that of an instance of the same module and data. Answers false if it cannot be: then it is
   * to be discarded.
   */
  restore(image: Uint8Array): boolean {
    if (this.#poisoned || !this.#statics || image.length !== this.#free) return false;
    this.#note();
    const { view } = this.#heap;
    view.set(image);
    view.fill(0, image.length, this.#written);
    this.#written = image.length;
    this.#statics.restore();
    this.#inputs.forget();
    return true;
  }

  /** The module's allocator goes up only, and the host writes below where it begins. */
  #note(): void {
    this.#written = Math.max(this.#written, this.#abi.opa_heap_ptr_get() >>> 0);
  }

  /**
   * Evaluates one entry point.
   * @param entrypoint a path such as `mandate/decision`
   * @param input a value, or JSON, empty for an undefined input
   * @param fuel the budget in units, if not the limits'
   * @throws ServiceError `policy_undefined` for an entry point that does not exist, `payload_too_large` for an input
   * that is; `deadline_exceeded` when the fuel is gone, `policy_memory_exceeded`, `policy_failed`, which all poison the
   * instance.
   */
  evaluate(
    entrypoint: string,
    input: PolicyInput | string,
    context: EvaluationContext,
    fuel: number = this.#limits.fuel,
  ): Evaluation {
    const budget = Math.min(fuel, maximumFuel);
    const id = this.#begin(entrypoint, input, context, budget);
    try {
      const set = this.#run(id, input, budget) >>> 0;
      const address = resultIn(this.#heap, set);
      const result = address === 0 ? undefined : readPlainValue(this.#heap, address, this.#host.spends);
      return { result, cost: budget - this.#fuel.value };
    } catch (cause) {
      throw this.#failed(cause);
    }
  }

  /**
   * The entry point's value as JSON text, numbers exact, or what of it is at `below`; undefined if it has none. Throws what
   * evaluate() throws.
   */
  evaluateToJson(
    entrypoint: string,
    input: PolicyInput | string,
    context: EvaluationContext,
    fuel: number = this.#limits.fuel,
    below: readonly string[] = [],
  ): { readonly result: string | undefined; readonly cost: number } {
    const budget = Math.min(fuel, maximumFuel);
    const id = this.#begin(entrypoint, input, context, budget);
    try {
      const address = resultIn(this.#heap, this.#run(id, input, budget) >>> 0);
      const result = address === 0 ? undefined : this.#jsonAt(address, below);
      return { result, cost: budget - this.#fuel.value };
    } catch (cause) {
      throw this.#failed(cause);
    }
  }

  #jsonAt(address: number, below: readonly string[]): string | undefined {
    const { spends } = this.#host;
    const value = valueBelow(new ValueReader(this.#heap, spends).read(address), below);
    return value === undefined ? undefined : toJson(value, spends);
  }

  /** The entry point's id. */
  #begin(
    entrypoint: string,
    input: PolicyInput | string,
    context: EvaluationContext,
    budget: number,
  ): number {
    const id = this.#entrypoints.get(entrypoint);
    if (id === undefined) throw new ServiceError('policy_undefined', 'The policy has no such entry point.');
    if (this.#poisoned)
      throw new ServiceError('policy_failed', 'The policy could not be evaluated.', {
        detail: 'the instance failed before and must be discarded',
      });
    this.#inputs.admit(input, budget);
    this.#budget = budget;
    this.#fuel.value = budget;
    this.#host.begin(context);
    return id;
  }

  /** The address of the result set. */
  #run(entrypoint: number, input: PolicyInput | string, budget: number): number {
    this.#note();
    this.#statics?.restore();
    this.#floor.value = this.#free;
    const value = this.#inputs.place(input, budget);
    this.#floor.value = this.#abi.opa_heap_ptr_get();
    const context = this.#free >>> 2;
    const { words } = this.#heap;
    words[context] = value;
    words[context + 1] = this.#data;
    words[context + 2] = 0;
    words[context + 3] = entrypoint;
    if (this.#abi.eval(this.#free) !== 0) throw new Abort('eval failed');
    if (!this.#integrity.holds())
      throw new ServiceError('internal', 'The decision point has found a fault of its own.', {
        detail: 'an evaluation changed what evaluations only read',
      });
    return this.#heap.words[context + 2] as number;
  }

  #failed(cause: unknown): ServiceError {
    this.#poisoned = true;
    return toServiceError(cause, this.#fuel.value);
  }

  #load(dataJson: string): number {
    this.#fuel.value = maximumFuel;
    try {
      const start = align(this.#abi.opa_heap_ptr_get() >>> 0);
      const writer = new ValueWriter(this.#heap, (address, size) => reserve(this.#abi, address, size));
      const data = writer.writeShared(parseExactJson(dataJson), start);
      this.#abi.opa_heap_ptr_set(align(writer.end));
      return data;
    } catch (cause) {
      if (cause instanceof SyntaxError || cause instanceof RangeError)
        throw new ServiceError('policy_invalid', 'The data of the policy is not JSON, or nested too deep.', {
          cause,
        });
      throw this.#failed(cause);
    }
  }
}

/** The constants and the data; between them are the variables, and before them the stack. */
function spansOf(statics: StaticLayout | undefined, free: number): Span[] {
  if (!statics) return [];
  const { constants, start, end } = statics;
  return [
    { start: constants, end: start },
    { start: end, end: free },
  ];
}

/** Each memory reserves addresses for all it could ever grow to: a process holds some 15,000 of them. */
function reserveMemory(initial: number, maximum: number): WasmMemory {
  try {
    return new wasm.Memory({ initial, maximum });
  } catch (cause) {
    throw new ServiceError('resource_exhausted', 'No more policies can be loaded at the moment.', { cause });
  }
}
