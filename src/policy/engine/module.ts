import { ServiceError } from '../../errors.ts';
import { bindAbi } from './abi.ts';
import { readImports, readSections } from './binary/sections.ts';
import type { Builtin } from './builtins/builtin.ts';
import { hostBuiltins } from './builtins/index.ts';
import { toServiceError } from './failure.ts';
import { Heap } from './heap.ts';
import { Host } from './host.ts';
import { type InstanceParts, type Limits, PolicyInstance } from './instance.ts';
import { link } from './linking/link.ts';
import { meter } from './metering/fuel.ts';
import { findStatics, locateHeapTop, type StaticLayout, type StaticRange } from './metering/statics.ts';
import { type WasmModule, wasm } from './webassembly.ts';

/** Compiled once per revision and shared by its instances. */
export class PolicyModule {
  readonly #module: WasmModule;
  readonly #minimumPages: number;
  readonly #statics: StaticLayout | undefined;
  readonly #builtins: readonly (Builtin | undefined)[];
  /** The id of each entry point by its path. */
  readonly entrypoints: ReadonlyMap<string, number>;

  private constructor(bytes: Uint8Array, beside: Beside) {
    const sections = readSections(bytes);
    this.#minimumPages = readImports(sections).memoryPages;
    this.#module = new wasm.Module(bytes);
    const { entrypoints, builtins, statics } = this.#outline(findStatics(sections));
    this.#statics = statics;
    this.entrypoints = new Map(Object.entries(entrypoints));
    const byId: Builtin[] = [];
    for (const [name, id] of Object.entries(builtins)) byId[id] = findBuiltin(name, beside);
    this.#builtins = byId;
  }

  /**
   * Meters and compiles what `opa build -t wasm` wrote.
   * @param beside built-ins that only this module has
   * @throws ServiceError `policy_invalid` if it is no such module, or calls a built-in this engine does not have
   */
  static compile(bytes: Uint8Array, beside: Beside = nothing): PolicyModule {
    return compileAs(() => new PolicyModule(meter(link(bytes)), beside));
  }

  /** For measurements and for policies of trusted origin only: nothing stops an evaluation. */
  static compileUnmetered(bytes: Uint8Array): PolicyModule {
    return compileAs(() => new PolicyModule(link(bytes), nothing));
  }

  /**
   * An instance with its own memory and the data loaded.
   * @param dataJson the value of `data`, a JSON object
   * @throws ServiceError `policy_memory_exceeded` or `policy_invalid`
   */
  instantiate(dataJson: string, limits: Limits, print: (line: string) => void = () => {}): PolicyInstance {
    const parts: InstanceParts = {
      module: this.#module,
      entrypoints: this.entrypoints,
      builtins: this.#builtins,
      minimumPages: this.#minimumPages,
      statics: this.#statics,
      print,
    };
    return new PolicyInstance(parts, dataJson, limits);
  }

  /** What the module says of itself, which takes an instance to ask. */
  #outline(range: StaticRange | undefined): Outline {
    // An odd number of pages: powers of two are in a table of the runtime.
    const heap = new Heap(new wasm.Memory({ initial: (this.#minimumPages + 2) | 1 }));
    const host = new Host(heap, () => {});
    const abi = bindAbi(new wasm.Instance(this.#module, { env: host.imports() }));
    const read = (value: number): Record<string, number> =>
      JSON.parse(heap.text(abi.opa_json_dump(value) >>> 0)) as Record<string, number>;
    const statics = locateHeapTop(heap, range);
    return { entrypoints: read(abi.entrypoints()), builtins: read(abi.builtins()), statics };
  }
}

interface Outline {
  readonly entrypoints: Readonly<Record<string, number>>;
  readonly builtins: Readonly<Record<string, number>>;
  readonly statics: StaticLayout | undefined;
}

/** Built-ins by name that are none of the engine's own. */
type Beside = (name: string) => Builtin | undefined;

const nothing: Beside = () => undefined;

function findBuiltin(name: string, beside: Beside): Builtin {
  const builtin = hostBuiltins.get(name) ?? beside(name);
  if (!builtin)
    throw new ServiceError('policy_invalid', `The policy uses the built-in ${name}, which is not available.`);
  return builtin;
}

function compileAs(build: () => PolicyModule): PolicyModule {
  try {
    return build();
  } catch (cause) {
    if (cause instanceof ServiceError) throw cause;
    const { detail } = toServiceError(cause, 0);
    throw new ServiceError('policy_invalid', 'The compiled policy is not a usable WebAssembly module.', {
      cause,
      ...(detail === undefined ? {} : { detail }),
    });
  }
}
