import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { canonical, digestOf, type Question } from '../../../src/decision/approval/question.ts';
import type { TenantId } from '../../../src/ids.ts';

const acme = 'acme' as TenantId;
const question: Question = {
  kind: 'decision',
  subject: { class: 'user', id: 'bob' },
  stated: {},
  actors: [],
  action: { name: 'publish', properties: {} },
  resource: { type: 'document', id: 'plan', properties: { pages: 7 } },
  bound: [],
  context: {},
  grant: null,
};

/** The same value with the members of its objects in another order. */
const turned = (value: unknown): unknown => {
  if (Array.isArray(value)) return value.map(turned);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .map(([name, each]) => [name, turned(each)] as const)
      .toReversed(),
  );
};

describe('canonical JSON (RFC 8785)', () => {
  test('is the same for equal values, and reads back as them', () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 4 }), (value) => {
        expect(canonical(turned(value))).toBe(canonical(value));
        expect(JSON.parse(canonical(value))).toEqual(JSON.parse(JSON.stringify(value)));
      }),
    );
  });

  test('is another one for other values', () => {
    const small = fc.jsonValue({ maxDepth: 1, stringUnit: 'grapheme-ascii' });
    fc.assert(
      fc.property(small, small, (one, other) => {
        const [same, whole] = [one, other].map((each) => JSON.parse(JSON.stringify(each)) as unknown);
        expect(canonical(one) === canonical(other)).toBe(isDeepStrictEqual(same, whole));
      }),
      { numRuns: 2_000 },
    );
  });

  test('parts names as they are, and leaves out what is not there', () => {
    expect(canonical({ b: [1, -0, 1e21], a: { '"': undefined, é: null } })).toBe(
      '{"a":{"é":null},"b":[1,0,1e+21]}',
    );
  });
});

describe('the digest of a question', () => {
  const digest = (changes: Partial<Question> = {}, tenant = acme, caller = 'service:pep'): string =>
    digestOf(tenant, caller, { ...question, ...changes }).toString('hex');

  test('is of all of it, with its tenant and caller', () => {
    const grant = {
      scope: ['a'],
      use: 'act',
      audiences: ['x'],
      authorization_details: [],
      may_act: null,
      jkt: null,
      x5tS256: null,
      task: null,
    };
    const all = [
      digest(),
      digest({}, 'globex' as TenantId),
      digest({}, acme, 'service:other'),
      digest({ kind: 'exchange' }),
      digest({ subject: { class: 'agent', id: 'bob' } }),
      digest({ stated: { vip: true } }),
      digest({ actors: [{ class: 'agent', id: 'a' }] }),
      digest({ action: { name: 'publish', properties: { force: true } } }),
      digest({ resource: { type: 'document', id: 'plan', properties: { pages: '7' } } }),
      digest({ bound: ['ticket'] }),
      digest({ bound: ['ticket'], context: { ticket: 1 } }),
      digest({ grant }),
      digest({ grant: { ...grant, task: 't' } }),
      digest({ grant: { ...grant, jkt: 'k' } }),
      digest({ grant: { ...grant, x5t_s256: 'k' } }),
    ];
    expect(new Set(all).size).toBe(all.length);
    expect(digest()).toBe(digest());
  });
});
