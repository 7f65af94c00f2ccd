import { unitsOfDigits } from '../../values/parse.ts';
import type { Value } from '../../values/values.ts';
import {
  type Builtin,
  type BuiltinContext,
  BuiltinError,
  type BuiltinTable,
  fromBigInt,
  integer,
  number,
} from '../builtin.ts';
import { payFor } from './arithmetic.ts';

/** Decimal digits per bit. */
const digitsPerBit = 0.302;
/** More bits than any memory here holds; the fuel is gone before. */
const mostBits = 2 ** 30;

function operand(value: Value | undefined, context: BuiltinContext): bigint {
  payFor(number(value), context);
  return integer(value);
}

function bitwise(combine: (a: bigint, b: bigint) => bigint): Builtin {
  return ([a, b], context) => fromBigInt(combine(operand(a, context), operand(b, context)));
}

/** Go takes the low 64 bits of it. */
function shiftOf(value: Value | undefined, context: BuiltinContext): bigint {
  const shift = operand(value, context);
  if (shift < 0n) throw new BuiltinError('must be an unsigned integer');
  return BigInt.asUintN(64, shift);
}

export const bitsBuiltins: BuiltinTable = {
  'bits.and': bitwise((a, b) => a & b),
  'bits.or': bitwise((a, b) => a | b),
  'bits.xor': bitwise((a, b) => a ^ b),
  'bits.negate': ([a], context) => fromBigInt(~operand(a, context)),
  'bits.lsh': ([a, by], context) => {
    const [value, shift] = [operand(a, context), shiftOf(by, context)];
    if (value === 0n) return 0;
    const bits = Math.min(Number(shift), mostBits) + value.toString(16).length * 4;
    context.spend(unitsOfDigits(bits * digitsPerBit));
    return fromBigInt(value << shift);
  },
  'bits.rsh': ([a, by], context) => {
    const [value, shift] = [operand(a, context), shiftOf(by, context)];
    return fromBigInt(value >> (shift > mostBits ? BigInt(mostBits) : shift));
  },
};
