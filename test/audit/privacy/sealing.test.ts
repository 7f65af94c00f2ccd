import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Box } from '../../../src/audit/privacy/box.ts';
import { Erasure } from '../../../src/audit/privacy/erasure.ts';
import { MemberKeys } from '../../../src/audit/privacy/keys.ts';
import { opened } from '../../../src/audit/privacy/opening.ts';
import { parsePointer, pointerText, valueAt } from '../../../src/audit/privacy/pointer.ts';
import { buildRecord } from '../../../src/audit/record.ts';
import { wholeInput } from '../../../src/audit/whole.ts';
import { MasterKey } from '../../../src/delegation/keys/master-key.ts';
import { systemClock, systemRandom } from '../../../src/effects.ts';
import type { RecordRow } from '../../../src/storage/rows.ts';
import type { Tenant } from '../../../src/tenancy/tenants.ts';
import { faultOf } from '../../e2e/record-schema.ts';
import { holding } from '../../e2e/sealed/sealed.ts';
import { draftOf } from '../../storage/store.ts';
import { type Stage, sealedBy, stage } from './stage.ts';

/** Sealing as a model: what of an input is sealed, where it stands, and who opens it. */

let on: Stage;
beforeAll(async () => {
  on = await stage();
});
afterAll(() => on[Symbol.asyncDispose]());

type Json = null | boolean | number | string | Json[] | { [name: string]: Json };

const NAMES = ['a', 'b', 'long name', 'a/b', 'm~n', '', '0', '__proto__', 'sealed', 'about'];

/** Every text in it is unlike anything else: what is found of one was kept. */
const values: fc.Arbitrary<Json> = fc.letrec<{ value: Json }>((tie) => ({
  value: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    fc.uuid().map((id): Json => `text ${id}`),
    fc.constantFrom<Json>(null, true, false, 0, -12.5, 1e21, ''),
    fc.array(tie('value'), { maxLength: 3 }),
    fc
      .uniqueArray(fc.tuple(fc.constantFrom(...NAMES), tie('value')), {
        maxLength: 4,
        selector: ([name]) => name,
      })
      .map(objectOf),
  ),
})).value;

/** As JSON.parse makes one: `__proto__` is a name like any other. */
function objectOf(entries: readonly (readonly [string, Json])[]): { [name: string]: Json } {
  const text = entries.map(([name, value]) => `${JSON.stringify(name)}:${JSON.stringify(value)}`).join(',');
  return JSON.parse(`{${text}}`) as { [name: string]: Json };
}

const textsIn = (value: unknown): string[] =>
  typeof value === 'string'
    ? value.startsWith('text ')
      ? [value]
      : []
    : typeof value === 'object' && value !== null
      ? Object.values(value).flatMap(textsIn)
      : [];

/** Each place in a value, as its tokens. */
const placesIn = (value: unknown, at: readonly string[] = []): string[][] =>
  typeof value === 'object' && value !== null
    ? Object.entries(value).flatMap(([name, inner]) => [[...at, name], ...placesIn(inner, [...at, name])])
    : [];

const inputs = fc.record({
  subject: values.map((properties) => ({ class: 'user', id: 'ann', properties, roles: ['reader'] })),
  actors: fc.array(
    values.map((properties) => ({ class: 'agent', id: 'helper', properties })),
    { maxLength: 1 },
  ),
  action: values.map((properties) => ({ name: 'read', properties })),
  resource: values.map((properties) => ({ type: 'patient', id: 'p1', properties })),
  context: fc.tuple(values, values).map(([first, second]) => ({ first, second, who: 'user:zoe' })),
});

const ROOTS = [
  'subject/properties',
  'actors/0/properties',
  'action/properties',
  'resource/properties',
  'context/first',
  'context/second',
];

