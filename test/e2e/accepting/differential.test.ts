import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { failure, type Grpc, struct } from '../grpc.ts';
import { eventually } from '../server.ts';
import {
  type Both,
  bothStarted,
  checkOf,
  type Pair,
  pairOf,
  type Streamed,
  seen,
  streamed,
} from './alike.ts';
import { asked } from './started.ts';

/** A thread answers as main does: decisions, refusals, statuses, texts and trailers. */

let both: Both;
let pair: Pair;
beforeAll(async () => {
  both = await bothStarted();
  pair = pairOf(both);
});
afterAll(async () => {
  pair[Symbol.dispose]();
  await both[Symbol.asyncDispose]();
});

/** Asks both as often: first when nobody is known yet, and then when the thread decides itself. */
async function expectAlike(ask: (pep: Grpc) => Promise<unknown>, of = pair): Promise<void> {
  for (let time = 0; time < 4; time += 1)
    expect(await seen(ask(of.threads))).toEqual(await seen(ask(of.main)));
}

const check = (question: object) => (pep: Grpc) => pep.call('DecisionService', 'Check', question);
const batch = (question: object) => (pep: Grpc) => pep.call('DecisionService', 'CheckBatch', question);
const archived = { resource: { type: 'thing', id: 't', properties: struct({ archived: true }) } };

describe('a check', () => {
  test.each<[string, object]>([
    ['that is allowed', asked('one')],
    ['that is denied', asked('one', { action: { name: 'write' } })],
    ['that is denied with a reason', asked('one', archived)],
    ['with an obligation', asked('one', { context: struct({ marked: true }) })],
    ['about somebody unknown', asked('one', { subject: { type: 'user', id: 'nobody' } })],
    ['about somebody of an unknown class', asked('one', { subject: { type: 'ghost', id: 'u' } })],
    ['about nobody', asked('one', { subject: undefined })],
    ['without an action', asked('one', { action: undefined })],
    ['without a resource', asked('one', { resource: undefined })],
    ['with an empty name', asked('one', { action: { name: '' } })],
    ['of a name that is too long', asked('one', { action: { name: 'x'.repeat(10_000) } })],
    ['with an audience', asked('one', { audience: 'somebody' })],
    ['in an unknown tenant', asked('nowhere')],
    ['in no tenant', asked('')],
    ['in what cannot be a tenant', asked('Not A Tenant')],
    ['with a token that is none', asked('one', { subject: undefined, subject_token: 'not-a-token' })],
    [
      'with a token that nobody signed',
      asked('one', { subject: undefined, subject_token: 'eyJhbGciOiJFZERTQSJ9.e30.AAAA' }),
    ],
    [
      'with an approval that there is not',
      asked('one', { approval: '0197f5d0-0000-7000-8000-000000000000' }),
    ],
    ['at a version that is there', asked('one', { at_least: 1 })],
    ['with what is sealed', asked('sealed', { context: struct({ iban: 'DE02' }) })],
    ['of a large context', asked('one', { context: struct({ padding: 'x'.repeat(20_000) }) })],
    ['of a context that is too deep', asked('one', { context: deep(200) })],
    ['in a metered tenant, of what is not counted', asked('metered')],
    ['in a metered tenant, of what is counted', asked('metered', { action: { name: 'write' } })],
  ])('%s', (_, question) => expectAlike(check(question)));

  test('of what is counted, until there is no more', async () => {
    const writes = check(asked('metered', { action: { name: 'write' } }));
    for (let round = 0; round < 2; round += 1) await expectAlike(writes);
  });

  test('at a version that is not there yet', async () => {
    const [thread, main] = await Promise.all(
      [pair.threads, pair.main].map((pep) => seen(check(asked('one', { at_least: 1_000_000 }))(pep))),
    );
    expect(thread).toEqual(main);
    expect(thread).toMatchObject({ trailers: { 'mandate-error-code': 'state_stale' } });
  });

  test.each([
    ['a wrong credential', 'wrong-credential-of-an-accepting-test'],
    ['an empty one', ''],
    ['something like a JWT', 'eyJhbGciOiJFZERTQSJ9.e30.AAAA'],
  ])('by %s', async (_, secret) => {
    using others = pairOf(both, secret);
    for (const tenant of ['one', 'nowhere']) await expectAlike(check(asked(tenant)), others);
  });

  test('whose deadline has passed', async () => {
    for (const pep of [pair.threads, pair.main])
      expect(
        await failure(pep.call('DecisionService', 'Check', asked('one'), { deadline: Date.now() - 1 })),
      ).toMatchObject({ status: 4 });
  });
});

