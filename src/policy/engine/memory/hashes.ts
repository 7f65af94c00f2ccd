import { bytesOf } from '../values/utf8.ts';
import { isArray, isNumber, numberText, RegoSet, type Value } from '../values/values.ts';
import { emptyHash, hashed } from './layout.ts';

/** The hashes of OPA's runtime (opa_value_hash in wasm/src/value.c): 32 bits, with a sign here. */
export function hashValue(value: Value): number {
  if (value === null) return 0;
  if (typeof value === 'boolean') return value ? 0 : 1;
  if (isNumber(value)) return hashNumber(Number(numberText(value)));
  if (typeof value === 'string') return hashBytes(bytesOf(value));
  let hash = 0;
  if (isArray(value)) for (const element of value) hash = (hash + hashValue(element)) | 0;
  else if (value instanceof RegoSet)
    for (const member of value.members()) hash = (hash + hashValue(member)) | 0;
  else for (const [key, inner] of value.entries()) hash = (hash + hashValue(key) + hashValue(inner)) | 0;
  return hash;
}

const double = Buffer.alloc(8);

/** Of the bytes of a double: equal numbers have one, however they are written. */
export function hashNumber(value: number): number {
  // -0 equals 0.
  double.writeDoubleLE(value === 0 ? 0 : value);
  return hashBytes(double);
}

function hashBytes(bytes: Uint8Array): number {
  let hash = emptyHash;
  for (const byte of bytes) hash = hashed(hash, byte);
  return hash;
}