/** An input, and pointers to some of what is in it and to some that is not. */
const cases = inputs.chain((input) => {
  const all = ROOTS.flatMap((root) => {
    const tokens = root.split('/');
    const value = valueAt(input, tokens);
    return [tokens, ...placesIn(value, tokens)];
  }).filter((tokens) => tokens.length <= 32);
  const declared = fc.record({
    path: fc.oneof(
      fc.constantFrom(...all),
      fc.constantFrom<string[]>(['context', 'nothing'], ['data_input']),
    ),
    about: fc.constantFrom('subject', 'actor', 'resource', '/context/who', '/context/nobody'),
  });
  return fc.record({
    input: fc.constant(input),
    declared: fc.array(declared, { minLength: 1, maxLength: 5 }),
  });
});

const utf8 = new TextDecoder();
const bodyOf = ({
  body,
}: RecordRow): { input: object; sealed?: string[]; reasons: { code: string; message: string }[] } =>
  JSON.parse(body) as never;

const isWithinAnother = (tokens: readonly string[], others: readonly (readonly string[])[]): boolean =>
  others.some((other) => other.every((token, at) => tokens[at] === token));

test('nothing of a sealed value is in the record or the store; who may read gets the very value', async () => {
  let serial = 0;
  await fc.assert(
    fc.asyncProperty(cases, async ({ input, declared }) => {
      const sealed: { path: string; about: string }[] = [];
      const taken: string[][] = [];
      for (const { path, about } of declared) {
        if (isWithinAnother(path, taken) || taken.some((other) => isWithinAnother(other, [path]))) continue;
        taken.push(path);
        sealed.push({ path: pointerText(path), about });
      }
      serial += 1;
      const tenant = await on.tenant(`tenant-${serial % 5}`, sealed);
      const secrets = taken.flatMap((path) => textsIn(valueAt(input, path)));
      const reasons = secrets
        .slice(0, 3)
        .map((text) => ({ code: `because_${text}`, message: `as ${text} says` }));
      const draft = draftOf(tenant.no, {
        input: JSON.stringify(input),
        members: `,"rules":[],"reasons":${JSON.stringify(reasons)}`,
        reason: reasons[0]?.code,
        named: { action: 'read', resource: input.resource, actors: [] },
      });
      const row = await on.recorder.row(tenant, draft);
      await on.writer.append(row);
      for (const text of secrets) expect(row.body).not.toContain(text);
      const found = taken.filter((path) => valueAt(input, path) !== undefined);
      expect(bodyOf(row).sealed ?? []).toEqual(found.map(pointerText));
      if (found.length > 0) expect(faultOf(row.body)).toBeUndefined();
      // What is not sealed is what it was.
      expect(without(bodyOf(row).input, found)).toEqual(without(input, found));
      const clear = opened(on.keys, tenant, Buffer.from(row.body));
      const read = JSON.parse(clear ? utf8.decode(clear) : row.body) as { input: object; sealed?: string[] };
      const lost = sealed.filter(
        ({ path, about }) =>
          about === '/context/nobody' && valueAt(input, parsePointer(path) ?? []) !== undefined,
      );
      expect(read.sealed ?? []).toEqual(lost.map(({ path }) => path));
      for (const path of found)
        if (!lost.some((each) => each.path === pointerText(path)))
          expect(JSON.stringify(valueAt(read.input, path))).toBe(JSON.stringify(valueAt(input, path)));
        else expect(valueAt(read.input, path)).toEqual({ sealed: { about: null, kept: false } });
      if (serial % 20 === 0) for (const text of secrets) expect(holding(on.folder, text)).toEqual([]);
    }),
    { numRuns: 200 },
  );
});

/** The input with nothing at these places. */
function without(input: object, paths: readonly (readonly string[])[]): unknown {
  const copy = structuredClone(JSON.parse(JSON.stringify(input)) as object);
  for (const path of paths) {
    const holder = path
      .slice(0, -1)
      .reduce<unknown>((at, name) => Object.getOwnPropertyDescriptor(at, name)?.value, copy);
    const name = path.at(-1) ?? '';
    if (holder)
      Object.defineProperty(holder, name, {
        value: 'here',
        enumerable: true,
        configurable: true,
        writable: true,
      });
  }
  return JSON.parse(JSON.stringify(copy)) as unknown;
}