describe('a batch', () => {
  const items = [
    {},
    { action: { name: 'write' } },
    archived,
    { subject: { type: 'ghost', id: 'u' } },
    { action: { name: '' } },
    { resource: { type: 'thing', id: 'other' } },
  ];
  test.each(['EXECUTE_ALL', 'DENY_ON_FIRST_DENY', 'PERMIT_ON_FIRST_PERMIT', 'UNSPECIFIED'])(
    'that is to %s',
    (semantic) => expectAlike(batch(asked('one', { items, semantic: `BATCH_SEMANTIC_${semantic}` }))),
  );

  test.each<[string, object]>([
    ['of nothing', asked('one', { items: [] })],
    ['of sound items alone', asked('one', { items: [{}, { action: { name: 'write' } }] })],
    ['of too many', asked('one', { items: Array.from({ length: 20_000 }, () => ({})) })],
    ['of items that are counted', asked('metered', { items: [{}, { action: { name: 'write' } }] })],
    ['of what is sealed', asked('sealed', { items: [{ context: struct({ iban: 'DE02' }) }] })],
    ['in an unknown tenant', asked('nowhere', { items: [{}] })],
    ['with a token that is none', asked('one', { subject: undefined, subject_token: 'x', items: [{}] })],
  ])('%s', (_, question) => expectAlike(batch(question)));
});

describe('a stream', () => {
  test('of sound and unsound messages, in several tenants', async () => {
    const messages = [
      { correlation_id: 1, request: asked('one') },
      { correlation_id: 2, request: asked('two') },
      { correlation_id: 3, request: asked('nowhere') },
      { correlation_id: 4, request: asked('one', { action: undefined }) },
      { correlation_id: 5 },
      { correlation_id: 6, request: asked('sealed') },
      { correlation_id: 7, request: asked('metered', { action: { name: 'write' } }) },
      { correlation_id: 8, request: asked('one', { subject: { type: 'ghost', id: 'u' } }) },
      { correlation_id: 9, request: asked('one', archived) },
      { correlation_id: 10, request: asked('one', { subject: undefined, subject_token: 'x' }) },
    ];
    for (let time = 0; time < 3; time += 1)
      expect(await streamed(pair.threads, messages)).toEqual(await streamed(pair.main, messages));
  });

  test('that ends with a message that cannot be read', async () => {
    const unreadable = [Buffer.from([0x12, 0x7f, 0x01])];
    for (let time = 0; time < 3; time += 1) {
      // Whether what came before it is still answered is a matter of time.
      const [{ end }, { end: same }] = (await Promise.all(
        [pair.threads, pair.main].map((pep) =>
          streamed(pep, [{ correlation_id: 1, request: asked('one') }, ...unreadable]),
        ),
      )) as [Streamed, Streamed];
      expect(end).toEqual(same);
      expect(await streamed(pair.threads, unreadable)).toEqual(await streamed(pair.main, unreadable));
    }
  });

  test('by somebody unknown', async () => {
    using others = pairOf(both, 'wrong-credential-of-an-accepting-test');
    const messages = [{ correlation_id: 1, request: asked('one') }];
    expect(await streamed(others.threads, messages)).toEqual(await streamed(others.main, messages));
  });
});

describe('bytes', () => {
  const sound = checkOf('one');
  const raw =
    (name: string, bytes: Uint8Array) =>
    (pep: Grpc): Promise<unknown> =>
      pep.raw('DecisionService', name, bytes);

  test.each<[string, Uint8Array]>([
    ['none', Buffer.alloc(0)],
    ['a sound message', sound],
    ['half of one', sound.subarray(0, 20)],
    ['two tenants', Buffer.concat([sound, Buffer.from([0x0a, 3, ...Buffer.from('two')])])],
    ['a tenant at the end', Buffer.concat([sound.subarray(5), sound.subarray(0, 5)])],
    ['a tenant that is no text', Buffer.concat([Buffer.from([0x0a, 1, 0xff]), sound.subarray(5)])],
    ['a member that nobody knows', Buffer.concat([sound, Buffer.from([0x7a, 1, 0])])],
    ['a group', Buffer.concat([sound, Buffer.from([0x0b, 0x0c])])],
    ['garbage', Buffer.from([0xff, 0xff, 0xff, 0xff])],
    ['more than a message may have', Buffer.alloc(4 * 1024 * 1024 + 1)],
  ])('that are %s', async (_, bytes) => {
    for (const name of ['Check', 'CheckBatch']) await expectAlike(raw(name, bytes));
  });

  test('of which any are changed, taken out or put in', async () => {
    const edit = fc.record({
      at: fc.nat(sound.length - 1),
      out: fc.nat(3),
      into: fc.uint8Array({ maxLength: 4 }),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(edit, { minLength: 1, maxLength: 3 }), async (edits) => {
        let bytes = sound;
        for (const { at, out, into } of edits)
          bytes = Buffer.concat([bytes.subarray(0, at), into, bytes.subarray(at + out)]);
        const ask = raw('Check', bytes);
        expect(await seen(ask(pair.threads))).toEqual(await seen(ask(pair.main)));
      }),
      { numRuns: 300 },
    );
  });
});

test('what was alike was decided by the threads, too', async () => {
  const { accepting } = both.threads.served.mandate.services;
  const before = accepting?.counts.decided ?? 0;
  const decided = await eventually(
    async () => {
      await check(asked('one'))(pair.threads);
      return (accepting?.counts.decided ?? 0) - before;
    },
    (count) => count > 3,
  );
  expect(decided).toBeGreaterThan(3);
});

function deep(levels: number): object {
  let json: Record<string, unknown> = {};
  for (let level = 0; level < levels; level += 1) json = { a: json };
  return struct(json);
}
