import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  active,
  admin,
  alice,
  archived,
  bob,
  Certified,
  context,
  decides,
  decidesAll,
  deletion,
  first,
  JSON_TYPE,
  read,
  record1,
  record2,
  write,
} from './fixture.ts';

/** AuthZEN's certification scenario: Basic and Batch. See fixture.ts. */

let certified: Certified;
beforeAll(async () => {
  certified = await Certified.start();
});
afterAll(() => certified[Symbol.asyncDispose]());

describe('c-1-4: the eight decisions of the fixture', () => {
  test.each([
    [1, alice, read, record1, true],
    [2, alice, write, record1, true],
    [3, bob, read, record1, true],
    [4, bob, write, record1, false],
    [5, alice, write, archived, false],
    [6, admin, write, archived, true],
    [7, alice, deletion(true), record1, true],
    [8, alice, deletion(false), record1, false],
  ] as const)('rule %i, with and without a context', async (_rule, subject, action, resource, decision) => {
    await decides(certified.evaluate({ subject, action, resource }), decision);
    await decides(certified.evaluate({ subject, action, resource, context }), decision);
  });
});

describe('c-2, Basic: one evaluation', () => {
  test('c-2-2: properties beyond the fixture and members that nobody knows change nothing', async () => {
    await decides(
      certified.evaluate({
        subject: { ...alice, properties: { department: 'Sales', role: 'manager' } },
        action: { ...read, properties: { method: 'GET' } },
        resource: { ...record1, properties: { status: 'active', owner: 'bob' } },
      }),
      true,
    );
    await decides(certified.evaluate({ ...first, foo: 'bar', futureField: { nested: true } }), true);
  });

  test.each([
    ['no subject', { action: read, resource: record1 }],
    ['no action', { subject: alice, resource: record1 }],
    ['no resource', { subject: alice, action: read }],
    ['a subject without type', { ...first, subject: { id: 'alice' } }],
    ['a subject without id', { ...first, subject: { type: 'user' } }],
    ['an action without name', { ...first, action: {} }],
    ['a resource without type', { ...first, resource: { id: 'record-1' } }],
    ['a resource without id', { ...first, resource: { type: 'record' } }],
    ['a subject that is text', { ...first, subject: 'alice' }],
    ['a name that is a number', { ...first, action: { name: 123 } }],
    ['malformed JSON', '{"subject": '],
    ['an empty body', ''],
  ])('c-2-4: 400 for %s', async (_what, body) => {
    expect((await certified.evaluate(body)).status).toBe(400);
  });

  test('c-2-4-3: 400 for another content type', async () => {
    const answer = await certified.evaluate(first, { 'content-type': 'text/plain' });
    expect(answer.status).toBe(400);
  });

  test('c-2-5: X-Request-ID comes back, and may be left out', async () => {
    const id = 'bfe9eb29-ab87-4ca3-be83-a1d5d8305716';
    const { status, headers } = await certified.evaluate(first, { ...JSON_TYPE, 'x-request-id': id });
    expect([status, headers['x-request-id']]).toEqual([200, id]);
    expect((await certified.evaluate(first)).status).toBe(200);
  });

  test('c-2-6: the same question has the same answer', async () => {
    for (let round = 0; round < 5; round += 1) {
      await decides(certified.evaluate(first), true);
      await decides(certified.evaluate({ ...first, subject: bob, action: write }), false);
    }
  });
});

describe('c-3, Batch: several evaluations', () => {
  test('c-3-2: each has a decision, in the order asked, with what the body says once', async () => {
    await decidesAll(
      certified.evaluateAll({
        subject: alice,
        action: read,
        evaluations: [{ resource: record1 }, { resource: record2 }],
      }),
      [true, undefined],
    );
    await decidesAll(
      certified.evaluateAll({
        subject: bob,
        resource: record1,
        evaluations: [{ action: read }, { action: write }],
      }),
      [true, false],
    );
    await decidesAll(
      certified.evaluateAll({
        evaluations: [first, { subject: bob, action: write, resource: record1 }],
      }),
      [true, false],
    );
    await decidesAll(
      certified.evaluateAll({
        subject: alice,
        action: read,
        context,
        evaluations: [{ resource: record1 }, { resource: record2, context: { source: 'batch-override' } }],
      }),
      [true, undefined],
    );
  });

  test('c-3-2-3, c-3-2-4, c-3-2-7: properties are of their item, and an own member replaces one whole', async () => {
    await decidesAll(
      certified.evaluateAll({
        subject: alice,
        action: write,
        evaluations: [{ resource: active }, { resource: archived }],
      }),
      [true, false],
    );
    await decidesAll(
      certified.evaluateAll({
        action: write,
        resource: archived,
        evaluations: [{ subject: alice }, { subject: admin }],
      }),
      [false, true],
    );
    await decidesAll(
      certified.evaluateAll({
        subject: alice,
        action: write,
        resource: active,
        evaluations: [{}, { resource: archived }],
      }),
      [true, false],
    );
  });

  test('c-3-4-1: one that is incomplete, or of another form, is false by itself', async () => {
    const options = { evaluations_semantic: 'execute_all' };
    const body = { subject: alice, action: read, options };
    await decidesAll(certified.evaluateAll({ ...body, evaluations: [{ resource: record1 }, {}] }), [
      true,
      false,
    ]);
    const wrong = [{ resource: 'record-1' }, 7, null, { resource: { type: 'record' } }];
    await decidesAll(certified.evaluateAll({ ...body, evaluations: [...wrong, { resource: record1 }] }), [
      false,
      false,
      false,
      false,
      true,
    ]);
    expect((await certified.evaluateAll('{"evaluations": [')).status).toBe(400);
  });

  test('c-3-4-2, c-3-4-3: without evaluations, or with none, it is one evaluation', async () => {
    for (const body of [first, { ...first, evaluations: [] }])
      await decides(certified.evaluateAll(body), true);
  });
});
