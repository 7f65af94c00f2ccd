import { MalformedModule, type Reader } from './leb128.ts';

/**
 * What follows each opcode of the WebAssembly binary format (core specification, section 5.4).
 * Only what a fixed cost covers is listed: bulk memory, tables, SIMD, threads and exceptions are refused,
 * and OPA's output has none of them (its Makefile switches them off).
 */
const immediates = {
  none: () => {},
  /** The type of a block: a value type, the empty type, or the index of a function type. */
  block: (code: Reader) => code.skipSigned(33),
  index: (code: Reader) => void code.u32(),
  indexPair: (code: Reader) => {
    code.u32();
    code.u32();
  },
  branchTable: (code: Reader) => {
    for (let targets = code.u32() + 1; targets > 0; targets -= 1) code.u32();
  },
  zeroByte: (code: Reader) => {
    if (code.byte() !== 0) throw new MalformedModule(`a reserved byte is set at ${code.at}`);
  },
  i32: (code: Reader) => code.skipSigned(32),
  i64: (code: Reader) => code.skipSigned(64),
  f32: (code: Reader) => code.skip(4),
  f64: (code: Reader) => code.skip(8),
  saturating: (code: Reader) => {
    const operation = code.u32();
    if (operation > 7) throw new MalformedModule(`opcode 0xfc ${operation} is not supported`);
  },
} satisfies Record<string, (code: Reader) => void>;

export const opcode = {
  unreachable: 0x00,
  block: 0x02,
  loop: 0x03,
  if: 0x04,
  end: 0x0b,
  call: 0x10,
  callIndirect: 0x11,
  localGet: 0x20,
  globalGet: 0x23,
  globalSet: 0x24,
  i32Const: 0x41,
  i32LessSigned: 0x48,
  i32Subtract: 0x6b,
  i32Multiply: 0x6c,
  i32And: 0x71,
} as const;

const ranges: readonly (readonly [from: number, to: number, kind: keyof typeof immediates])[] = [
  [0x00, 0x01, 'none'], // unreachable, nop
  [0x02, 0x04, 'block'], // block, loop, if
  [0x05, 0x05, 'none'], // else
  [0x0b, 0x0b, 'none'], // end
  [0x0c, 0x0d, 'index'], // br, br_if
  [0x0e, 0x0e, 'branchTable'],
  [0x0f, 0x0f, 'none'], // return
  [0x10, 0x10, 'index'], // call
  [0x11, 0x11, 'indexPair'], // call_indirect
  [0x1a, 0x1b, 'none'], // drop, select
  [0x20, 0x24, 'index'], // local.*, global.*
  [0x28, 0x3e, 'indexPair'], // loads and stores: alignment, offset
  [0x3f, 0x40, 'zeroByte'], // memory.size, memory.grow
  [0x41, 0x41, 'i32'],
  [0x42, 0x42, 'i64'],
  [0x43, 0x43, 'f32'],
  [0x44, 0x44, 'f64'],
  [0x45, 0xc4, 'none'], // comparisons, arithmetic, conversions, sign extension
  [0xfc, 0xfc, 'saturating'],
];

/** Indexed by opcode; undefined for one that is not supported. */
export const skipImmediates: readonly (((code: Reader) => void) | undefined)[] = Array.from(
  { length: 256 },
  (_, code) => {
    const range = ranges.find(([from, to]) => code >= from && code <= to);
    return range && immediates[range[2]];
  },
);
