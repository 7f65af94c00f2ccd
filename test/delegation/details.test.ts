import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { covers, detailsWithin, meet, narrowDetails } from '../../src/delegation/details.ts';
import type { Detail, DetailTypes } from '../../src/tenancy/details.ts';

/** RFC 9396: what is within what, by itself, as the tenant's declarations say for each member of a type. */

const types: DetailTypes = {
  tool_call: {
    members: { server: 'same', tools: 'subset', max_calls: 'at_most' },
    required: ['tools'],
    bounds: {},
  },
  payment: { members: { account: 'same', amount: 'at_most' }, required: [], bounds: {} },
};

const call = (members: object = {}): Detail => ({ type: 'tool_call', tools: ['search'], ...members });

const codeOf = (work: () => unknown): string => {
  try {
    work();
    return 'granted';
  } catch (error) {
    return (error as { code: string }).code;
  }
};

const messageOf = (work: () => unknown): string => {
  try {
    work();
    return 'granted';
  } catch (error) {
    return (error as Error).message;
  }
};

const asking = (asked: readonly unknown[], parent?: readonly Detail[], ceiling: readonly Detail[] = OPEN) =>
  narrowDetails(types, { asked, parent, ceilings: [ceiling] });

/** A ceiling that bounds nothing of either type. */
const OPEN: readonly Detail[] = [{ type: 'tool_call' }, { type: 'payment' }];

describe('covers', () => {
  test.each<[string, object, object, boolean]>([
    ['the same', { server: 'a', max_calls: 5 }, { server: 'a', max_calls: 5 }, true],
    ['another value that stays', { server: 'a' }, { server: 'b' }, false],
    ['a value that stays, left out', { server: 'a' }, {}, false],
    ['a bound where there was none', {}, { server: 'a', max_calls: 1 }, true],
    ['a smaller set', { tools: ['search', 'read'] }, { tools: ['read'] }, true],
    ['a set in another order', { tools: ['search', 'read'] }, { tools: ['read', 'search'] }, true],
    ['a larger set', { tools: ['search'] }, { tools: ['search', 'delete'] }, false],
    ['a smaller number', { max_calls: 5 }, { max_calls: 4.5 }, true],
    ['a larger number', { max_calls: 5 }, { max_calls: 6 }, false],
    ['no number where there was one', { max_calls: 5 }, {}, false],
    ['a number as text', { max_calls: 5 }, { max_calls: '4' }, false],
    [
      'a value that stays, whatever the order of its members',
      { server: { a: 1, b: 2 } },
      { server: { b: 2, a: 1 } },
      true,
    ],
  ])('%s', (_what, parent, child, covered) => {
    expect(covers(types, call(parent), call(child))).toBe(covered);
  });

  test('is of one type alone, and of one that is declared', () => {
    expect(covers(types, { type: 'payment' }, { type: 'tool_call', tools: ['search'] })).toBe(false);
    expect(covers(types, { type: 'other' }, { type: 'other' })).toBe(false);
    expect(covers(types, { type: 'constructor' }, { type: 'constructor' })).toBe(false);
  });

  test('a parent with a member that its type declares no more covers nothing', () => {
    const before = call({ region: 'eu' });
    expect(covers(types, before, before)).toBe(false);
  });
});

