import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  type Answer,
  admin,
  alice,
  archived,
  bob,
  Certified,
  context,
  decides,
  decidesAll,
  first,
  read,
  record1,
  record2,
  write,
} from './fixture.ts';

/** AuthZEN's certification scenario: Search and Discovery. See fixture.ts. */

let certified: Certified;
beforeAll(async () => {
  certified = await Certified.start();
});
afterAll(() => certified[Symbol.asyncDispose]());

type Found = { type?: string; id?: string; name?: string };

async function finds(asked: Promise<Answer>): Promise<Found[]> {
  const { status, headers, body } = await asked;
  expect([status, headers['content-type']]).toEqual([200, 'application/json']);
  const { results } = body as { results: unknown };
  expect(results).toBeInstanceOf(Array);
  return results as Found[];
}

const readers = { subject: { type: 'user' }, action: read, resource: record1 };
const readable = { subject: alice, action: read, resource: { type: 'record' } };
const possible = { subject: alice, resource: record1 };

describe('c-4, Search', () => {
  test('S1, c-4-2: subjects, whatever the context and an id in the place of the one sought', async () => {
    const expected = await finds(certified.search('subject', readers));
    expect(expected).toEqual([alice, bob]);
    expect(await finds(certified.search('subject', { ...readers, context }))).toEqual(expected);
    expect(await finds(certified.search('subject', { ...readers, subject: alice }))).toEqual(expected);
  });

  test('S2, c-4-3: resources, likewise', async () => {
    const expected = await finds(certified.search('resource', readable));
    expect(expected).toContainEqual(record1);
    for (const { type } of expected) expect(type).toBe('record');
    expect(await finds(certified.search('resource', { ...readable, context }))).toEqual(expected);
    expect(await finds(certified.search('resource', { ...readable, resource: record1 }))).toEqual(expected);
  });

  test('S3, c-4-4: actions, likewise', async () => {
    const expected = await finds(certified.search('action', possible));
    expect(expected).toEqual(expect.arrayContaining([read, write]));
    expect(await finds(certified.search('action', { ...possible, context }))).toEqual(expected);
  });

  test('S4, S5, S6: by properties', async () => {
    const writers = { subject: { type: 'user' }, action: write, resource: archived };
    expect(await finds(certified.search('subject', writers))).toContainEqual(bob);
    const writable = { subject: admin, action: write, resource: { type: 'record' } };
    expect(await finds(certified.search('resource', writable))).toContainEqual(record2);
    expect(await finds(certified.search('action', { subject: admin, resource: archived }))).toContainEqual(
      write,
    );
  });

  test('c-4-5: pages, to the end', async () => {
    const seen: Found[] = [];
    let token: string | undefined;
    for (let page = 0; page < 5 && token !== ''; page += 1) {
      const asked = token === undefined ? { limit: 1 } : { token, limit: 1 };
      const { status, body } = await certified.search('subject', { ...readers, page: asked });
      expect(status).toBe(200);
      const answer = body as { results: Found[]; page: { next_token: unknown } };
      expect(answer.page.next_token).toBeTypeOf('string');
      seen.push(...answer.results);
      token = answer.page.next_token as string;
    }
    expect([seen, token]).toEqual([[alice, bob], '']);
    // A token alone goes on as well.
    const { body } = await certified.search('subject', { ...readers, page: { limit: 1 } });
    const { next_token: next } = (body as { page: { next_token: string } }).page;
    expect(await finds(certified.search('subject', { ...readers, page: { token: next } }))).toEqual([bob]);
  });

  test.each([
    ['subject', 'an id', { ...readers, resource: { ...record1, id: 'nowhere' }, action: write }],
    ['resource', 'an id', { ...readable, subject: { ...alice, id: 'nonexistent-user' } }],
    ['action', 'an id', { ...possible, subject: { ...alice, id: 'nonexistent-user' } }],
    ['subject', 'a type', { ...readers, subject: { type: 'spaceship' } }],
    ['resource', 'a type', { ...readable, subject: { type: 'spaceship', id: 'x' } }],
    ['resource', 'a type', { ...readable, resource: { type: 'spaceship' } }],
    ['action', 'a type', { ...possible, subject: { type: 'spaceship', id: 'x' } }],
  ])('c-4-6: %s search by %s that nobody knows is no error', async (sought, what, body) => {
    const results = await finds(certified.search(sought, body));
    // Alice may write what is not archived, wherever it is.
    if (!(sought === 'subject' && what === 'an id')) expect(results).toEqual([]);
  });

  test('c-4-6-2: an evaluation for a type that nobody knows is false', async () => {
    await decides(certified.evaluate({ ...first, subject: { type: 'spaceship', id: 'x' } }), false);
    await decidesAll(
      certified.evaluateAll({ ...first, evaluations: [{ subject: { type: 'spaceship', id: 'x' } }, {}] }),
      [false, true],
    );
  });

  test.each([
    ['subject', 'no action', { subject: { type: 'user' }, resource: record1 }],
    ['resource', 'no subject', { action: read, resource: { type: 'record' } }],
    ['action', 'no resource', { subject: alice }],
    ['subject', 'a resource without id', { ...readers, resource: { type: 'record' } }],
    ['resource', 'a subject without id', { ...readable, subject: { type: 'user' } }],
    ['action', 'a subject without id', { ...possible, subject: { type: 'user' } }],
  ])('c-4-7: 400 for %s search with %s', async (sought, _what, body) => {
    expect((await certified.search(sought, body)).status).toBe(400);
  });
});

describe('c-5 and c-6, transport and discovery', () => {
  test('c-6-5: the metadata is JSON, names the base it was found by, and https addresses', async () => {
    const { status, headers, body } = await certified.metadata();
    expect([status, headers['content-type']]).toEqual([200, 'application/json']);
    const {
      policy_decision_point: pdp,
      capabilities: _capabilities,
      supported_obligations: _obligations,
      ...rest
    } = body as Record<string, string>;
    expect(pdp).toBe(certified.base);
    expect(Object.keys(rest).toSorted()).toEqual([
      'access_evaluation_endpoint',
      'access_evaluations_endpoint',
      'access_request_endpoint',
      'search_action_endpoint',
      'search_resource_endpoint',
      'search_subject_endpoint',
    ]);
    for (const address of Object.values(rest)) expect(new URL(address).protocol).toBe('https:');
  });

  test('c-6-6: the endpoints are at the default paths below the base', () => {
    const { base, endpoints } = certified;
    expect(endpoints).toMatchObject({
      access_evaluation_endpoint: `${base}/access/v1/evaluation`,
      access_evaluations_endpoint: `${base}/access/v1/evaluations`,
      search_subject_endpoint: `${base}/access/v1/search/subject`,
      search_resource_endpoint: `${base}/access/v1/search/resource`,
      search_action_endpoint: `${base}/access/v1/search/action`,
    });
  });
});
