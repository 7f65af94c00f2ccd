import { RegoObject, type Value } from '../../values/values.ts';
import { type BuiltinContext, BuiltinError, type BuiltinTable, text } from '../builtin.ts';
import { parseUrl } from './urls.ts';

export const uriBuiltins: BuiltinTable = {
  'uri.parse': ([value], context) => partsOf(text(value), context),
  'uri.is_valid': ([value], context) => typeof value === 'string' && value !== '' && isUri(value, context),
};

function isUri(value: string, context: BuiltinContext): boolean {
  try {
    parseUrl(value, context);
    return true;
  } catch (error) {
    if (error instanceof BuiltinError) return false;
    throw error;
  }
}

/** Only what is there. */
function partsOf(value: string, context: BuiltinContext): Value {
  const { scheme, hostname, port, path, rawPath, rawQuery, fragment } = parseUrl(value, context);
  const parts = {
    scheme,
    hostname,
    port,
    path,
    raw_path: path === '' ? '' : rawPath || path,
    raw_query: rawQuery,
    fragment,
  };
  return new RegoObject(Object.entries(parts).filter(([, part]) => part !== ''));
}
