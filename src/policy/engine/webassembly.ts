import v8 from 'node:v8';

/**
 * The part of the WebAssembly JavaScript API that the engine uses. The library with its types (`dom`, `webworker`)
 * would bring every global of a browser along, and names such as `self` or `name` would pass the type checker.
 */

export interface WasmMemory {
  readonly buffer: ArrayBuffer;
}

export interface WasmGlobal {
  value: number;
}

/** Opaque: only made, and given to Instance. */
export interface WasmModule {
  readonly [Symbol.toStringTag]: string;
}

export type WasmImports = Readonly<Record<string, WasmMemory | ((...args: number[]) => number | void)>>;

export interface WasmInstance {
  readonly exports: Readonly<Record<string, unknown>>;
}

interface Api {
  readonly Module: new (bytes: Uint8Array) => WasmModule;
  readonly Instance: new (module: WasmModule, imports: Readonly<Record<string, WasmImports>>) => WasmInstance;
  /** Sizes in pages of 64 KiB. */
  readonly Memory: new (size: {
    initial: number;
    maximum?: number;
  }) => WasmMemory;
  readonly Global: new (type: { value: 'i32'; mutable: boolean }, value: number) => WasmGlobal;
}

/**
 * V8 replaces the code between a module and the functions it imports after a thousand calls, and has freed it twice where
 * modules and threads come and go: the process ends with it (seen in Node 24.21). Without, a call out costs 15 ns more.
 */
v8.setFlagsFromString('--wasm-wrapper-tiering-budget=2147483647');

export const wasm: Api = (globalThis as unknown as { WebAssembly: Api }).WebAssembly;
