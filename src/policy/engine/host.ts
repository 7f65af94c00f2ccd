import type { Abi } from './abi.ts';
import { type Builtin, type BuiltinContext, BuiltinError } from './builtins/builtin.ts';
import { routedBuiltins } from './builtins/routed.ts';
import { Abort, FuelExhausted } from './failure.ts';
import type { Heap } from './heap.ts';
import { firstRouted, firstService } from './linking/calls.ts';
import { align, reserve } from './memory/room.ts';
import { ValueReader } from './memory/values.ts';
import { ValueWriter } from './memory/writer.ts';
import { services } from './services.ts';
import { payFor } from './values/cost.ts';
import type { Value } from './values/values.ts';
import type { WasmGlobal, WasmImports } from './webassembly.ts';

/** What an evaluation may know beside its input. */
export interface EvaluationContext {
  /** Milliseconds since the Unix epoch: what `time.now_ns()` returns. */
  readonly nowMs: number;
  /** The decision's id: `rand` and `uuid` are functions of it and of their arguments. */
  readonly seed: string;
}

/** Fuel units of a call that has no bytes to speak of: measured, a microsecond with its way in and out. */
const fuelPerCall = 1_000;
/** Fuel units of a call that fails: an exception takes the host some two microseconds more. */
const fuelPerFailure = 2_000;

/** The host's half of the ABI for one instance: aborts, prints and calls of built-ins. */
export class Host implements BuiltinContext {
  readonly #heap: Heap;
  readonly #print: (line: string) => void;
  #builtins: readonly (Builtin | undefined)[] = [];
  #abi: Abi | undefined;
  #fuel: WasmGlobal | undefined;
  #evaluation: EvaluationContext = { nowMs: 0, seed: '' };
  #writer: ValueWriter | undefined;
  /** As a function of its own. */
  readonly spends = (units: number): void => this.spend(units);

  constructor(heap: Heap, print: (line: string) => void) {
    this.#heap = heap;
    this.#print = print;
  }

  /** The instance's exports exist only after its imports, so they arrive later. */
  bind(abi: Abi, fuel: WasmGlobal, builtins: readonly (Builtin | undefined)[]): void {
    this.#abi = abi;
    this.#fuel = fuel;
    this.#builtins = builtins;
  }

  begin(evaluation: EvaluationContext): void {
    this.#evaluation = evaluation;
  }

  get nowMs(): number {
    return this.#evaluation.nowMs;
  }

  get seed(): string {
    return this.#evaluation.seed;
  }

  spend(units: number): void {
    const fuel = this.#fuel;
    if (!fuel) return;
    const left = fuel.value - Math.ceil(units);
    // Below zero in 32 bits whatever was asked for, so that the trap is told from others.
    fuel.value = Math.max(left, -1);
    if (!(left >= 0)) throw new FuelExhausted('a built-in spent the last fuel');
  }

  imports(): WasmImports {
    return {
      memory: this.#heap.memory,
      opa_abort: (address: number) => {
        throw new Abort(this.#heap.text(address >>> 0));
      },
      opa_println: (address: number) => this.#print(this.#heap.text(address >>> 0)),
      opa_builtin0: (id: number) => this.#call(id, []),
      opa_builtin1: (id: number, _: number, a: number) => this.#call(id, [a]),
      opa_builtin2: (id: number, _: number, a: number, b: number) => this.#call(id, [a, b]),
      opa_builtin3: (id: number, _: number, a: number, b: number, c: number) => this.#call(id, [a, b, c]),
      opa_builtin4: (id: number, _: number, a: number, b: number, c: number, d: number) =>
        this.#call(id, [a, b, c, d]),
    };
  }

  /** Address 0 is an undefined value. */
  #call(id: number, addresses: readonly number[]): number {
    const abi = this.#abi;
    if (!abi) throw new Abort('a built-in is called while the module begins');
    if (id >= firstService) return this.#serve(id, addresses);
    const builtin = id >= firstRouted ? routedBuiltins[id - firstRouted] : this.#builtins[id];
    if (!builtin) throw new Abort(`built-in ${id} is not known`);
    this.spend(fuelPerCall);
    const reader = new ValueReader(this.#heap, this.spends);
    const args = addresses.map((address) => reader.read(address >>> 0));
    const result = this.#result(builtin, args);
    return result === undefined ? 0 : this.#write(abi, result);
  }

  #serve(id: number, [a = 0, b = 0]: readonly number[]): number {
    const service = services.get(id);
    if (!service) throw new Abort(`service ${id} is not known`);
    return service(this.#heap, this.spends, a >>> 0, b >>> 0);
  }

  #result(builtin: Builtin, args: readonly Value[]): Value | undefined {
    const { stackTraceLimit } = Error;
    // A tenant can have a built-in fail ten thousand times an evaluation, and a trace takes ten microseconds.
    Error.stackTraceLimit = 0;
    try {
      return builtin(args, this);
    } catch (error) {
      if (!(error instanceof BuiltinError)) throw error;
      this.spend(fuelPerFailure);
      return undefined;
    } finally {
      Error.stackTraceLimit = stackTraceLimit;
    }
  }

  /** Behind what the module has allocated. */
  #write(abi: Abi, result: Value): number {
    payFor(result, this.spends);
    const start = align(abi.opa_heap_ptr_get() >>> 0);
    this.#writer ??= new ValueWriter(this.#heap, (address, size) => this.#grow(abi, address, size));
    const address = this.#writer.writeResult(result, start);
    abi.opa_heap_ptr_set(align(this.#writer.end));
    return address;
  }

  /** What a result takes was paid for; that the memory has to grow for it depends on what came before. */
  #grow(abi: Abi, address: number, size: number): void {
    const fuel = this.#fuel;
    const left = fuel?.value ?? 0;
    reserve(abi, address, size);
    if (fuel) fuel.value = left;
  }
}
