import { MalformedModule, type Reader, refuseMalformed, signed, unsigned } from '../binary/leb128.ts';
import { opcode } from '../binary/opcodes.ts';
import {
  concat,
  countEntries,
  importKind,
  magic,
  readImports,
  readSections,
  section,
  sectionOrder,
} from '../binary/sections.ts';
import { chargeCallers, type MeteredFunction, readFunction } from './charges.ts';

/**
 * Deterministic fuel for a WebAssembly module.
 *
 * WebAssembly on the main thread cannot be interrupted from outside, so the module is rewritten to stop itself: each
 * function entry and each loop iteration subtracts a constant from a global and traps when there is not enough left.
 *
 * The constant is an eighth of the number of instructions that belong directly to the function or to the loop, those
 * of inner loops excluded, rounded up. No instruction runs more often than its innermost loop iterates, so a unit
 * never stands for more than eight instructions executed: a bound of the time whatever the shape of the code.
 * A constant of one would cost the same at run time and let one long function do the work of thousands for 1.
 * Charging each branch apart halves the difference to the instructions in fact executed, for half as much overhead
 * again; keeping the fuel of a loop in a local gains nothing (both measured), so neither is done.
 */

/** At some three units a nanosecond, 32 bits then last for about 0.7 s; with single instructions, for 0.1 s. */
const instructionsPerUnit = 8;

/**
 * OPA's allocator. Each byte costs, beside its instructions: memory that is new takes the machine some nanoseconds a
 * page to give, and a loop that does little else would have all that there is within its fuel. Measured on such loops:
 * with 3 units they end as soon as others, with 1 they take twice as long.
 */
const allocator = 'opa_malloc';
const unitsPerByte = 3;

/** The exported mutable i32 global. It is negative after a trap if and only if the fuel is gone. */
export const fuelExport = 'mandate_fuel';

/** What the global holds until the host sets it: enough for a start function, which runs while instantiating. */
const initialFuel = 1 << 26;

/**
 * Rewrites a module so that it spends fuel. Pure: the argument is not changed, equal bytes give equal bytes.
 * Custom sections (names for debuggers) are dropped; they only make compilation slower.
 * @throws ServiceError `policy_invalid` for bytes that are no module, or use what cannot be metered
 */
export function meter(wasm: Uint8Array): Uint8Array {
  return refuseMalformed(() => rewrite(wasm));
}

function rewrite(wasm: Uint8Array): Uint8Array {
  const sections = readSections(wasm);
  const imports = readImports(sections);
  const fuelIndex = imports.globals + countEntries(sections.get(section.global));

  const allocating = findExport(sections.get(section.export), allocator);
  const parts: Uint8Array[] = [Uint8Array.from(magic)];
  for (const id of sectionOrder) {
    const body = sections.get(id);
    const replaced =
      id === section.code && body
        ? meterCode(body, fuelIndex, imports.functions, allocating)
        : rewriteSection(id, body, fuelIndex);
    if (replaced) parts.push(Uint8Array.from([id, ...unsigned(replaced.length)]), replaced);
  }
  return concat(parts);
}

function rewriteSection(id: number, body: Reader | undefined, fuelIndex: number): Uint8Array | undefined {
  if (id === section.global) return appendEntry(body, fuelGlobal());
  if (id === section.export) {
    if (body) refuseExportOfFuel(body);
    return appendEntry(body, fuelExportEntry(fuelIndex));
  }
  return body?.bytes.subarray(body.at, body.end);
}

function refuseExportOfFuel(body: Reader): void {
  const entries = body.copy();
  for (let count = entries.u32(); count > 0; count -= 1) {
    if (entries.name() === fuelExport) throw new MalformedModule(`the module exports ${fuelExport} already`);
    entries.byte();
    entries.u32();
  }
}

function fuelGlobal(): number[] {
  const i32 = 0x7f;
  const mutable = 0x01;
  return [i32, mutable, opcode.i32Const, ...signed(initialFuel), opcode.end];
}