describe('narrowDetails', () => {
  test('grants what is asked for, as it was asked for', () => {
    const asked = [call({ max_calls: 5 }), call({ server: 'a' })];
    expect(asking(asked)).toEqual(asked);
    expect(asking([])).toEqual([]);
  });

  test('an element is covered by one of the parent as a whole, not by two of them together', () => {
    const parent = [call({ tools: ['search'], max_calls: 9 }), call({ tools: ['delete'], max_calls: 1 })];
    expect(codeOf(() => asking([call({ tools: ['delete'], max_calls: 1 })], parent))).toBe('granted');
    for (const members of [
      { tools: ['delete'], max_calls: 9 },
      { tools: ['search', 'delete'], max_calls: 1 },
    ])
      expect(codeOf(() => asking([call(members)], parent))).toBe('invalid_authorization_details');
  });

  test('a parent without details has none to give, and neither has an agent without a ceiling for them', () => {
    expect(messageOf(() => asking([call()], []))).toBe(
      'authorization_details[0] is wider than what the presented token has',
    );
    expect(messageOf(() => asking([call()], undefined, []))).toContain('is beyond the ceiling');
  });

  test('what is left out is kept: details of a type cannot be shed', () => {
    const parent = [call({ max_calls: 5 }), { type: 'payment', amount: 10 }];
    expect(asking([], parent)).toEqual(parent);
    expect(asking([call({ max_calls: 2 })], parent)).toEqual([
      call({ max_calls: 2 }),
      { type: 'payment', amount: 10 },
    ]);
  });

  test('what is kept is within the ceilings too, and of a type that is declared still', () => {
    const parent = [call()];
    expect(messageOf(() => asking([], parent, [{ type: 'payment' }]))).toBe(
      'tool_call, which the token has, is beyond the ceiling of the agent, or of one that acted before it',
    );
    expect(codeOf(() => asking([], [{ type: 'gone' }]))).toBe('invalid_authorization_details');
  });

  test('each ceiling of the chain binds', () => {
    const ceilings = [OPEN, [call({ max_calls: 3 })]];
    const ask = (max_calls: number) => () =>
      narrowDetails(types, { asked: [call({ max_calls })], parent: undefined, ceilings });
    expect(codeOf(ask(3))).toBe('granted');
    expect(codeOf(ask(4))).toBe('invalid_authorization_details');
  });

  test.each<[string, unknown, string]>([
    ['no object', 'tool_call', 'authorization_details[0] is no object'],
    ['null', null, 'authorization_details[0] is no object'],
    ['an array', [], 'authorization_details[0] is no object'],
    ['no type', { tools: ['search'] }, 'authorization_details[0] has no type'],
    ['an unknown type', { type: 'other' }, 'is of a type that the tenant does not declare: other'],
    ['a type of the prototype', { type: 'toString' }, 'is of a type that the tenant does not declare'],
    ['an unknown member', call({ region: 'eu' }), 'has a member that tool_call does not declare: region'],
    ['a member of the prototype', call({ constructor: 1 }), 'does not declare: constructor'],
    ['what is required left out', { type: 'tool_call' }, 'tools is missing'],
    ['a set that is none', call({ tools: 'search' }), 'tools is no array'],
    ['an empty set', call({ tools: [] }), 'tools is no array'],
    ['a set with one twice', call({ tools: ['a', 'a'] }), 'tools is no array'],
    ['a set of numbers', call({ tools: [1] }), 'tools is no array'],
    ['a number that is text', call({ max_calls: '5' }), 'max_calls is no number'],
    ['a number that is not finite', call({ max_calls: Number.NaN }), 'a number that is not finite'],
    ['a value that is null', call({ server: null }), 'server is null'],
    ['half of a surrogate pair', call({ server: '\ud800' }), 'half of a surrogate pair'],
    ['what nests too deep', call({ server: [[[[[[[[[1]]]]]]]]] }), 'nests deeper than 8'],
    ['what is too long', call({ server: 'x'.repeat(4_096) }), 'at most 4096 characters'],
  ])('refuses %s', (_what, detail, message) => {
    expect(codeOf(() => asking([detail]))).toBe('invalid_authorization_details');
    expect(messageOf(() => asking([detail]))).toContain(message);
  });

  test('refuses more than sixteen, those that are kept among them', () => {
    const many = (count: number): Detail[] => Array.from({ length: count }, (_, n) => call({ max_calls: n }));
    expect(codeOf(() => asking(many(16)))).toBe('granted');
    expect(codeOf(() => asking(many(17)))).toBe('invalid_authorization_details');
    const parent = [call(), { type: 'payment' }];
    expect(codeOf(() => asking(many(15), parent))).toBe('granted');
    expect(codeOf(() => asking(many(16), parent))).toBe('invalid_authorization_details');
  });

  test('tells no value of a detail in its messages', () => {
    expect(messageOf(() => asking([call({ tools: ['secret', 'secret'] })]))).not.toContain('secret');
    expect(messageOf(() => asking([call({ server: 'secret' })], [call({ server: 'b' })]))).not.toContain(
      'secret',
    );
  });
});

/** What a detail is about: calls, each of a tool of a server, the so-and-so-manieth. */
interface Call {
  readonly server: string;
  readonly tool: string;
  readonly number: number;
}

const allows = ({ server, tools, max_calls: most }: Detail, concrete: Call): boolean =>
  (server === undefined || server === concrete.server) &&
  (tools === undefined || (tools as string[]).includes(concrete.tool)) &&
  (most === undefined || concrete.number <= (most as number));

const TOOLS = ['search', 'read', 'delete'];
const SERVERS = ['a', 'b'];
/** Beyond what any bound names too, so that one that is left out differs from each that is not. */
const every: Call[] = [...SERVERS, 'other'].flatMap((server) =>
  [...TOOLS, 'other'].flatMap((tool) => [1, 2, 3, 4].map((number) => ({ server, tool, number }))),
);

