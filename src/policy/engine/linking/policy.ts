import type { ModuleEditor } from '../binary/editor.ts';
import { type Code, call } from '../binary/instructions.ts';
import { MalformedModule, Reader, signed, unsigned } from '../binary/leb128.ts';
import { opcode, skipImmediates } from '../binary/opcodes.ts';
import { concat } from '../binary/sections.ts';
import { addNext, headOf, readScan, type Scan } from './scans.ts';

/** A place in a function: what is replaced from `start` to `end`, and by what; a loop is given a local of its own. */
interface Site {
  readonly start: number;
  readonly end: number;
  readonly isLoop: boolean;
  readonly code: (local: number) => readonly Code[];
}

/** Rewrites what OPA's compiler made of the rules: loops, and the integers that are written in the policy. */
export function linkPolicy(editor: ModuleEditor): void {
  const finder = new Finder(editor);
  for (const [name, index] of editor.functions()) {
    if (name !== 'eval' && !policyFunction.test(name)) continue;
    const original = editor.bodyOf(index);
    const sites = finder.sitesOf(original);
    if (sites.length > 0) editor.replace(index, rewrite(original, editor.parametersOf(index), sites));
  }
}

/** How OPA's planner names the functions of rules. */
const policyFunction = /^g\d+\./;
/** An integer that its own text says, of 32 bits: more would be no faster. */
const plainInteger = /^(?:0|-?[1-9]\d{0,8})$/;

class Finder {
  readonly #editor: ModuleEditor;
  readonly #iterate: number;
  readonly #find: number;
  readonly #numberOfText: number | undefined;
  #next: number | undefined;

  constructor(editor: ModuleEditor) {
    this.#editor = editor;
    this.#iterate = editor.index('opa_value_iter');
    this.#find = editor.index('opa_value_get');
    this.#numberOfText = editor.find('opa_number_ref');
  }

  sitesOf(original: Uint8Array): Site[] {
    const code = new Reader(original);
    skipLocals(code);
    const sites: Site[] = [];
    /** The places of the last two instructions. */
    let last: readonly [number, number] = [code.at, code.at];
    while (!code.done()) {
      const at = code.at;
      const operation = code.byte();
      const skip = skipImmediates[operation];
      if (!skip) throw new MalformedModule(`opcode 0x${operation.toString(16)} at ${at} is not supported`);
      const callee = operation === opcode.call ? code.copy().u32() : undefined;
      skip(code);
      if (callee === this.#iterate) sites.push(this.#scanAt(code, last[0]));
      else if (callee !== undefined && callee === this.#numberOfText) {
        const site = this.#integerAt(original, last[0], code.at);
        if (site) sites.push(site);
      }
      last = [last[1], at];
    }
    return sites;
  }

  /** Moves behind the scan. */
  #scanAt(code: Reader, start: number): Site {
    code.at = start;
    const scan: Scan = readScan(code, this.#iterate, this.#find);
    this.#next ??= addNext(this.#editor);
    const next = this.#next;
    return { start, end: code.at, isLoop: true, code: (cursor) => headOf(scan, cursor, next) };
  }

  /**
   * Integers of a policy are made from their text each time, and would then be the host's to compare. `last` is where
   * the address and the length of the text are pushed.
   */
  #integerAt(original: Uint8Array, start: number, end: number): Site | undefined {
    const code = new Reader(original, start);
    if (code.byte() !== opcode.i32Const) return undefined;
    const address = code.s32();
    if (code.byte() !== opcode.i32Const) return undefined;
    const text = this.#editor.textAt(address, code.s32());
    if (text === undefined || !plainInteger.test(text)) return undefined;
    const value = Number(text);
    const i64Const = 0x42;
    const makeNumber = call(this.#editor.index('opa_number_int'));
    return { start, end, isLoop: false, code: () => [[i64Const, ...signedOf(value)], makeNumber] };
  }
}

/** Signed LEB128 of either sign. */
function signedOf(value: number): number[] {
  if (value >= 0) return signed(value);
  const bytes: number[] = [];
  let rest = value;
  while (rest < -64) {
    bytes.push((rest & 0x7f) | 0x80);
    rest >>= 7;
  }
  return [...bytes, rest & 0x7f];
}

/** The number of locals. */
function skipLocals(code: Reader): number {
  let count = 0;
  for (let groups = code.u32(); groups > 0; groups -= 1) {
    count += code.u32();
    code.byte();
  }
  return count;
}

function rewrite(original: Uint8Array, parameters: number, sites: readonly Site[]): Uint8Array {
  const i32 = 0x7f;
  const locals = new Reader(original);
  const groups = locals.copy().u32();
  const firstLocal = parameters + skipLocals(locals);
  const groupsStart = unsigned(groups).length;
  const parts = [
    Uint8Array.from(unsigned(groups + 1)),
    original.subarray(groupsStart, locals.at),
    Uint8Array.from([...unsigned(sites.filter(({ isLoop }) => isLoop).length), i32]),
  ];
  let local = firstLocal;
  let copied = locals.at;
  for (const { start, end, isLoop, code } of sites) {
    parts.push(original.subarray(copied, start), Uint8Array.from(code(local).flat()));
    if (isLoop) local += 1;
    copied = end;
  }
  parts.push(original.subarray(copied));
  return concat(parts);
}
