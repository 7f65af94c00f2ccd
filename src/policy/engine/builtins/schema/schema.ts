import { isArray, RegoObject, type Value } from '../../values/values.ts';
import { any, type BuiltinContext, BuiltinError, type BuiltinTable } from '../builtin.ts';
import { unmarshalJson } from '../data/documents.ts';
import { marshalJson } from '../data/json.ts';
import { compileSchema } from './compile.ts';
import { SchemaError } from './messages.ts';
import { Validator } from './validate.ts';

/**
 * JSON Schema of drafts 4, 6 and 7, as OPA's evaluator understands it (gojsonschema). Patterns are RE2's, references
 * lead within the schema, or to a meta-schema: nothing is fetched.
 */
export const schemaBuiltins: BuiltinTable = {
  'json.verify_schema': ([schema], context) => verify(any(schema), context),
  'json.match_schema': ([document, schema], context) => {
    const value = documentOf(any(document), context);
    const outcome = new Validator(context).judge(
      compileSchema(documentOf(any(schema), context), context),
      value,
      undefined,
    );
    const mistakes = outcome.mistakes.map(
      ({ type, field, description }) =>
        new RegoObject([
          ['error', `${field}: ${description}`],
          ['type', type],
          ['field', field],
          ['desc', description],
        ]),
    );
    return [outcome.isValid, mistakes];
  },
};

function verify(schema: Value, context: BuiltinContext): Value {
  try {
    compileSchema(documentOf(schema, context), context);
    return [true, null];
  } catch (error) {
    if (error instanceof BuiltinError) return [false, `jsonschema: ${error.message}`];
    throw error;
  }
}

/** A text is JSON; sets are arrays, and names are texts. */
function documentOf(value: Value, context: BuiltinContext): Value {
  if (typeof value === 'string') {
    try {
      return unmarshalJson(value, context);
    } catch (error) {
      if (error instanceof BuiltinError) throw new SchemaError('invalid JSON string', { cause: error });
      throw error;
    }
  }
  if (!isArray(value) && !(value instanceof RegoObject))
    throw new SchemaError('wrong type, expected string or object');
  return unmarshalJson(marshalJson(value, context), context);
}
