import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseTable } from '../../src/tenancy/folder/parser.ts';
import { MAX_TESTS, readTable, TableInvalid } from '../../src/tenancy/folder/table.ts';
import { processorMs } from '../processor.ts';

/** A table of requests: what is taken, and that nothing else is. */

const LEAST = [
  'tests:',
  '  - name: one',
  '    subject: user:alice',
  '    action: read',
  '    resource: document:a',
  '    expect: allow',
];
const least = (...more: string[]): string =>
  `${[...LEAST, ...more.map((line) => `    ${line}`)].join('\n')}\n`;

const refusal = (text: string): { line: number; message: string } => {
  try {
    readTable(text);
  } catch (error) {
    if (error instanceof TableInvalid) return { line: error.line, message: error.message };
    throw error;
  }
  throw new Error('it was taken');
};

test('the shortest form says what is left out', () => {
  expect(readTable(least())).toEqual([
    {
      name: 'one',
      subject: 'user:alice',
      actors: [],
      action: 'read',
      resource: 'document:a',
      context: {},
      grant: null,
      expect: 'allow',
      line: 2,
      subjectLine: 3,
      actorLines: [],
    },
  ]);
  expect(readTable('')).toEqual([]);
  expect(readTable('tests: []')).toEqual([]);
});

describe('what is not understood is refused with its line', () => {
  test.each([
    ['a member that is mistyped', least('reason: [a]'), 7, 'tests.0: Unrecognized key: "reason"'],
    ['another member of the file', `${least()}test: []\n`, 7, 'document: Unrecognized key: "test"'],
    ['an outcome there is not', least().replace('allow', 'permit'), 6, 'it is allow, deny or challenge'],
    ['a class there is not', least().replace('user:alice', 'usr:alice'), 3, 'a principal is user:alice'],
    [
      'a member of a principal',
      least().replace('user:alice', '{class: user, id: a, role: [x]}'),
      3,
      'Unrecognized key: "role"',
    ],
    [
      'a resource without a type',
      least().replace('document:a', 'roadmap'),
      5,
      'a resource is document:roadmap',
    ],
    ['a name that is a number', least().replace('name: one', 'name: 1'), 2, 'expected string'],
    [
      'a challenge that is not expected',
      least('challenge: {type: x}'),
      7,
      'only where a challenge is expected',
    ],
    ['a time that is none', least('now: yesterday'), 7, 'a time such as 2026'],
    ['no name', 'tests:\n  - subject: user:alice\n', 2, 'tests.0.name'],
    ['two of a name', `${least()}${LEAST.slice(1).join('\n')}\n`, 7, 'two tests are called "one"'],
    ['a key that stands twice', least('expect: deny'), 7, 'Map keys must be unique'],
    ['no table', '- a\n', 0, 'document: '],
    ['no YAML', 'tests: [\n', 2, ''],
    ['a control character', least('# \u0007'), 7, 'a character that YAML does not have'],
  ])('%s', (_what, text, line, message) => {
    const found = refusal(text);
    expect(found.message).toContain(message);
    expect(found.line).toBe(line);
  });
});

describe('hostile', () => {
  test('aliases are none, so there is no bomb to be made of them', () => {
    const bomb = [
      'a: &a [x]',
      ...'bcdefghij'
        .split('')
        .map((name, at) => `${name}: &${name} [${Array(10).fill(`*${'abcdefghi'[at]}`).join(', ')}]`),
    ];
    const begun = processorMs();
    expect(refusal(bomb.join('\n')).message).toMatch(/alias/i);
    expect(processorMs() - begun).toBeLessThan(1_000);
  });

  test('a million aliases are refused in a second or two, not on this thread', async () => {
    const text = `a: &a 1\nb: [${'*a,'.repeat(300_000)}]\n`;
    const begun = processorMs();
    await expect(parseTable(text)).rejects.toThrow(TableInvalid);
    expect(processorMs() - begun).toBeLessThan(12_000);
  });

  test('what is deep, or long, is refused', () => {
    const deep = least(`context: ${'{a: '.repeat(80)}1${'}'.repeat(80)}`);
    expect(refusal(deep).message).toContain('levels deep');
    expect(refusal(least(`context: ${'['.repeat(20_000)}`)).message).not.toBe('');
    const many = `tests:\n${Array.from({ length: MAX_TESTS + 1 }, (_, at) => LEAST.slice(1).join('\n').replace('one', `t${at}`)).join('\n')}\n`;
    expect(refusal(many).message).toContain('tests: ');
  });

  test('members that mean something to the language are members like any other', () => {
    const [read] = readTable(least('context: { constructor: 1, toString: 2 }'));
    expect(read?.context).toEqual({ constructor: 1, toString: 2 });
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
  });

  test('whatever is written, it is taken or refused, and nothing else happens', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string({ unit: 'grapheme' }),
          fc.string({ unit: fc.constantFrom(...Array.from('-:[]{}&*! \n\tabc#"\'|>%@')) }),
        ),
        (text) => {
          try {
            readTable(text);
          } catch (error) {
            if (!(error instanceof TableInvalid)) throw error;
          }
        },
      ),
      { numRuns: 1_000 },
    );
  });
});
