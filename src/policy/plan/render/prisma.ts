import type { Condition, Path, Value } from '../condition.ts';
import { planUnsupported } from '../rego.ts';
import { checkFields, type Field, type Fields, locate } from './fields.ts';
import { type Access, type Kind, type Logic, logicOf, Writer } from './writer.ts';

/** What `where` of a Prisma client takes. */
export type Where = Readonly<Record<string, unknown>>;

/**
 * For Prisma on databases that compare text by its bytes (PostgreSQL, CockroachDB, SQLite): fields of text, numbers and
 * booleans that may be null, or are said never to be. The order of texts and what is in them goes by each database's
 * collation, so it is `plan_unsupported`, and so are lists and `json`.
 */
export function renderPrisma(condition: Condition, fields: Fields): Where {
  checkFields(fields);
  const column = (path: Path): Access<Where> => {
    const { field } = locate(path, fields);
    if (!/^[A-Za-z]\w*$/.test(field.name))
      throw planUnsupported(`${field.name.slice(0, 256)} is no field of a Prisma model`);
    if (field.type !== 'text' && field.type !== 'number' && field.type !== 'boolean')
      throw planUnsupported(`${path.join('.')} is ${field.type}, which Prisma has no exact filter for`);
    return scalarAccess(path, field);
  };
  return new Writer(logic, column).write(condition);
}

const ALL: Where = {};
/** As Prisma's documentation has it: of no alternatives none holds. */
const NONE: Where = { OR: [] };

const logic: Logic<Where> = logicOf<Where>(
  { always: ALL, never: NONE },
  { all: (of) => ({ AND: of }), some: (of) => ({ OR: of }), not: (of) => ({ NOT: of }) },
);

const OPERATORS = { '=': 'equals', '<': 'lt', '<=': 'lte', '>': 'gt', '>=': 'gte' } as const;

function scalarAccess(path: Path, { name, type, null: meaning = 'either' }: Field): Access<Where> {
  const own = type as Kind;
  const unsupported = (what: string): never => {
    throw planUnsupported(`${what} of ${path.join('.')} goes by the database's collation in Prisma`);
  };
  const exists = meaning === 'never' ? anyOf(name, own) : { [name]: { not: null } };
  return {
    kinds: [own],
    // Beside each comparison, so that none is unknown, which `NOT` would leave so.
    isOf: (kind) => (kind === own ? exists : NONE),
    compared: (kind, op, value) =>
      kind === 'text' && op !== '='
        ? unsupported('the order')
        : { [name]: { [OPERATORS[op]]: sound(value) } },
    text: () => unsupported('a part'),
    isNull: { is: meaning === 'never' ? logic.not(exists) : { [name]: { equals: null } }, meaning },
    elements: undefined,
  };
}

/** Any value at all. A required field takes no null, and in one that has it after all this is unknown, so it is not selected. */
function anyOf(name: string, kind: Kind): Where {
  if (kind === 'text') return { [name]: { gte: '' } };
  const [one, other] = kind === 'boolean' ? [{ equals: true }, { equals: false }] : [{ gte: 0 }, { lt: 0 }];
  return logic.some([{ [name]: one }, { [name]: other }]);
}

function sound(value: Value): Value {
  if (typeof value === 'string' && value.includes('\0'))
    throw planUnsupported('text with a null character in it is not compared in SQL');
  return value;
}