describe('a box', () => {
  const SEALED = [
    { path: '/context/patient', about: '/context/who' },
    { path: '/context/other', about: '/context/who' },
  ];
  const context = (who: string, more: object = {}) => ({
    who,
    patient: `the secret of ${who}`,
    other: 'another',
    ...more,
  });

  const recorded = async (tenant: Tenant, who: string, more: object = {}): Promise<Buffer> => {
    const input = { subject: { class: 'user', id: 'ann' }, context: context(who, more) };
    const row = await on.recorder.row(
      tenant,
      draftOf(tenant.no, { input: JSON.stringify(input), members: ',"reasons":[]' }),
    );
    return Buffer.from(row.body);
  };

  const contextIn = (bytes: Uint8Array | undefined): Record<string, unknown> | undefined =>
    bytes &&
    (JSON.parse(utf8.decode(bytes)) as { input: { context: Record<string, unknown> } }).input.context;

  /** The record with its members changed. */
  const changed = (
    record: Buffer,
    change: (
      body: { [name: string]: never } & { input: { context: Record<string, { sealed: Box }> } },
    ) => void,
  ): Buffer => {
    const body = JSON.parse(record.toString()) as never;
    change(body);
    return Buffer.from(JSON.stringify(body));
  };
  const readOf = (tenant: Tenant, record: Buffer, keys = on.keys) => contextIn(opened(keys, tenant, record));
  const UNREADABLE = { sealed: { about: 'user:ann', unreadable: true } };

  test('opens where it was put', async () => {
    const tenant = await on.tenant('acme', SEALED);
    expect(readOf(tenant, await recorded(tenant, 'user:ann'))).toEqual(context('user:ann'));
  });

  test('opens in no other record, at no other path, in no other tenant, with no other key', async () => {
    const [acme, globex] = [await on.tenant('acme', SEALED), await on.tenant('globex', SEALED)];
    const [one, other] = [await recorded(acme, 'user:ann'), await recorded(acme, 'user:ann')];
    const boxOf = (record: Buffer): { sealed: Box } => contextIn(record)?.['patient'] as { sealed: Box };
    const moved = changed(other, ({ input }) => void (input.context['patient'] = boxOf(one)));
    expect(readOf(acme, moved)).toEqual({ ...context('user:ann'), patient: UNREADABLE });
    const elsewhere = changed(one, ({ input }) => void (input.context['other'] = boxOf(one)));
    expect(readOf(acme, elsewhere)).toEqual({ ...context('user:ann'), other: UNREADABLE });
    // As it is, in a tenant that has a key of ann's too, and where somebody made it look like that tenant's.
    await recorded(globex, 'user:ann');
    expect(readOf(globex, one)?.['patient']).toEqual(UNREADABLE);
    const theirs = on.store.inUse(globex.no, { class: 'user', id: 'ann' })?.kid ?? '';
    const relabelled = changed(
      one,
      ({ input }) => void (input.context['patient'] = { sealed: { ...boxOf(one).sealed, key: theirs } }),
    );
    expect(readOf(globex, relabelled)?.['patient']).toEqual(UNREADABLE);
    await recorded(acme, 'user:ben');
    const bens = on.store.inUse(acme.no, { class: 'user', id: 'ben' })?.kid ?? '';
    const asBens = changed(
      one,
      ({ input }) => void (input.context['patient'] = { sealed: { ...boxOf(one).sealed, key: bens } }),
    );
    expect(readOf(acme, asBens)).toEqual({ ...context('user:ann'), patient: UNREADABLE });
  });

  test.each(['iv', 'data', 'key'] as const)('whose %s was changed does not open', async (member) => {
    const tenant = await on.tenant('acme', SEALED);
    const record = changed(await recorded(tenant, 'user:ann'), ({ input }) => {
      const box = input.context['patient']?.sealed as unknown as Record<string, string>;
      box[member] = `${box[member]?.startsWith('A') ? 'B' : 'A'}${box[member]?.slice(1)}`;
    });
    expect(readOf(tenant, record)).toEqual({ ...context('user:ann'), patient: UNREADABLE });
  });

  test('that is cut short or is none does not open, and keeps nothing else from being read', async () => {
    const tenant = await on.tenant('acme', SEALED);
    for (const box of [
      { about: 'user:ann', key: 'x' },
      { about: 'user:ann', key: 'x', iv: '', data: '' },
    ]) {
      const record = changed(
        await recorded(tenant, 'user:ann'),
        ({ input }) => void (input.context['patient'] = { sealed: box }),
      );
      expect(readOf(tenant, record)).toEqual({ ...context('user:ann'), patient: UNREADABLE });
    }
  });

  test('that a caller sent is a value like any other', async () => {
    const tenant = await on.tenant('acme', SEALED);
    const forged = { sealed: { about: 'user:ann', erased: true } };
    const record = await recorded(tenant, 'user:ann', { patient: forged, place: forged });
    expect(readOf(tenant, record)).toEqual(context('user:ann', { patient: forged, place: forged }));
    // The record of a tenant that seals nothing says nothing of boxes, so none is looked for.
    const open = await on.tenant('open', []);
    const listed = { patient: forged, place: { sealed: ['/context/patient'] } };
    expect(opened(on.keys, open, await recorded(open, 'user:ann', listed))).toBeUndefined();
  });

  test('is opened by no store under another master key', async () => {
    const tenant = await on.tenant('acme', SEALED);
    const record = await recorded(tenant, 'user:ann');
    expect(readOf(tenant, record, on.strangers())).toMatchObject({ patient: UNREADABLE });
    const sealing = () => on.strangers().of(tenant, { class: 'user', id: 'ann' });
    expect(sealing).toThrow('a key of sealed members cannot be opened');
  });

  test('of an input that is too long to keep says nothing of it either', async () => {
    const tenant = await on.tenant('acme', SEALED);
    const long = 'the long secret '.repeat(8_000);
    const record = await recorded(tenant, 'user:ann', { patient: long });
    const { input_sha256: digest, ...body } = JSON.parse(record.toString()) as { input_sha256: string };
    expect(JSON.stringify(body)).not.toContain('the long secret');
    // Nor is it the digest of what can be guessed.
    const plain = draftOf(tenant.no, {
      input: JSON.stringify({
        subject: { class: 'user', id: 'ann' },
        context: context('user:ann', { patient: long }),
      }),
    });
    expect(buildRecord(plain).body).not.toContain(digest);
  });
});

