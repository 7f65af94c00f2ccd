import { bytesOf, decodeUtf8 } from '../../values/utf8.ts';
import { compareText, RegoObject, type Value } from '../../values/values.ts';
import { type BuiltinContext, BuiltinError, type BuiltinTable, members, object, text } from '../builtin.ts';
import { marshalJson, namedEntries } from './json.ts';

/** Fuel units per character that is escaped or unescaped, and of a pair: measured, 20 ns and up to 2 µs. */
const unitsPerEscaped = 24;
const unitsPerPair = 2_500;
/** Fuel units per character of hexadecimal and base64. */
const unitsPerByte = 4;

export const encodingBuiltins: BuiltinTable = {
  'hex.encode': ([value]) => bytesOf(text(value)).toString('hex'),
  'hex.decode': ([value]) => {
    if (!/^(?:[0-9a-fA-F]{2})*$/.test(text(value))) throw new BuiltinError('not hexadecimal');
    return decodeUtf8(Buffer.from(text(value), 'hex'));
  },
  'json.marshal_with_options': ([value, options], context) => {
    if (value === undefined) throw new BuiltinError('no value');
    return marshalWith(value, object(options), context);
  },
  'urlquery.encode': ([value], context) => escapeQuery(text(value), context),
  'urlquery.decode': ([value], context) => unescapeQuery(text(value), context),
  'urlquery.encode_object': ([value], context) => encodeObject(object(value), context),
  'urlquery.decode_object': ([value], context) => decodeObject(text(value), context),
};

/** Go's url.QueryEscape. */
function escapeQuery(value: string, context: BuiltinContext): string {
  context.spend(value.length * unitsPerEscaped);
  const parts = value.isWellFormed() ? [value] : value.split(/(?<![\ud800-\udbff])(?=[\udc80-\udcff])/);
  return parts
    .map((part) => (part.isWellFormed() ? encodeURIComponent(part) : encodeBytes(part)))
    .join('')
    .replace(/[!'()*]/g, (mark) => `%${mark.charCodeAt(0).toString(16).toUpperCase()}`)
    .replaceAll('%20', '+');
}

/** A byte that is no UTF-8, and what follows it. */
const encodeBytes = (part: string): string => {
  const [byte = 0] = bytesOf(part.slice(0, 1));
  return `%${byte.toString(16).toUpperCase()}${encodeURIComponent(part.slice(1).toWellFormed())}`;
};

function unescapeQuery(value: string, context: BuiltinContext): string {
  context.spend(value.length * unitsPerEscaped);
  if (/%(?![0-9a-fA-F]{2})/.test(value)) throw new BuiltinError('invalid URL escape');
  const bytes = bytesOf(value.replaceAll('+', ' '));
  const decoded: number[] = [];
  for (let at = 0; at < bytes.length; at += 1) {
    const byte = bytes[at] ?? 0;
    if (byte !== 0x25) decoded.push(byte);
    else {
      decoded.push(Number.parseInt(bytes.toString('latin1', at + 1, at + 3), 16));
      at += 2;
    }
  }
  return decodeUtf8(Buffer.from(decoded));
}

function encodeObject(value: RegoObject, context: BuiltinContext): string {
  return [...namedEntries(value, context)]
    .sort(([a], [b]) => compareText(a, b))
    .flatMap(([key, inner]) => {
      const values = typeof inner === 'string' ? [inner] : members(inner).map(text);
      // The name is written for each value, but escaped once.
      const name = escapeQuery(key, context);
      return values.map((each) => {
        context.spend(unitsPerPair + name.length * unitsPerByte);
        return `${name}=${escapeQuery(each, context)}`;
      });
    })
    .join('&');
}

function decodeObject(query: string, context: BuiltinContext): Value {
  const values = new Map<string, string[]>();
  for (const pair of query.split('&')) {
    context.spend(unitsPerPair);
    if (pair === '') continue;
    if (pair.includes(';')) throw new BuiltinError('invalid semicolon separator in query');
    const at = pair.indexOf('=');
    const [key, value] = at < 0 ? [pair, ''] : [pair.slice(0, at), pair.slice(at + 1)];
    const name = unescapeQuery(key, context);
    const list = values.get(name) ?? [];
    list.push(unescapeQuery(value, context));
    values.set(name, list);
  }
  return new RegoObject(values);
}

function marshalWith(value: Value, options: RegoObject, context: BuiltinContext): string {
  let [prefix, indent] = ['', '\t'];
  let pretty: boolean | undefined;
  let implied = false;
  for (const [key, option] of options.entries()) {
    if (key === 'pretty') {
      if (typeof option !== 'boolean') throw new BuiltinError('pretty is not a boolean');
      pretty = option;
    } else if (key === 'prefix' || key === 'indent') {
      implied = true;
      if (key === 'prefix') prefix = text(option);
      else indent = text(option);
    } else throw new BuiltinError('unknown option');
  }
  return (pretty ?? implied)
    ? prefix + marshalJson(value, context, { prefix, indent })
    : marshalJson(value, context);
}
