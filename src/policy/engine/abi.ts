import { ServiceError } from '../../errors.ts';
import { floorExport } from './linking/link.ts';
import { fuelExport } from './metering/fuel.ts';
import { type WasmGlobal, type WasmInstance, wasm } from './webassembly.ts';

/** The exports of OPA's WASM ABI 1.2 and later that the host uses. Addresses are signed here, unsigned in truth. */
export interface Abi {
  /** Evaluates what stands in a context: input, data, result, entry point, a word each. Not 0 for a failure. */
  eval(context: number): number;
  opa_malloc(size: number): number;
  opa_free(address: number): void;
  opa_value_parse(address: number, length: number): number;
  opa_json_parse(address: number, length: number): number;
  opa_value_dump(value: number): number;
  opa_json_dump(value: number): number;
  opa_heap_ptr_get(): number;
  opa_heap_ptr_set(address: number): void;
  /** An object value: the name of each built-in the module imports, and its id. */
  builtins(): number;
  /** An object value: the path of each entry point, and its id. */
  entrypoints(): number;
}

const required = [
  'eval',
  'opa_malloc',
  'opa_free',
  'opa_value_parse',
  'opa_json_parse',
  'opa_value_dump',
  'opa_json_dump',
  'opa_heap_ptr_get',
  'opa_heap_ptr_set',
  'builtins',
  'entrypoints',
] as const satisfies readonly (keyof Abi)[];

/** @throws ServiceError `policy_invalid` if the module is not one of OPA's, or of an ABI older than 1.2 */
export function bindAbi(instance: WasmInstance): Abi {
  const { exports } = instance;
  const missing = required.find((name) => typeof exports[name] !== 'function');
  if (missing) throw unusable(`the export ${missing} is missing`);
  const major = readGlobal(exports['opa_wasm_abi_version']);
  const minor = readGlobal(exports['opa_wasm_abi_minor_version']);
  if (major !== 1 || minor < 2) throw unusable(`the ABI is ${major}.${minor}, not 1.2 or later`);
  return exports as unknown as Abi;
}

/** The fuel global; a stand-in that only built-ins spend if the module is not metered. */
export function bindFuel(instance: WasmInstance): WasmGlobal {
  const global = instance.exports[fuelExport];
  if (global instanceof wasm.Global) return global;
  return new wasm.Global({ value: 'i32', mutable: true }, 0);
}

/** The address below which nothing is freed. @throws ServiceError `policy_invalid` if the module is not linked */
export function bindFloor(instance: WasmInstance): WasmGlobal {
  const global = instance.exports[floorExport];
  if (global instanceof wasm.Global) return global;
  throw unusable('it is not linked');
}

function readGlobal(value: unknown): number {
  return value instanceof wasm.Global ? value.value : Number.NaN;
}

function unusable(detail: string): ServiceError {
  return new ServiceError('policy_invalid', 'The compiled policy is not one this engine can run.', {
    detail,
  });
}
