import { unsigned } from './leb128.ts';

/**
 * A little assembler (core specification, section 5.4): each function gives the bytes of an instruction, and code is a
 * list of those. Alignments are hints, and 0 makes none, as OPA's allocator aligns nothing.
 */
export type Code = readonly number[];

export const valueType = { i32: 0x7f, empty: 0x40 } as const;

export const get = (local: number): Code => [0x20, ...unsigned(local)];
export const set = (local: number): Code => [0x21, ...unsigned(local)];
export const tee = (local: number): Code => [0x22, ...unsigned(local)];
export const globalGet = (index: number): Code => [0x23, ...unsigned(index)];
export const call = (index: number): Code => [0x10, ...unsigned(index)];
export const branch = (depth: number): Code => [0x0c, ...unsigned(depth)];
export const branchIf = (depth: number): Code => [0x0d, ...unsigned(depth)];
export const returns: Code = [0x0f];
export const end = 0x0b;

/** A number that is not negative; signed LEB128 needs a bit more than unsigned. */
export const constant = (value: number): Code => {
  const bytes = unsigned(value);
  const last = bytes.pop() as number;
  return last < 0x40 ? [0x41, ...bytes, last] : [0x41, ...bytes, last | 0x80, 0];
};

export const load = (offset = 0): Code => [0x28, 0, ...unsigned(offset)];
export const loadByte = (offset = 0): Code => [0x2d, 0, ...unsigned(offset)];
export const loadTwoBytes = (offset = 0): Code => [0x2f, 0, ...unsigned(offset)];
export const loadLong = (offset = 0): Code => [0x29, 0, ...unsigned(offset)];
export const store = (offset = 0): Code => [0x36, 0, ...unsigned(offset)];

export const isZero: Code = [0x45];
export const equal: Code = [0x46];
export const notEqual: Code = [0x47];
export const lessUnsigned: Code = [0x49];
export const greaterSigned: Code = [0x4a];
export const greaterUnsigned: Code = [0x4b];
export const add: Code = [0x6a];
export const subtract: Code = [0x6b];
export const multiply: Code = [0x6c];
export const both: Code = [0x71];
export const either: Code = [0x72];
/** The first of two if the third is not 0. */
export const select: Code = [0x1b];
export const drop: Code = [0x1a];
export const unreachable: Code = [0x00];
export const shiftLeft = (bits: number): Code => [...constant(bits), 0x74];

export const addLong: Code = [0x7c];
export const subtractLong: Code = [0x7d];
export const multiplyLong: Code = [0x7e];
export const equalLong: Code = [0x51];
export const lessLong: Code = [0x53];
export const greaterLong: Code = [0x55];
/** The lower half of 64 bits, and 32 bits made 64 with their sign. */
export const lowerHalf: Code = [0xa7];
export const extended: Code = [0xac];

export const block = (...body: readonly Code[]): Code => [0x02, valueType.empty, ...body.flat(), end];
export const loop = (...body: readonly Code[]): Code => [0x03, valueType.empty, ...body.flat(), end];
export const when = (...then: readonly Code[]): Code => [0x04, valueType.empty, ...then.flat(), end];
export const choose = (then: readonly Code[], otherwise: readonly Code[]): Code => [
  0x04,
  valueType.i32,
  ...then.flat(),
  0x05,
  ...otherwise.flat(),
  end,
];

/** The body of a function: so many locals of 32 bits beside its parameters, and its code. */
export const body = (locals: number, ...code: readonly Code[]): Uint8Array =>
  Uint8Array.from([...(locals === 0 ? [0] : [1, ...unsigned(locals), valueType.i32]), ...code.flat(), end]);
