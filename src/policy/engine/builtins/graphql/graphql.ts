import { RegoObject, type Value } from '../../values/values.ts';
import { type BuiltinContext, BuiltinError, type BuiltinTable, text } from '../builtin.ts';
import { unmarshalJson } from '../data/documents.ts';
import { marshalJson } from '../data/json.ts';
import { type Node, nodeOf, valueOf } from './nodes.ts';
import { parseQuery } from './queries.ts';
import { checkQuery } from './rules.ts';
import { schemaOf } from './schema.ts';
import { parseSchema } from './schemas.ts';

/** GraphQL as gqlparser reads and validates it: documents as texts, or as the objects that these built-ins answer. */
export const graphqlBuiltins: BuiltinTable = {
  'graphql.parse_query': ([query], context) => valueOf(parseQuery(text(query), context), context),
  'graphql.parse_schema': ([schema], context) => valueOf(parseSchema(text(schema), context), context),
  'graphql.parse': ([query, schema], context) => parse(query, schema, context),
  'graphql.parse_and_verify': ([query, schema], context) =>
    attempt(() => [true, ...parse(query, schema, context)], [false, new RegoObject(), new RegoObject()]),
  'graphql.is_valid': ([query, schema], context) =>
    attempt(() => {
      const document = queryOf(query, context);
      checkQuery(schemaOf(schemaDocumentOf(schema, context), context), document, context);
      return true;
    }, false),
  'graphql.schema_is_valid': ([schema], context) =>
    attempt(() => {
      schemaOf(schemaDocumentOf(schema, context), context);
      return true;
    }, false),
};

function attempt(work: () => Value, otherwise: Value): Value {
  try {
    return work();
  } catch (error) {
    if (error instanceof BuiltinError) return otherwise;
    throw error;
  }
}

/** Both documents, as they are written. */
function parse(query: Value | undefined, schema: Value | undefined, context: BuiltinContext): [Value, Value] {
  const document = queryOf(query, context);
  const types = schemaDocumentOf(schema, context);
  checkQuery(schemaOf(types, context), document, context);
  return [valueOf(document, context), valueOf(types, context)];
}

function queryOf(value: Value | undefined, context: BuiltinContext): Node<'QueryDocument'> {
  return typeof value === 'string'
    ? parseQuery(value, context)
    : nodeOf('QueryDocument', jsonOf(value, context), context);
}

function schemaDocumentOf(value: Value | undefined, context: BuiltinContext): Node<'SchemaDocument'> {
  return typeof value === 'string'
    ? parseSchema(value, context)
    : nodeOf('SchemaDocument', jsonOf(value, context), context);
}

/** As JSON has it: sets are lists. */
function jsonOf(value: Value | undefined, context: BuiltinContext): Value {
  if (!(value instanceof RegoObject)) throw new BuiltinError('neither a string nor an object');
  return unmarshalJson(marshalJson(value, context), context);
}