describe('a key that is new', () => {
  const about = { class: 'user', id: 'ann' };

  /** Keys over a writer that says when it is done. */
  function slow() {
    const waiting: PromiseWithResolvers<{ value: boolean; index: number }>[] = [];
    const keys = new MemberKeys({
      store: { inUse: () => undefined, find: () => undefined, count: () => ({ living: 0, destroyed: 0 }) },
      writer: {
        run: () => {
          const next = Promise.withResolvers<{ value: boolean; index: number }>();
          waiting.push(next);
          return next.promise as never;
        },
      },
      sealing: sealedBy(new MasterKey(systemRandom(32))),
      clock: systemClock,
      random: systemRandom,
    });
    return { keys, waiting };
  }

  test('seals nothing before it is durable, and is the one of all who wait', async () => {
    const tenant = await on.tenant('acme', []);
    const { keys, waiting } = slow();
    const [first, second] = [keys.of(tenant, about), keys.of(tenant, about)];
    let isThere = false;
    void Promise.resolve(first).then(() => (isThere = true));
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect({ isThere, asked: waiting.length, isOne: first === second }).toEqual({
      isThere: false,
      asked: 1,
      isOne: true,
    });
    waiting[0]?.resolve({ value: true, index: -1 });
    const key = await first;
    expect(keys.of(tenant, about)).toEqual(key);
    keys.forget(tenant, about);
    expect(keys.of(tenant, about)).toBeInstanceOf(Promise);
  });

  test('that was not stored is made anew for who asks next', async () => {
    const tenant = await on.tenant('acme', []);
    const { keys, waiting } = slow();
    const first = keys.of(tenant, about);
    waiting[0]?.reject(new Error('the disk is full'));
    await expect(first).rejects.toThrow('the disk is full');
    const second = keys.of(tenant, about);
    waiting[1]?.resolve({ value: true, index: -1 });
    expect(await second).toMatchObject({ about });
  });

  test('that was forgotten before it was durable is not kept', async () => {
    const tenant = await on.tenant('acme', []);
    const { keys, waiting } = slow();
    const first = keys.of(tenant, about);
    keys.forget(tenant, about);
    waiting[0]?.resolve({ value: true, index: -1 });
    const key = await first;
    const next = keys.of(tenant, about);
    expect(next).toBeInstanceOf(Promise);
    waiting[1]?.resolve({ value: true, index: -1 });
    expect((await next).kid).not.toBe(key.kid);
  });
});

