import { bytesOf, decodeUtf8 } from '../../values/utf8.ts';
import { type Builtin, BuiltinError, type BuiltinTable, text } from '../builtin.ts';

/** As Go's encoding/base64: padding is required, and line ends are skipped wherever they are. */
const standard = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;
const urlSafe = /^(?:[A-Za-z0-9_-]{4})*(?:[A-Za-z0-9_-]{2}==|[A-Za-z0-9_-]{3}=)?$/;

/** Fuel units per character. */
const unitsPerCharacter = 8;

function decode(value: string, form: RegExp): Buffer {
  const plain = value.replace(/[\r\n]/g, '');
  if (!isEncoded(plain, form)) throw new BuiltinError('illegal base64 data');
  return Buffer.from(plain, 'base64');
}

/** The bytes of base64, which must be padded. @throws BuiltinError for what is none */
export function decodeBase64(value: string): Buffer {
  return decode(value, standard);
}

/** The bytes of base64url, with padding or without. @throws BuiltinError for what is none */
export function decodeUrlBase64(value: string): Buffer {
  return decode(padded(value), urlSafe);
}

/** Piece by piece: a regular expression over all of a long text would need a stack as long. */
function isEncoded(value: string, form: RegExp): boolean {
  const pieceLength = 4_096;
  for (let at = 0; at < value.length; at += pieceLength) {
    const piece = value.slice(at, at + pieceLength);
    const isLast = at + pieceLength >= value.length;
    if (!form.test(piece) || (!isLast && piece.includes('='))) return false;
  }
  return true;
}

/** Padding that was left out is added, as RFC 7515 appendix C has it. */
function padded(value: string): string {
  // Go counts bytes, but what is not of one byte is not base64 either.
  if (value.endsWith('=')) return value;
  const rest = value.length % 4;
  if (rest === 1) throw new BuiltinError('illegal base64url string');
  return value + '='.repeat((4 - rest) % 4);
}

function onText(convert: (value: string) => string): Builtin {
  return ([value], context) => {
    context.spend(text(value).length * unitsPerCharacter);
    return convert(text(value));
  };
}

/** Buffer leaves the padding out. */
function encodeUrl(value: string): string {
  const encoded = bytesOf(value).toString('base64url');
  return encoded + '='.repeat((4 - (encoded.length % 4)) % 4);
}

export const base64Builtins: BuiltinTable = {
  'base64.encode': onText((value) => bytesOf(value).toString('base64')),
  'base64.decode': onText((value) => decodeUtf8(decodeBase64(value))),
  'base64.is_valid': ([value], context) => {
    if (typeof value !== 'string') return false;
    context.spend(value.length * unitsPerCharacter);
    return isEncoded(value.replace(/[\r\n]/g, ''), standard);
  },
  'base64url.encode': onText(encodeUrl),
  'base64url.encode_no_pad': onText((value) => bytesOf(value).toString('base64url')),
  'base64url.decode': onText((value) => decodeUtf8(decodeUrlBase64(value))),
};