function fuelExportEntry(index: number): number[] {
  const name = new TextEncoder().encode(fuelExport);
  return [name.length, ...name, importKind.global, ...unsigned(index)];
}

function appendEntry(body: Reader | undefined, entry: readonly number[]): Uint8Array {
  if (!body) return Uint8Array.from([1, ...entry]);
  const count = body.u32();
  return concat([
    Uint8Array.from(unsigned(count + 1)),
    body.bytes.subarray(body.at, body.end),
    Uint8Array.from(entry),
  ]);
}

/** The index of a function that is exported by a name. */
function findExport(body: Reader | undefined, wanted: string): number | undefined {
  const entries = body?.copy();
  if (!entries) return undefined;
  for (let count = entries.u32(); count > 0; count -= 1) {
    const name = entries.name();
    const kind = entries.byte();
    const index = entries.u32();
    if (name === wanted && kind === importKind.function) return index;
  }
  return undefined;
}

function meterCode(
  body: Reader,
  fuelIndex: number,
  importedFunctions: number,
  allocating: number | undefined,
): Uint8Array {
  const count = body.u32();
  const functions: MeteredFunction[] = [];
  for (let index = 0; index < count; index += 1)
    functions.push(readFunction(body.slice(body.u32()), fuelIndex));
  if (!body.done()) throw new MalformedModule('bytes after the last function');
  chargeCallers(functions, importedFunctions);
  return concat([
    Uint8Array.from(unsigned(count)),
    ...functions.flatMap((metered, index) =>
      writeFunction(metered, fuelIndex, index + importedFunctions === allocating),
    ),
  ]);
}

function writeFunction(
  { code, charges }: MeteredFunction,
  fuelIndex: number,
  isAllocating: boolean,
): Uint8Array[] {
  const parts: Uint8Array[] = [];
  let copied = code.start;
  const [entry] = charges;
  if (isAllocating && entry) {
    parts.push(code.bytes.subarray(copied, entry.at), spendParameter(fuelIndex));
    copied = entry.at;
  }
  for (const charge of charges) {
    if (charge.instructions === 0) continue;
    parts.push(code.bytes.subarray(copied, charge.at), spend(fuelIndex, charge.instructions));
    copied = charge.at;
  }
  parts.push(code.bytes.subarray(copied, code.end));
  const size = parts.reduce((sum, part) => sum + part.length, 0);
  return [Uint8Array.from(unsigned(size)), ...parts];
}

/**
 * `fuel -= weight; if (fuel < 0) trap`. The test reads the global again: to keep the difference in a local for it gains
 * nothing, and to compare before the subtraction costs a fiftieth of an evaluation (both measured).
 */
function spend(fuelIndex: number, instructions: number): Uint8Array {
  return subtract(fuelIndex, [opcode.i32Const, ...signed(Math.ceil(instructions / instructionsPerUnit))]);
}

/** What the allocator is asked for. The mask keeps the product within 31 bits; nobody is given that much at once. */
function spendParameter(fuelIndex: number): Uint8Array {
  const asked = [opcode.localGet, 0, opcode.i32Const, ...signed(0x1fff_ffff), opcode.i32And];
  return subtract(fuelIndex, [...asked, opcode.i32Const, unitsPerByte, opcode.i32Multiply]);
}

function subtract(fuelIndex: number, units: readonly number[]): Uint8Array {
  const fuel = unsigned(fuelIndex);
  const emptyType = 0x40;
  const less = [opcode.globalGet, ...fuel, ...units, opcode.i32Subtract];
  const isGone = [opcode.globalGet, ...fuel, opcode.i32Const, 0, opcode.i32LessSigned];
  const trap = [opcode.if, emptyType, opcode.unreachable, opcode.end];
  return Uint8Array.from([...less, opcode.globalSet, ...fuel, ...isGone, ...trap]);
}