test('what was asked while somebody is erased keeps no key for what comes after', async () => {
  const tenant = await on.tenant('acme', []);
  const about = { class: 'user', id: 'late' };
  const before = await on.keys.of(tenant, about);
  const erasure = new Erasure({
    store: on.store,
    keys: on.keys,
    writer: {
      run: (...args: Parameters<typeof on.writer.run>) => {
        // A decision of the same moment: the key is still in use.
        expect(on.keys.of(tenant, about)).toMatchObject({ kid: before.kid });
        return on.writer.run(...args);
      },
      emptyWriteAhead: () => on.writer.emptyWriteAhead(),
    },
    clock: systemClock,
    random: systemRandom,
    isShared: false,
  });
  expect(await erasure.erase(tenant, 'operator:root', about, false)).toMatchObject({ keys: 1, before: 0 });
  expect((await on.keys.of(tenant, about)).kid).not.toBe(before.kid);
  expect(on.keys.find(tenant, before.kid)).toBe('destroyed');
});

test.each([
  { sealed: ['/context/patient'] },
  { masked: ['/input/context/x'] },
  { mask_failed: 'policy_failed' },
  { detail_level: 'brief' },
])('an input with %j is not whole, and does not replay', (member) => {
  const record = (more: object): Uint8Array =>
    Buffer.from(JSON.stringify({ v: 1, input: { context: {} }, ...more }));
  expect(wholeInput(record({}), () => undefined)).toBe('{"context":{}}');
  expect(wholeInput(record(member), () => undefined)).toBeUndefined();
});

test('a key opens for its own tenant, principal and id alone, whatever the row that it stands in says', async () => {
  const [acme, globex] = [await on.tenant('acme', []), await on.tenant('globex', [])];
  const about = { class: 'user', id: 'moved' };
  const { kid } = await on.keys.of(acme, about);
  const row = on.store.inUse(acme.no, about);
  if (!row) throw new Error('it is in use');
  const moved = (tenant: Tenant, changes: object) =>
    on.keysOver({ ...on.store, find: () => ({ ...row, ...changes }) }).find(tenant, kid);
  expect(moved(acme, {})).toMatchObject({ kid, about });
  for (const changes of [{ name: 'ann' }, { class: 'patient' }, { kid: 'another' }])
    expect(() => moved(acme, changes)).toThrow('a key of sealed members cannot be opened');
  expect(() => moved(globex, {})).toThrow('a key of sealed members cannot be opened');
});

test('of a value that holds more than can be looked for, no code is kept', async () => {
  const tenant = await on.tenant('acme', [{ path: '/context/patient' }]);
  const members = ',"reasons":[{"code":"not_allowed","message":""}]';
  const codesOf = async (count: number) => {
    const patient = Array.from({ length: count }, (_, at) => at);
    const input = JSON.stringify({ subject: { class: 'user', id: 'ann' }, context: { patient } });
    const row = await on.recorder.row(tenant, draftOf(tenant.no, { input, members, reason: 'not_allowed' }));
    return bodyOf(row).reasons.map(({ code }) => code);
  };
  expect(await codesOf(2_000)).toEqual(['not_allowed']);
  expect(await codesOf(2_001)).toEqual(['sealed']);
});