const bound = fc
  .record(
    {
      server: fc.constantFrom(...SERVERS),
      tools: fc.uniqueArray(fc.constantFrom(...TOOLS), { minLength: 1 }),
      max_calls: fc.integer({ min: 1, max: 3 }),
    },
    { requiredKeys: [] },
  )
  .map((members): Detail => ({ type: 'tool_call', ...members }));
const detail = bound.map((each): Detail => ({ tools: ['read', 'search'], ...each }));
const shuffled = (one: Detail) =>
  fc
    .shuffledSubarray(Object.entries(one), { minLength: Object.keys(one).length })
    .map((entries) => Object.fromEntries(entries) as Detail);

describe('details, whatever they are', () => {
  test('covering is reflexive and transitive', () => {
    let chains = 0;
    fc.assert(
      fc.property(bound, bound, bound, (one, two, three) => {
        expect(covers(types, one, one)).toBe(true);
        if (!covers(types, one, two) || !covers(types, two, three)) return;
        chains += 1;
        expect(covers(types, one, three)).toBe(true);
      }),
      { numRuns: 5_000 },
    );
    expect(chains).toBeGreaterThan(50);
  });

  test('what is covered allows nothing that the parent does not, and what is not covered does', () => {
    let covered = 0;
    fc.assert(
      fc.property(bound, bound, (parent, child) => {
        const isWithin = every.every((each) => !allows(child, each) || allows(parent, each));
        expect(covers(types, parent, child)).toBe(isWithin);
        covered += isWithin ? 1 : 0;
      }),
      { numRuns: 5_000 },
    );
    expect(covered).toBeGreaterThan(50);
  });

  test('the order of members, of sets and of elements changes nothing', () => {
    const pair = fc
      .tuple(bound, bound)
      .chain(([one, two]) => fc.tuple(fc.constant([one, two] as const), shuffled(one), shuffled(two)));
    fc.assert(
      fc.property(pair, ([[one, two], other, another]) => {
        const reversed = {
          ...another,
          ...(two['tools'] ? { tools: (two['tools'] as string[]).toReversed() } : {}),
        };
        expect(covers(types, other, reversed)).toBe(covers(types, one, two));
      }),
    );
    fc.assert(
      fc.property(fc.array(detail, { maxLength: 4 }), fc.array(bound, { maxLength: 4 }), (asked, parent) => {
        const code = codeOf(() => asking(asked, parent));
        expect(codeOf(() => asking(asked.toReversed(), parent.toReversed()))).toBe(code);
      }),
    );
  });

  test('what a grant has allows nothing that its parent or a ceiling does not', () => {
    let granted = 0;
    const some = fc.array(bound, { minLength: 1, maxLength: 3 });
    fc.assert(
      fc.property(
        fc.array(detail, { maxLength: 3 }),
        fc.array(detail, { maxLength: 3 }),
        some,
        (asked, parent, ceiling) => {
          let child: Detail[];
          try {
            child = asking(asked, parent, ceiling);
          } catch {
            return;
          }
          if (child.length > 0) granted += 1;
          expect(child.length > 0).toBe(parent.length > 0);
          for (const each of every.filter((concrete) => child.some((one) => allows(one, concrete)))) {
            expect(parent.some((one) => allows(one, each))).toBe(true);
            expect(ceiling.some((one) => allows(one, each))).toBe(true);
          }
        },
      ),
      { numRuns: 5_000 },
    );
    expect(granted).toBeGreaterThan(100);
  });

  test('two meet in the widest that both cover', () => {
    fc.assert(
      fc.property(bound, bound, bound, (one, two, third) => {
        const met = meet(types, one, two);
        if (met) {
          expect(covers(types, one, met) && covers(types, two, met)).toBe(true);
          for (const each of every) expect(allows(met, each)).toBe(allows(one, each) && allows(two, each));
        }
        if (covers(types, one, third) && covers(types, two, third))
          expect(met && covers(types, met, third)).toBe(true);
      }),
      { numRuns: 5_000 },
    );
  });

  test('within the bounds of a policy is what both allow, and none that another covers', () => {
    const some = fc.array(bound, { maxLength: 3 });
    fc.assert(
      fc.property(fc.array(detail, { maxLength: 3 }), some, (details, bounds) => {
        const left = detailsWithin(types, details, bounds);
        for (const each of every)
          expect(left.some((one) => allows(one, each))).toBe(
            details.some((one) => allows(one, each)) && bounds.some((one) => allows(one, each)),
          );
        for (const one of left) expect(details.some((each) => covers(types, each, one))).toBe(true);
      }),
      { numRuns: 5_000 },
    );
  });
});
