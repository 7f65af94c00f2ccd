import type { Condition, Path, Value } from '../condition.ts';
import { planUnsupported } from '../rego.ts';
import { checkFields, type Field, type Fields, locate } from './fields.ts';
import { type Access, type Kind, type Logic, logicOf, type WriteElement, Writer } from './writer.ts';

/** A query of Elasticsearch's or OpenSearch's, for the place of a filter. */
export type Query = Readonly<Record<string, unknown>>;

/**
 * For fields that are mapped as `keyword` (text), as a number or as `boolean`; `texts` and `numbers` are the same with
 * several values. The index knows no types beside the mapping, no null and no empty list, and not which values were of one
 * element: what asks for that is `plan_unsupported`, and so is `json`.
 */
export function renderElasticsearch(condition: Condition, fields: Fields): Query {
  checkFields(fields);
  const column = (path: Path): Access<Query> => {
    const { field } = locate(path, fields);
    if (field.type === 'json')
      throw planUnsupported(`${path.join('.')} is json, of which Elasticsearch's index has no exact form`);
    return field.type === 'texts' || field.type === 'numbers' ? listAccess(path, field) : scalarAccess(field);
  };
  return new Writer(logic, column).write(condition);
}

const ALL: Query = { match_all: {} };
const NONE: Query = { match_none: {} };

const logic: Logic<Query> = logicOf<Query>(
  { always: ALL, never: NONE },
  {
    all: (of) => ({ bool: { filter: of } }),
    some: (of) => ({ bool: { should: of, minimum_should_match: 1 } }),
    not: (of) => ({ bool: { must_not: [of] } }),
  },
);

const RANGES = { '<': 'lt', '<=': 'lte', '>': 'gt', '>=': 'gte' } as const;

const existsIn = (field: string): Query => ({ exists: { field } });

function valuesIn(name: string): Pick<Access<Query>, 'compared' | 'text'> {
  return {
    compared: (_kind, op, value) =>
      op === '='
        ? { term: { [name]: { value: sound(value) } } }
        : { range: { [name]: { [RANGES[op]]: sound(value) } } },
    text: (op, value) => {
      if (op === 'starts_with') return { prefix: { [name]: { value: sound(value) } } };
      const literal = String(sound(value)).replace(/[\\*?]/g, '\\$&');
      return { wildcard: { [name]: { value: op === 'ends_with' ? `*${literal}` : `*${literal}*` } } };
    },
  };
}

/** Longer terms are in no index. */
const MAX_TERM_BYTES = 32_766;

function sound(value: Value): Value {
  if (typeof value === 'string' && Buffer.byteLength(value) > MAX_TERM_BYTES)
    throw planUnsupported(`a text of more than ${MAX_TERM_BYTES} bytes is no term of Elasticsearch's`);
  return value;
}

function scalarAccess({ name, type, null: meaning = 'either' }: Field): Access<Query> {
  const own = type as Kind;
  const exists = existsIn(name);
  return {
    kinds: [own],
    isOf: (kind) => (kind === own ? exists : NONE),
    ...valuesIn(name),
    impliesKind: true,
    isNull: { is: logic.not(exists), meaning },
    elements: undefined,
  };
}

/** A list: what is asked of some element is asked of the field. */
function listAccess(path: Path, { name, type, null: meaning = 'either' }: Field): Access<Query> {
  const exists = existsIn(name);
  const element: Access<Query> = {
    ...scalarAccess({ name, type: type === 'texts' ? 'text' : 'number' }),
    isNull: undefined,
  };
  return {
    kinds: ['array'],
    isOf: (kind) => (kind === 'array' ? exists : NONE),
    compared: () => NONE,
    text: () => NONE,
    // One without elements is as one that is not there.
    isNull: { is: logic.not(exists), meaning, orEmpty: true },
    elements: (known, of, write) => ofSome(path, known, of, write, element),
  };
}

/** An `or` is asked part by part; for any other two parts of one element there is no query. */
function ofSome(
  path: Path,
  name: string,
  of: Condition,
  write: WriteElement<Query>,
  element: Access<Query>,
): Query {
  if (of.op === 'or') return logic.some(of.of.map((each) => ofSome(path, name, each, write, element)));
  const isOfElement = 'attribute' in of && of.attribute.length === 1 && of.attribute[0] === name;
  // It is asked of each value by itself, and of none: another one of the list may hold where this does not.
  if (!isOfElement || of.op === 'any' || of.op === 'ne' || of.op === 'contains')
    throw planUnsupported(
      `what is asked of an element of ${path.join('.')} has no exact form in Elasticsearch: ${of.op}`,
    );
  return write(of, () => element);
}
