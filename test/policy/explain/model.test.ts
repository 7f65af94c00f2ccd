import fc from 'fast-check';
import { expect, test } from 'vitest';
import { explainPolicy } from '../../../src/policy/explain/explain.ts';
import { compiler, read, withFolder } from '../sources.ts';

/** For policies of any bodies, and any input: what is told is what a model of them says, and what was decided. */

interface Context {
  readonly n?: number;
  readonly tags?: readonly string[];
  readonly flag?: boolean;
}

/** Expressions, and when they hold. */
const EXPRESSIONS: readonly (readonly [text: string, holds: (context: Context) => boolean])[] = [
  ['input.context.n > 2', ({ n }) => n !== undefined && n > 2],
  ['input.context.n == 1', ({ n }) => n === 1],
  ['input.context.flag', ({ flag }) => flag === true],
  ['not input.context.flag', ({ flag }) => flag !== true],
  ['"a" in input.context.tags', ({ tags }) => tags?.includes('a') === true],
  ['count(input.context.tags) > 1', ({ tags }) => tags !== undefined && tags.length > 1],
  ['helper(input.context.n)', ({ n }) => n !== undefined && n % 2 === 0],
  ['known', ({ tags }) => tags?.includes('b') === true],
  [
    'every each in input.context.tags { each != "c" }',
    ({ tags }) => tags?.every((tag) => tag !== 'c') === true,
  ],
  ['some tag in input.context.tags; tag == "b"', ({ tags }) => tags?.includes('b') === true],
];

const HELPERS = `helper(n) if n % 2 == 0

known if {
	some tag in input.context.tags
	tag == "b"
}`;

const shared = compiler();

test('the first body of which all holds, and of those before it the first expression that does not', async () => {
  const expression = fc.integer({ min: 0, max: EXPRESSIONS.length - 1 });
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.uniqueArray(expression, { minLength: 1, maxLength: 4 }), { minLength: 1, maxLength: 6 }),
      fc.record(
        {
          n: fc.integer({ min: 0, max: 5 }),
          tags: fc.array(fc.constantFrom('a', 'b', 'c', 'd'), { maxLength: 3 }),
          flag: fc.boolean(),
        },
        { requiredKeys: [] },
      ),
      async (bodies, context) => {
        const texts = bodies.map((body) => body.map((at) => `\t${EXPRESSIONS[at]?.[0]}`).join('\n'));
        const rego = texts.map((text, n) => `# ${n}\nallow if {\n${text}\n}`).join('\n\n');
        await withFolder({ 'authz.rego': `package authz\n\n${HELPERS}\n\n${rego}\n` }, async (folder) => {
          const input = JSON.stringify({
            subject: { status: 'active' },
            actors: [],
            grant: null,
            action: { name: 'read' },
            context,
          });
          const asked = { entryPoint: 'mandate/decision', input, nowMs: 0, seed: 's' };
          const limits = { fuel: 20_000_000, memoryPages: 1_024 };
          const told = await explainPolicy(shared, await read(folder), asked, limits);
          const holds = (body: readonly number[]): boolean =>
            body.every((at) => EXPRESSIONS[at]?.[1](context));
          const first = bodies.findIndex(holds);
          expect(told.agreement).toBe('same');
          expect(told.value).toEqual(
            first >= 0 ? 'allow' : expect.objectContaining({ outcome: 'deny', undefined: true }),
          );
          const allow = told.rules.find(({ name }) => name === 'authz.allow');
          const looked = first >= 0 ? bodies.slice(0, first + 1) : bodies;
          expect(allow?.bodies.map(({ held }) => held)).toEqual(looked.map((_, at) => at === first));
          for (const [at, body] of looked.entries()) {
            if (at === first) continue;
            const failing =
              EXPRESSIONS[body.find((each) => !EXPRESSIONS[each]?.[1](context)) ?? -1]?.[0] ?? '';
            // `some` declares what the next expression is about: the loop is not empty, or it fails itself.
            const [loop = '', condition] = failing.split('; ');
            const expected = condition !== undefined && (context.tags?.length ?? 0) > 0 ? condition : loop;
            expect(allow?.bodies[at]?.failed?.text).toBe(expected);
          }
        });
      },
    ),
    { numRuns: 40 },
  );
}, 180_000);
