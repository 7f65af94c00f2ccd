import { MalformedModule, Reader, signed, unsigned } from './leb128.ts';
import { readFunctionNames } from './names.ts';
import {
  concat,
  importKind,
  magic,
  readImports,
  readSections,
  readSegments,
  type Segment,
  section,
  sectionOrder,
} from './sections.ts';

const i32 = 0x7f;
const functionType = 0x60;

/** A function of 32-bit parameters and one such result. */
export interface Signature {
  readonly parameters: number;
}

/** A WebAssembly module in which functions are replaced and added. What is not touched stays as it is. */
export class ModuleEditor {
  readonly #sections: Map<number, Reader>;
  readonly #names: ReadonlyMap<string, number>;
  readonly #importedNames: ReadonlyMap<string, number>;
  readonly #imported: number;
  readonly #types: Uint8Array[];
  /** The type of each function of the module's own. */
  readonly #typeOf: number[];
  readonly #bodies: Uint8Array[];
  readonly #globals: Uint8Array[];
  readonly #firstGlobal: number;
  readonly #exports: Uint8Array[];
  readonly #data: readonly Segment[];

  /** @throws MalformedModule */
  constructor(wasm: Uint8Array) {
    this.#sections = readSections(wasm);
    this.#names = readFunctionNames(wasm);
    const imports = readImports(this.#sections);
    this.#imported = imports.functions;
    this.#importedNames = imports.functionNames;
    this.#firstGlobal = imports.globals;
    this.#types = entriesOf(this.#sections.get(section.type), skipType);
    this.#typeOf = indexesOf(this.#sections.get(section.function));
    this.#bodies = entriesOf(this.#sections.get(section.code), (code) => code.skip(code.u32())).map(
      withoutSize,
    );
    this.#globals = entriesOf(this.#sections.get(section.global), skipGlobal);
    this.#exports = entriesOf(this.#sections.get(section.export), skipExport);
    this.#data = readSegments(this.#sections.get(section.data)) ?? [];
    if (this.#bodies.length !== this.#typeOf.length)
      throw new MalformedModule('functions and their code differ in number');
  }

  /** The index of a function that the module imports or names; undefined if it does neither. */
  find(name: string): number | undefined {
    return this.#importedNames.get(name) ?? this.#names.get(name);
  }

  /** @throws MalformedModule if there is no such function */
  index(name: string): number {
    const index = this.find(name);
    if (index === undefined) throw new MalformedModule(`the function ${name} is missing`);
    return index;
  }

  /** The module's own functions by name. */
  *functions(): Iterable<readonly [name: string, index: number]> {
    for (const [name, index] of this.#names) if (index >= this.#imported) yield [name, index];
  }

  /** Parameters of 32 bits; undefined for a function of another shape. */
  signatureOf(index: number): Signature | undefined {
    const type = new Reader(this.#types[this.#typeOf[index - this.#imported] ?? -1] ?? new Uint8Array());
    if (type.byte() !== functionType) return undefined;
    const parameters = type.u32();
    for (let left = parameters; left > 0; left -= 1) if (type.byte() !== i32) return undefined;
    return type.u32() === 1 && type.byte() === i32 ? { parameters } : undefined;
  }

  parametersOf(index: number): number {
    const type = new Reader(this.#types[this.#typeOf[index - this.#imported] ?? -1] ?? new Uint8Array());
    type.byte();
    return type.u32();
  }

  /** Locals and code. */
  bodyOf(index: number): Uint8Array {
    const found = this.#bodies[index - this.#imported];
    if (!found) throw new MalformedModule(`function ${index} has no body`);
    return found;
  }

  /** Text of the data segments; undefined where they have none. */
  textAt(address: number, length: number): string | undefined {
    for (const { start, bytes } of this.#data) {
      const at = address - start;
      if (at >= 0 && at + length <= bytes.length)
        return Buffer.from(bytes.buffer, bytes.byteOffset + at, length).toString('latin1');
    }
    return undefined;
  }

  replace(index: number, body: Uint8Array): void {
    this.bodyOf(index);
    this.#bodies[index - this.#imported] = body;
  }

  /** Another function; its index. */
  addFunction({ parameters }: Signature, body: Uint8Array): number {
    const type = Uint8Array.from([functionType, parameters, ...Array<number>(parameters).fill(i32), 1, i32]);
    let index = this.#types.findIndex((known) => Buffer.compare(known, type) === 0);
    if (index < 0) index = this.#types.push(type) - 1;
    this.#typeOf.push(index);
    return this.#imported + this.#bodies.push(body) - 1;
  }

  /** A mutable global of 32 bits that is exported under a name; its index. */
  addGlobal(name: string, initial: number): number {
    const encoded = new TextEncoder().encode(name);
    const index = this.#firstGlobal + this.#globals.length;
    this.#globals.push(Uint8Array.from([i32, 1, 0x41, ...signed(initial), 0x0b]));
    this.#exports.push(
      Uint8Array.from([...unsigned(encoded.length), ...encoded, importKind.global, ...unsigned(index)]),
    );
    return index;
  }

  /** The module, without custom sections. */
  finish(): Uint8Array {
    const rewritten = new Map<number, Uint8Array>([
      [section.type, list(this.#types)],
      [section.function, list(this.#typeOf.map((type) => Uint8Array.from(unsigned(type))))],
      [section.global, list(this.#globals)],
      [section.export, list(this.#exports)],
      [
        section.code,
        list(this.#bodies.map((each) => concat([Uint8Array.from(unsigned(each.length)), each]))),
      ],
    ]);
    const parts: Uint8Array[] = [Uint8Array.from(magic)];
    for (const id of sectionOrder) {
      const original = this.#sections.get(id);
      const content = rewritten.get(id) ?? original?.bytes.subarray(original.at, original.end);
      if (content) parts.push(Uint8Array.from([id, ...unsigned(content.length)]), content);
    }
    return concat(parts);
  }
}

function list(entries: readonly Uint8Array[]): Uint8Array {
  return concat([Uint8Array.from(unsigned(entries.length)), ...entries]);
}

function entriesOf(body: Reader | undefined, skip: (entries: Reader) => void): Uint8Array[] {
  if (!body) return [];
  const entries = body.copy();
  const found: Uint8Array[] = [];
  for (let count = entries.u32(); count > 0; count -= 1) {
    const start = entries.at;
    skip(entries);
    found.push(entries.bytes.subarray(start, entries.at));
  }
  if (!entries.done()) throw new MalformedModule(`bytes after the last entry at ${entries.at}`);
  return found;
}

function indexesOf(body: Reader | undefined): number[] {
  return entriesOf(body, (entries) => void entries.u32()).map((each) => new Reader(each).u32());
}

function withoutSize(entry: Uint8Array): Uint8Array {
  const reader = new Reader(entry);
  reader.u32();
  return entry.subarray(reader.at);
}

function skipType(entries: Reader): void {
  if (entries.byte() !== functionType) throw new MalformedModule('a type is not one of a function');
  entries.skip(entries.u32());
  entries.skip(entries.u32());
}

function skipExport(entries: Reader): void {
  entries.name();
  entries.byte();
  entries.u32();
}

/** Its type, whether it changes, and what it begins with: a constant of 32 bits, as OPA's are. */
function skipGlobal(entries: Reader): void {
  entries.skip(2);
  if (entries.byte() !== 0x41)
    throw new MalformedModule('a global begins with something else than a constant');
  entries.skipSigned(32);
  if (entries.byte() !== 0x0b)
    throw new MalformedModule('a global begins with something else than a constant');
}
