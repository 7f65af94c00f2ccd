import path from 'node:path';
import Database from 'better-sqlite3';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { asks, serve } from '../../containment/tenants.ts';
import { Grpc } from '../grpc.ts';
import { check, connect } from '../requests.ts';
import { bearer, type Running, secrets, startIn } from '../server.ts';
import { asked, holding, operator, PATIENT, query, type RecordJson, read, sealing } from './sealed.ts';

/** What a tenant seals stands in its records as ciphertext, and is read in the clear by who may. */

let server: Running;
beforeAll(async () => {
  server = await sealing();
});
afterAll(() => server[Symbol.asyncDispose]());

const store = (): string => path.join(server.folder, 'data');

describe('a sealed member', () => {
  test('is a box in the record, and the value for who reads', async () => {
    const { body } = await check(server.data, asked('patient:ann'), bearer(secrets.api));
    expect(body.decision).toBe('DECISION_ALLOW');
    const [record] = await query(server, { decisionId: body.decisionId });
    expect(record?.stored.sealed).toEqual(['/context/patient']);
    expect(record?.stored.input.context).toEqual({
      about: 'patient:ann',
      patient: {
        sealed: {
          about: 'patient:ann',
          key: expect.stringMatching(/^[\w-]{16}$/) as string,
          iv: expect.stringMatching(/^[\w-]{16}$/) as string,
          data: expect.stringMatching(/^[\w-]+$/) as string,
        },
      },
      place: 'ward-7',
    });
    expect(record?.opened?.input.context).toEqual({
      about: 'patient:ann',
      patient: PATIENT,
      place: 'ward-7',
    });
    expect(record?.opened).not.toHaveProperty('sealed');
    expect(holding(store(), PATIENT.name)).toEqual([]);
    // What is not sealed is found that way.
    expect(holding(store(), 'ward-7')).not.toEqual([]);
  });
});

describe('the key of somebody', () => {
  test('is one, however many ask about them first at once, and each record is opened', async () => {
    const answers = await Promise.all(
      Array.from({ length: 64 }, (_, at) =>
        check(server.data, asked('patient:new', `secret ${at}`), bearer(secrets.api)),
      ),
    );
    expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 200));
    const records = (await query(server, { pageSize: 64 })).map(({ stored, opened }) => ({
      key: (stored.input.context?.patient as { sealed: { key: string } } | undefined)?.sealed.key,
      value: opened?.input.context?.patient,
    }));
    expect(new Set(records.map(({ key }) => key)).size).toBe(1);
    expect(new Set(records.map(({ value }) => value))).toEqual(
      new Set(Array.from({ length: 64 }, (_, at) => `secret ${at}`)),
    );
  });

  test.each([
    ['class:id', 'user:zoe'],
    ['an object with both', { class: 'user', id: 'zoe', since: 2020 }],
    ['an object as AuthZEN names them', { type: 'user', id: 'zoe' }],
  ])('is found by %s', async (_form, named) => {
    await check(server.data, asked(named as string), bearer(secrets.api));
    const [record] = await query(server, { pageSize: 1 });
    expect(record?.stored.input.context?.patient).toMatchObject({ sealed: { about: 'user:zoe' } });
  });

  test.each([
    7,
    null,
    true,
    '',
    'zoe',
    ':zoe',
    'user:',
    ['user:zoe'],
    {},
    { class: 'user' },
    { class: 7, id: 'zoe' },
    `user:${'z'.repeat(1_025)}`,
  ])('is not to be had where nobody is named, as by %j, and then the value is not kept', async (named) => {
    await check(server.data, asked(named as string), bearer(secrets.api));
    const [record] = await query(server, { pageSize: 1 });
    expect(record?.stored.input.context?.patient).toEqual({ sealed: { about: null } });
    expect(record?.opened?.input.context?.patient).toEqual({ sealed: { about: null, kept: false } });
    expect(record?.opened?.sealed).toEqual(['/context/patient']);
  });

  test('that cannot be opened answers nothing about them, and who reads is told', async () => {
    await using other = await sealing();
    for (const name of ['patient:ann', 'patient:ben'])
      await check(other.data, asked(name), bearer(secrets.api));
    await other.stop();
    const db = new Database(path.join(other.folder, 'data', 'mandate.db'));
    db.exec('DROP TRIGGER member_keys_no_update');
    db.exec("UPDATE member_keys SET sealed = randomblob(length(sealed)) WHERE name = 'ann'");
    db.close();
    await using again = await startIn(other.folder);
    const refused = await check(again.data, asked('patient:ann'), bearer(secrets.api));
    expect(refused).toMatchObject({ status: 503, body: { code: 'unavailable' } });
    expect(JSON.stringify(refused.body)).toContain('unavailable: a key of sealed members cannot be opened');
    expect((await check(again.data, asked('patient:ben'), bearer(secrets.api))).status).toBe(200);
    const records = await query(again);
    expect(records.map(({ opened, stored }) => (opened ?? stored).input.context?.patient)).toEqual([
      PATIENT,
      // What was refused is recorded by its names alone.
      undefined,
      PATIENT,
      { sealed: { about: 'patient:ann', unreadable: true } },
    ]);
    expect(records[1]?.stored).toMatchObject({ outcome: 'error', reasons: [{ code: 'unavailable' }] });
    expect(
      await (await fetch(`${again.admin}/readyz?verbose`, { headers: { authorization: operator } })).text(),
    ).toMatch(/tenant acme: the key \S+ of sealed members does not open/);
  });
});

