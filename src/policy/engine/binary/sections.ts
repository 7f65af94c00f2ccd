import { MalformedModule, Reader } from './leb128.ts';

/** The outline of a WebAssembly module (core specification, section 5.5). */

export const section = {
  custom: 0,
  type: 1,
  import: 2,
  function: 3,
  global: 6,
  export: 7,
  code: 10,
  data: 11,
} as const;
/** The order of the known sections (core specification, section 5.5.2); the data count comes before the code. */
export const sectionOrder = [1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 10, 11];
export const importKind = { function: 0, table: 1, memory: 2, global: 3 } as const;
export const magic = [0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00];

/** The bodies of the sections by id, custom ones (names for debuggers) left out. */
export function readSections(wasm: Uint8Array): Map<number, Reader> {
  const module = new Reader(wasm);
  for (const byte of magic) if (module.byte() !== byte) throw new MalformedModule('no WebAssembly version 1');
  const sections = new Map<number, Reader>();
  let position = -1;
  while (!module.done()) {
    const id = module.byte();
    const body = module.slice(module.u32());
    if (id === section.custom) continue;
    const next = sectionOrder.indexOf(id);
    if (next <= position) throw new MalformedModule(`section ${id} is unknown or out of order`);
    position = next;
    sections.set(id, body);
  }
  return sections;
}

/** The number of entries of a section, which is not moved. */
export function countEntries(body: Reader | undefined): number {
  return body ? body.copy().u32() : 0;
}

/** How many functions and globals are imported, and how large a memory at least, in pages of 64 KiB. */
export interface Imports {
  readonly functions: number;
  /** The index of each imported function by its name. */
  readonly functionNames: ReadonlyMap<string, number>;
  readonly globals: number;
  readonly memoryPages: number;
}

export function readImports(sections: ReadonlyMap<number, Reader>): Imports {
  const body = sections.get(section.import);
  const functionNames = new Map<string, number>();
  if (!body) return { functions: 0, functionNames, globals: 0, memoryPages: 0 };
  const entries = body.copy();
  let functions = 0;
  let globals = 0;
  let memoryPages = 0;
  for (let count = entries.u32(); count > 0; count -= 1) {
    entries.name();
    const name = entries.name();
    const kind = entries.byte();
    if (kind === importKind.function) {
      entries.u32();
      functionNames.set(name, functions);
      functions += 1;
    } else if (kind === importKind.table) {
      entries.byte();
      readLimits(entries);
    } else if (kind === importKind.memory) memoryPages = readLimits(entries);
    else if (kind === importKind.global) {
      entries.skip(2);
      globals += 1;
    } else throw new MalformedModule(`import kind ${kind} is not supported`);
  }
  return { functions, functionNames, globals, memoryPages };
}

function readLimits(entries: Reader): number {
  const flags = entries.byte();
  if (flags > 1) throw new MalformedModule('shared and 64-bit memories are not supported');
  const minimum = entries.u32();
  if (flags === 1) entries.u32();
  return minimum;
}

/** A piece of the memory as it begins. */
export interface Segment {
  readonly start: number;
  readonly bytes: Uint8Array;
}

/** Active segments of memory 0 at constant places; undefined if there are others, which OPA's modules have not. */
export function readSegments(body: Reader | undefined): Segment[] | undefined {
  const [i32Const, end] = [0x41, 0x0b];
  const segments: Segment[] = [];
  const entries = body?.copy();
  if (!entries) return segments;
  for (let count = entries.u32(); count > 0; count -= 1) {
    if (entries.u32() !== 0 || entries.byte() !== i32Const) return undefined;
    const start = entries.s32();
    if (entries.byte() !== end) return undefined;
    const content = entries.slice(entries.u32());
    segments.push({ start, bytes: content.bytes.subarray(content.at, content.end) });
  }
  return segments;
}

export function concat(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
