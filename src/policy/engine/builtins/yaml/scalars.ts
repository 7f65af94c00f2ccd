import { numberOf } from '../../values/numbers.ts';
import type { Value } from '../../values/values.ts';
import { BuiltinError, fromBigInt } from '../builtin.ts';
import { formatFloat } from '../numbers/floats.ts';
import { isFloatText } from '../numbers/literals.ts';

/** What go-yaml makes of a plain scalar, or of one with a tag of the core schema. */
export type Resolved =
  | { readonly tag: 'null'; readonly value: null }
  | { readonly tag: 'bool'; readonly value: boolean }
  | { readonly tag: 'int'; readonly value: bigint }
  | { readonly tag: 'float'; readonly value: number }
  | { readonly tag: 'merge' | 'str'; readonly value: string };

const words = new Map<string, Resolved>();
for (const text of ['true', 'True', 'TRUE']) words.set(text, { tag: 'bool', value: true });
for (const text of ['false', 'False', 'FALSE']) words.set(text, { tag: 'bool', value: false });
for (const text of ['', '~', 'null', 'Null', 'NULL']) words.set(text, { tag: 'null', value: null });
for (const text of ['.nan', '.NaN', '.NAN']) words.set(text, { tag: 'float', value: Number.NaN });
for (const sign of ['', '+', '-'])
  for (const text of ['.inf', '.Inf', '.INF'])
    words.set(sign + text, {
      tag: 'float',
      value: sign === '-' ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY,
    });
words.set('<<', { tag: 'merge', value: '<<' });

const integerForm = /^([-+]?)(?:0[bB]([01]+)|0[xX]([0-9a-fA-F]+)|0[oO]([0-7]+)|0([0-7]*)|([1-9]\d*))$/;
const floatForm = /^[-+]?(?:\.\d+|\d+(?:\.\d*)?)(?:[eE][-+]?\d+)?$/;

/** Of 64 bits, with a sign or without. */
function integerOf(text: string): bigint | undefined {
  const [, sign = '', binary, hexadecimal, octal, oldOctal, decimal] = integerForm.exec(text) ?? [undefined];
  const digits =
    binary !== undefined
      ? `0b${binary}`
      : hexadecimal !== undefined
        ? `0x${hexadecimal}`
        : (octal ?? oldOctal) !== undefined
          ? `0o${octal ?? oldOctal ?? ''}`.replace(/^0o$/, '0')
          : decimal;
  if (digits === undefined) return undefined;
  const size = BigInt(digits);
  // A plus is one of signed integers only.
  if (sign === '-') return size <= 1n << 63n ? -size : undefined;
  return size < 1n << (sign === '+' ? 63n : 64n) ? size : undefined;
}

/** By the first character, as go-yaml looks for what a text may be. */
export function resolve(text: string): Resolved {
  const word = words.get(text);
  if (word) return word;
  const asText: Resolved = { tag: 'str', value: text };
  const [first = ''] = text;
  if (first === '.') return isFloatText(text) ? floatOf(text.replaceAll('_', ''), asText) : asText;
  if (!/[-+\d]/.test(first)) return asText;
  const plain = text.replaceAll('_', '');
  const integer = integerOf(plain);
  if (integer !== undefined) return { tag: 'int', value: integer };
  return floatForm.test(plain) ? floatOf(plain, asText) : asText;
}

/** What no float64 holds stays a text. */
function floatOf(text: string, otherwise: Resolved): Resolved {
  const value = Number(text);
  return Number.isFinite(value) ? { tag: 'float', value } : otherwise;
}

/** @throws BuiltinError for a text that its tag does not admit */
export function resolveAs(tag: string, text: string): Resolved {
  if (tag === 'str') return { tag: 'str', value: text };
  const found = resolve(text);
  if (found.tag === tag) return found;
  if (tag === 'float' && found.tag === 'int') return { tag: 'float', value: Number(found.value) };
  throw new BuiltinError(`cannot decode ${found.tag} as a ${tag}`);
}

/** @throws BuiltinError for what JSON does not have */
export function toValue(resolved: Resolved): Value {
  if (resolved.tag === 'int') return fromBigInt(resolved.value);
  if (resolved.tag !== 'float') return resolved.value;
  if (!Number.isFinite(resolved.value)) throw new BuiltinError('a number that JSON does not have');
  return numberOf(Object.is(resolved.value, -0) ? '-0' : String(resolved.value));
}

/** Undefined for null, which is no key of JSON. Floats are written as those of 32 bits. */
export function toKey(resolved: Resolved): string | undefined {
  if (resolved.tag === 'null') return undefined;
  if (resolved.tag !== 'float') return String(resolved.value);
  const single = Math.fround(resolved.value);
  if (Number.isNaN(single)) return '.nan';
  if (!Number.isFinite(single)) return single < 0 ? '-.inf' : '.inf';
  for (let digits = 1; digits < 9; digits += 1) {
    const shorter = Number(single.toPrecision(digits));
    if (Math.fround(shorter) === single) return formatFloat(shorter, 'g', undefined);
  }
  return formatFloat(Number(single.toPrecision(9)), 'g', undefined);
}
