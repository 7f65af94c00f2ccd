import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import { bytesOf } from '../values/utf8.ts';
import { type Builtin, type BuiltinContext, type BuiltinTable, text } from './builtin.ts';

/** Fuel units of a digest: measured, 1 µs to set it up, 2 for a key's. */
const unitsPerDigest = 2_000;
/** Fuel units per byte hashed; a digest does a few bytes a nanosecond at best. */
const unitsPerByte = 8;

function digest(algorithm: string): Builtin {
  return ([value], context) => hash(algorithm, text(value), context);
}

function hash(algorithm: string, value: string, context: BuiltinContext): string {
  context.spend(unitsPerDigest + value.length * unitsPerByte);
  return createHash(algorithm).update(bytesOf(value)).digest('hex');
}

function mac(algorithm: string): Builtin {
  return ([value, key], context) => {
    context.spend(unitsPerDigest + (text(value).length + text(key).length) * unitsPerByte);
    return createHmac(algorithm, bytesOf(text(key)))
      .update(bytesOf(text(value)))
      .digest('hex');
  };
}

export const cryptoBuiltins: BuiltinTable = {
  'crypto.md5': digest('md5'),
  'crypto.sha1': digest('sha1'),
  'crypto.sha256': digest('sha256'),
  'crypto.hmac.md5': mac('md5'),
  'crypto.hmac.sha1': mac('sha1'),
  'crypto.hmac.sha256': mac('sha256'),
  'crypto.hmac.sha512': mac('sha512'),
  'crypto.hmac.equal': ([first, second]) => {
    const [a, b] = [bytesOf(text(first)), bytesOf(text(second))];
    return a.length === b.length && timingSafeEqual(a, b);
  },
};
