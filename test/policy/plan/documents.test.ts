import { Query } from 'mingo';
import { describe, expect, test } from 'vitest';
import { ServiceError } from '../../../src/errors.ts';
import type { Condition } from '../../../src/policy/plan/condition.ts';
import { renderElasticsearch } from '../../../src/policy/plan/render/elasticsearch.ts';
import type { Field, Fields } from '../../../src/policy/plan/render/fields.ts';
import { renderMongodb } from '../../../src/policy/plan/render/mongodb.ts';
import { renderPrisma } from '../../../src/policy/plan/render/prisma.ts';
import { fieldsOf, fitsPostgres } from './databases.ts';
import { elasticsearchHolds, prismaHolds } from './evaluators.ts';
import { attributes, type Resource } from './grammar.ts';
import { eachPlan, type Meaning, meanings, PATIENCE_MS, RUNS, wrong } from './planned.ts';

/** Filters that are objects. MongoDB's language is evaluated by mingo, which is not MongoDB; the others by readings of our own. */

type Filter = Readonly<Record<string, unknown>>;

interface Form {
  readonly render: (condition: Condition, fields: Fields) => Filter;
  readonly types: Readonly<Record<string, Field['type']>>;
  readonly fits: (row: Resource) => boolean;
  readonly selects: (filter: Filter) => (row: Resource) => boolean;
  /** How a row without a value may be asked for, beside what its scalars mean. */
  readonly asked: (row: Resource, meaning: Meaning) => readonly Resource[];
  /** Of rows that do not fit, nothing that is denied is selected. */
  readonly isSoundForAll: boolean;
}

const isList = (value: unknown): boolean =>
  value === null ||
  value === undefined ||
  (Array.isArray(value) && value.every((each) => typeof each === 'string'));

/** The index does not tell them apart; whether null is among them was said. */
const withoutTags = (row: Resource, meaning: Meaning): readonly Resource[] => {
  const { tags, ...rest } = row.properties;
  if (tags !== undefined && tags !== null && (tags as unknown[]).length > 0) return [row];
  const none = [{}, { tags: [] }, ...(meaning === 'absent' ? [] : [{ tags: null }])];
  return none.map((each) => ({ id: row.id, properties: { ...rest, ...each } }));
};

const forms: Readonly<Record<string, Form>> = {
  mongodb: {
    render: renderMongodb,
    types: attributes,
    fits: fitsPostgres,
    selects: (filter) => {
      const query = new Query(structuredClone(filter) as never);
      return ({ id, properties }) => query.test(structuredClone({ ...properties, id }));
    },
    asked: (row) => [row],
    isSoundForAll: true,
  },
  elasticsearch: {
    render: renderElasticsearch,
    types: { ...attributes, tags: 'texts' },
    fits: (row) => fitsPostgres(row) && isList(row.properties['tags']),
    selects: (filter) => (row) => elasticsearchHolds(filter, { ...row.properties, id: row.id }),
    asked: withoutTags,
    isSoundForAll: false,
  },
  prisma: {
    render: renderPrisma,
    types: attributes,
    fits: fitsPostgres,
    selects: (filter) => (row) => prismaHolds(filter, { ...row.properties, id: row.id }) === true,
    asked: (row) => [row],
    isSoundForAll: false,
  },
};

const cases = Object.keys(forms).flatMap((name) =>
  (['absent', 'null', 'either', 'never'] as const).map((meaning) => [name, meaning] as const),
);

test.each(cases)(
  '%s selects what is allowed, where no value is %s, and refuses what it cannot say',
  async (name, meaning) => {
    const form = forms[name] as Form;
    const met = { selected: 0, left: 0, rendered: 0, refused: 0 };
    await eachPlan((each, all) => {
      let filter: Filter;
      try {
        filter = form.render(each.subject.plan.condition, fieldsOf(form.types, meaning));
      } catch (error) {
        if (!(error instanceof ServiceError) || error.code !== 'plan_unsupported') throw error;
        met.refused += 1;
        return;
      }
      met.rendered += 1;
      const selects = form.selects(filter);
      for (const row of all) {
        const isFitting = form.fits(row);
        if (!isFitting && !form.isSoundForAll) continue;
        const isIn = selects(row);
        const answers = form.asked(row, meaning).flatMap(meanings[meaning]).map(each.subject.allows);
        if (isFitting) met[isIn ? 'selected' : 'left'] += 1;
        const isMissed = answers.length === 1 && answers[0] && each.isCertain && isFitting;
        if (isIn ? answers.includes(false) : isMissed) throw wrong(each, row, !isIn, JSON.stringify(filter));
      }
    });
    if (RUNS < 100) return;
    expect(Math.min(...Object.values(name === 'mongodb' ? { ...met, refused: 1 } : met))).toBeGreaterThan(0);
  },
  PATIENCE_MS,
);

