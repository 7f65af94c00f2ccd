/**
 * Small readings of two languages of filters, written from their documentation and not from the renderers: no npm package
 * is Elasticsearch, and a Prisma client is made for one schema.
 */

type Json = Readonly<Record<string, unknown>>;

/** What an index has of a field: its values, in no order, without nulls. */
const indexed = (value: unknown): readonly unknown[] =>
  (Array.isArray(value) ? value : [value]).filter((each) => each !== null && each !== undefined);

const order = (one: unknown, other: unknown): number =>
  typeof one === 'string'
    ? Buffer.compare(Buffer.from(one), Buffer.from(String(other)))
    : Number(one) - Number(other);

const ranges: Readonly<Record<string, (by: number) => boolean>> = {
  lt: (by) => by < 0,
  lte: (by) => by <= 0,
  gt: (by) => by > 0,
  gte: (by) => by >= 0,
};

/** `*` stands for any characters, a backslash for the next as it is; `?` is not used. */
function wildcard(pattern: string): RegExp {
  const parts = pattern.match(/\\[\s\S]|\*|[^\\*]/gu) ?? [];
  return new RegExp(
    `^${parts.map((part) => (part === '*' ? '[^]*' : RegExp.escape(part.replace(/^\\(?=[^])/, '')))).join('')}$`,
    'u',
  );
}

export function elasticsearchHolds(query: Json, document: Json): boolean {
  const [kind, body] = Object.entries(query)[0] ?? ['', {}];
  const [field, said] = Object.entries((body ?? {}) as Json)[0] ?? ['', {}];
  const values = indexed(document[kind === 'exists' ? String((body as Json)['field']) : field]);
  const value = (said as { value?: unknown } | undefined)?.value;
  switch (kind) {
    case 'match_all':
      return true;
    case 'match_none':
      return false;
    case 'exists':
      return values.length > 0;
    case 'term':
      return values.includes(value);
    case 'range':
      return values.some((each) =>
        Object.entries(said as Json).every(([op, bound]) => ranges[op]?.(order(each, bound))),
      );
    case 'prefix':
      return values.some((each) => String(each).startsWith(String(value)));
    case 'wildcard':
      return values.some((each) => wildcard(String(value)).test(String(each)));
    case 'bool': {
      const {
        filter = [],
        should,
        must_not: not = [],
        minimum_should_match: least,
      } = body as {
        filter?: Json[];
        should?: Json[];
        must_not?: Json[];
        minimum_should_match?: number;
      };
      if (should && least !== 1) throw new Error('should without minimum_should_match is no condition');
      const held = (each: Json): boolean => elasticsearchHolds(each, document);
      return filter.every(held) && !not.some(held) && (!should || should.some(held));
    }
    default:
      throw new Error(`no such query: ${kind}`);
  }
}

/** SQL's: undefined is unknown. */
type Known = boolean | undefined;
const and = (of: readonly Known[]): Known =>
  of.includes(false) ? false : of.includes(undefined) ? undefined : true;
const not = (of: Known): Known => (of === undefined ? undefined : !of);

/** As Prisma writes it in SQL; a row is selected where it is true. */
export function prismaHolds(where: Json, row: Json): Known {
  return and(
    Object.entries(where).map(([name, said]): Known => {
      const of = (said as Json[]) ?? [];
      if (name === 'AND') return and(of.map((each) => prismaHolds(each, row)));
      if (name === 'OR') return not(and(of.map((each) => not(prismaHolds(each, row)))));
      if (name === 'NOT') return not(prismaHolds(said as Json, row));
      const value = row[name] ?? null;
      return and(
        Object.entries(said as Json).map(([op, wanted]): Known => {
          if (op === 'equals' && wanted === null) return value === null;
          if (op === 'not' && wanted === null) return value !== null;
          if (value === null) return undefined;
          if (op === 'equals') return value === wanted;
          const range = { ...ranges }[op];
          // Any text is not less than none at all, by any collation; all else goes by it.
          const isOrdered = typeof value === 'number' || (op === 'gte' && wanted === '');
          if (!range || !isOrdered) throw new Error(`no such filter: ${op}`);
          return range(order(value, wanted));
        }),
      );
    }),
  );
}