test('a tail has it in the clear beside the record, stored or not', async () => {
  await check(server.data, asked('patient:ann'), bearer(secrets.api));
  const [last] = await query(server, { pageSize: 1 });
  const from = { tenant: 'acme', from_index: last?.index };
  using reader = new Grpc(server.admin, secrets.operator);
  const first = (request: object) =>
    new Promise<{ record?: RecordJson; stored: { body: Buffer; opened: Buffer }[] }>((resolve, reject) => {
      const pages = reader.stream('AuditService', 'Tail', request);
      pages.once('data', (page) => {
        pages.cancel();
        resolve(page as never);
      });
      pages.on('error', reject);
    });
  const { record } = await first(from);
  expect(JSON.parse(String(record?.opened))).toMatchObject({ input: { context: { patient: PATIENT } } });
  const { stored } = await first({ ...from, stored: true });
  expect(JSON.parse(String(stored[0]?.opened))).toMatchObject({ input: { context: { patient: PATIENT } } });
  expect(String(stored[0]?.body)).not.toContain(PATIENT.name);
});

describe('what authors say', () => {
  const REGO = `package authz

default allow := false

deny contains {"code": "seen", "message": sprintf("%s was seen %v times", [input.context.patient.name, input.context.patient.times])}

deny contains sprintf("deny_%s", [input.context.patient.name])

deny contains {"code": "7", "message": ""}
`;

  test('of a sealed member is in no record: texts are not kept, nor a code that repeats a value', async () => {
    await using served = await serve([
      { id: 'shop', rego: REGO, manifest: { audit: { sealed: [{ path: '/context/patient' }] } } },
    ]);
    const patient = { name: 'zoe-of-4711', times: 7 };
    const { body } = await check(served.data, asks('shop', 'read', { patient }));
    // Whoever asked hears it all.
    expect(JSON.stringify(body.reasons)).toContain('zoe-of-4711 was seen 7 times');
    const page = await connect<{ records: RecordJson[] }>(served.admin, 'AuditService/Query', {
      tenant: 'shop',
      decisionId: body.decisionId,
    });
    const { stored, opened } = read(page.body.records[0] as RecordJson);
    expect(JSON.stringify(stored)).not.toContain('zoe-of-4711');
    expect(stored.reasons).toEqual([
      { code: 'sealed', message: '' },
      { code: 'sealed', message: '' },
      { code: 'seen', message: 'not kept, as members of the record are sealed' },
    ]);
    expect(opened?.input.context?.patient).toEqual(patient);
    const found = await connect<{ records: RecordJson[] }>(served.admin, 'AuditService/Query', {
      tenant: 'shop',
      reason: 'sealed',
    });
    expect(found.body.records).toHaveLength(1);
  });
});