const at = (...members: string[]): readonly string[] => ['resource', 'properties', ...members];
const field = (type: Field['type'], meaning: Field['null'] = 'absent'): Fields =>
  new Map([['resource.properties.a', { name: 'a', type, null: meaning }]]);

describe('what a form cannot say exactly is refused by name', () => {
  test.each<[string, Condition, Field['type'], RegExp]>([
    ['elasticsearch', { op: 'exists', attribute: at('a') }, 'json', /resource\.properties\.a is json/],
    [
      'elasticsearch',
      {
        op: 'any',
        attribute: at('a'),
        element: 'x',
        of: { op: 'not', of: { op: 'eq', attribute: ['x'], value: 'y' } },
      },
      'texts',
      /an element of resource\.properties\.a .*: not/,
    ],
    [
      'elasticsearch',
      {
        op: 'any',
        attribute: at('a'),
        element: 'x',
        of: {
          op: 'and',
          of: [
            { op: 'gt', attribute: ['x'], value: 1 },
            { op: 'lt', attribute: ['x'], value: 5 },
          ],
        },
      },
      'numbers',
      /an element of resource\.properties\.a .*: and/,
    ],
    ['prisma', { op: 'lt', attribute: at('a'), value: 'x' }, 'text', /the order of resource\.properties\.a/],
    [
      'prisma',
      { op: 'starts_with', attribute: at('a'), value: 'x' },
      'text',
      /a part of resource\.properties\.a/,
    ],
    ['prisma', { op: 'exists', attribute: at('a') }, 'json', /resource\.properties\.a is json/],
    [
      'prisma',
      { op: 'contains', attribute: at('a'), value: 'x' },
      'texts',
      /resource\.properties\.a is texts/,
    ],
    ['prisma', { op: 'eq', attribute: at('a'), value: 'x\0' }, 'text', /null character/],
    ['mongodb', { op: 'contains_text', attribute: at('a'), value: 'x\0' }, 'text', /null character/],
  ])('%s: %j of %s', (name, condition, type, words) => {
    expect(() => forms[name]?.render(condition, field(type))).toThrow(words);
  });

  test('a field of MongoDB that is an operator', () => {
    const fields: Fields = new Map([['resource.properties.a', { name: '$where', type: 'text' }]]);
    expect(() => renderMongodb({ op: 'exists', attribute: at('a') }, fields)).toThrow('no path of fields');
  });
});

test('values that look like operators, fields or patterns are values', () => {
  for (const value of ['$a', '$$ROOT', '.*', 'a\nb', '\\', '*', 'ü😀'])
    for (const op of ['eq', 'starts_with', 'ends_with', 'contains_text'] as const)
      for (const type of ['text', 'json'] as const) {
        const condition: Condition = { op, attribute: at('a'), value };
        const query = new Query(renderMongodb(condition, field(type)));
        expect(query.test({ a: value }), `${op} ${value}`).toBe(true);
        expect(
          query.test({
            a: `${op === 'ends_with' ? '' : 'x'}${value.slice(1)}${op === 'ends_with' ? '\n' : ''}`,
          }),
        ).toBe(false);
        if (type === 'json') continue;
        const es = renderElasticsearch(condition, field(type));
        expect(elasticsearchHolds(es, { a: value })).toBe(true);
        expect(elasticsearchHolds(es, { a: 'zzz' })).toBe(false);
      }
});

test('of MongoDB a value of another type, or in a list, or beyond JSON, is selected by nothing', () => {
  const eq: Condition = { op: 'eq', attribute: at('a'), value: 'x' };
  for (const type of ['text', 'json'] as const)
    for (const a of [new Date(0), ...(type === 'text' ? [1, true, ['x'], ['y'], [], [null], {}] : [])])
      for (const condition of [eq, { op: 'not', of: eq } as const]) {
        const filter = renderMongodb(condition, field(type));
        expect(new Query(filter as never).test({ a }), JSON.stringify([type, a, condition])).toBe(false);
      }
});

test.each(['text', 'number', 'boolean'] as const)(
  'of Prisma a %s that is said to be always there, and is not, is selected by nothing',
  (type) => {
    const value = { text: 'x', number: -1, boolean: false }[type];
    const exists: Condition = { op: 'exists', attribute: at('a') };
    const asked: Condition[] = [
      exists,
      { op: 'eq', attribute: at('a'), value },
      { op: 'eq', attribute: at('a'), value: null },
    ];
    const each = asked.flatMap((of): Condition[] => [
      of,
      { op: 'not', of },
      { op: 'not', of: { op: 'not', of } },
      { op: 'not', of: { op: 'or', of: [of, { op: 'not', of: exists }] } },
    ]);
    for (const condition of each)
      expect(
        [condition, prismaHolds(renderPrisma(condition, field(type, 'never')), { a: null })],
        JSON.stringify(condition),
      ).not.toContain(true);
    expect(prismaHolds(renderPrisma(exists, field(type, 'never')), { a: value })).toBe(true);
  },
);
