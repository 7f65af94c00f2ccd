import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import Database from 'better-sqlite3';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { check, connect } from '../requests.ts';
import { bearer, eventually, type Running, secrets, startIn } from '../server.ts';
import {
  asked,
  erase,
  filesOf,
  holding,
  operator,
  PATIENT,
  query,
  type RecordJson,
  read,
  sealing,
} from './sealed.ts';

/** To erase somebody destroys a key: what it sealed is read by nobody any more, and the log stays as it is. */

let server: Running;
beforeEach(async () => {
  server = await sealing();
});
afterEach(() => server[Symbol.asyncDispose]());

const store = (of = server): string => path.join(of.folder, 'data');

const about = (name: string, patient: unknown = PATIENT) =>
  check(server.data, asked(name, patient), bearer(secrets.api));

/** The keys as they are stored. */
function storedKeys(of = server): { name: string; sealed: Buffer; destroyed: number }[] {
  const db = new Database(path.join(store(of), 'mandate.db'), { readonly: true });
  const rows = db.prepare<[], { name: string; sealed: Buffer; destroyed: number }>(
    "SELECT class || ':' || name AS name, sealed, destroyed FROM member_keys ORDER BY id",
  );
  const all = rows.all();
  db.close();
  return all;
}

const keyOf = (name: string): Buffer => {
  const found = storedKeys().find((key) => key.name === name && key.destroyed === 0);
  if (!found) throw new Error(`there is no key of ${name}`);
  return found.sealed;
};

/** What of each question about a patient is read, newest first. */
const patients = async (): Promise<unknown[]> =>
  (await query(server)).map(({ opened, stored }) => (opened ?? stored).input.context?.patient);

const ERASED = { sealed: { about: 'patient:ann', erased: true } };

describe('what was sealed about ann', () => {
  test('is read by nobody once she is erased; what was of ben still is, and what comes has a new key', async () => {
    await about('patient:ann');
    await about('patient:ben', 'ben has nothing');
    const before = await query(server);
    const { status, body } = await erase(server, 'patient:ann');
    expect({ status, body }).toEqual({ status: 200, body: { keys: 1 } });
    expect(await patients()).toEqual(['ben has nothing', ERASED]);
    expect((await query(server))[1]?.opened?.sealed).toEqual(['/context/patient']);
    // The records themselves are what they were.
    expect((await query(server)).map(({ stored }) => stored)).toEqual(before.map(({ stored }) => stored));
    await about('patient:ann', 'ann is back');
    expect(await patients()).toEqual(['ann is back', 'ben has nothing', ERASED]);
    expect(storedKeys().map(({ name, destroyed }) => [name, destroyed])).toEqual([
      ['patient:ann', 1],
      ['patient:ben', 0],
      ['patient:ann', 0],
    ]);
  });

  test('is opened by nothing that is left in the files of the store, of thousands of keys', async () => {
    const batch = (from: number) =>
      connect(
        server.data,
        'DecisionService/CheckBatch',
        {
          ...asked('patient:nobody'),
          items: Array.from({ length: 500 }, (_, at) => ({
            context: { about: `patient:p${from + at}`, patient: 'x' },
          })),
        },
        bearer(secrets.api),
      );
    await batch(0);
    await about('patient:ann');
    await batch(500);
    await batch(1_000);
    const key = keyOf('patient:ann');
    expect(holding(store(), key)).not.toEqual([]);
    expect(storedKeys().length).toBeGreaterThan(1_500);
    await erase(server, 'patient:ann');
    expect(holding(store(), key)).toEqual([]);
    // Nor do what remains of its first and its last bytes, as a page that was taken apart may keep.
    for (const part of [key.subarray(0, 16), key.subarray(-16)]) expect(holding(store(), part)).toEqual([]);
    // The others are where they were.
    expect(holding(store(), keyOf('patient:p700'))).not.toEqual([]);
    for (const name of ['patient:p0', 'patient:p1499']) {
      const theirs = keyOf(name);
      await erase(server, name);
      expect(holding(store(), theirs)).toEqual([]);
    }
  });

  test('is in the log that it was in: receipts prove it as before', async () => {
    const { body: answer } = await about('patient:ann');
    const receiptOf = () =>
      connect<{ proof?: string }>(
        server.admin,
        'AuditService/Receipt',
        { tenant: 'acme', decisionId: answer.decisionId },
        operator,
      );
    for (let turn = 0; turn < 100 && (await receiptOf()).status !== 200; turn += 1)
      await new Promise((resolve) => setTimeout(resolve, 50));
    const proofOf = async (): Promise<string> => (await receiptOf()).body.proof ?? '';
    const extra = (proof: string): string =>
      Buffer.from(/^extra (\S+)$/m.exec(proof)?.[1] ?? '', 'base64').toString();
    const before = extra(await proofOf());
    expect(before).toContain('"sealed":{"about":"patient:ann"');
    await erase(server, 'patient:ann');
    expect(extra(await proofOf())).toBe(before);
  });

  test('was sent elsewhere sealed, in every format', async () => {
    const folder = await mkdtemp(path.join(tmpdir(), 'mandate-erasure-'));
    const formats = ['records', 'cloudevents', 'ocsf', 'opa'] as const;
    const sinks = formats.map((format) => ({
      name: format,
      file: { path: path.join(folder, format) },
      format,
    }));
    try {
      await using own = await sealing({ overrides: { sinks } });
      await check(own.data, asked('patient:ann'), bearer(secrets.api));
      for (const format of formats) {
        const sent = await eventually(
          () => readFile(path.join(folder, format), 'utf8').catch(() => ''),
          (text) => text.includes('ward-7'),
        );
        expect(sent, format).not.toContain(PATIENT.name);
        const told = sent.split('\n').find((line) => line.includes('ward-7')) ?? '';
        const raw = format === 'ocsf' ? (JSON.parse(told) as { raw_data: string }).raw_data : told;
        expect(raw, format).toContain('"patient":{"sealed":{"about":"patient:ann","key":"');
      }
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
});

describe('an erasure', () => {
  test('is a record with who did it, whom it is about, and how many keys', async () => {
    await about('patient:ann');
    await erase(server, 'patient:ann');
    const { body } = await connect<{ records: (RecordJson & { target: object; subject: object })[] }>(
      server.admin,
      'AuditService/Query',
      { tenant: 'acme', principal: { class: 'operator', id: 'root' }, action: 'audit.erase' },
      operator,
    );
    expect(body.records).toHaveLength(1);
    const [record] = body.records;
    expect(record).toMatchObject({
      subject: { class: 'operator', id: 'root' },
      target: { class: 'patient', id: 'ann' },
      action: 'audit.erase',
    });
    expect(record && read(record).stored).toMatchObject({ kind: 'administration', detail: { keys: 1 } });
  });

  test('that is asked again destroys nothing more and says so; a dry one destroys nothing', async () => {
    await about('patient:ann');
    expect((await erase(server, 'patient:ann', { dryRun: true })).body).toEqual({ keys: 1 });
    expect(await patients()).toEqual([PATIENT]);
    await erase(server, 'patient:ann');
    const changes = async (): Promise<number> => (await query(server, { kind: 'administration' })).length;
    const before = await changes();
    expect((await erase(server, 'patient:ann')).body).toEqual({ destroyedBefore: 1 });
    expect((await erase(server, 'patient:ann', { dryRun: true })).body).toEqual({ destroyedBefore: 1 });
    expect(await changes()).toBe(before);
  });

  test('of somebody about whom nothing was sealed says that', async () => {
    await about('patient:ann');
    for (const name of ['patient:anna', 'user:ann', 'patient:ANN'])
      expect(await erase(server, name), name).toMatchObject({
        status: 404,
        body: { message: `principal_unknown: nothing was sealed about ${name} in this tenant` },
      });
    expect((await erase(server, 'patient:ann', { tenant: 'globex' })).status).toBe(404);
    expect(await patients()).toEqual([PATIENT]);
  });

  test('takes the right to administer the tenant: reading is not enough', async () => {
    await about('patient:ann');
    const request = { tenant: 'acme', principal: { class: 'patient', id: 'ann' } };
    for (const secret of [secrets.api, secrets.mcp, secrets.agent])
      expect((await connect(server.admin, 'AuditService/Erase', request, bearer(secret))).status).toBe(403);
    expect((await connect(server.admin, 'AuditService/Erase', { tenant: 'acme' }, operator)).status).toBe(
      400,
    );
    expect(await patients()).toEqual([PATIENT]);
  });

  test('of nobody that could be named is refused', async () => {
    const names = [
      ['', 'ann'],
      ['patient', ''],
      ['p'.repeat(257), 'ann'],
      ['patient', 'a'.repeat(1_025)],
    ];
    for (const [cls, id] of names) {
      const request = { tenant: 'acme', principal: { class: cls, id } };
      const { status, body } = await connect(server.admin, 'AuditService/Erase', request, operator);
      expect({ status, isShort: JSON.stringify(body).length < 300 }).toEqual({ status: 400, isShort: true });
    }
  });

  test('that somebody who reads keeps from the end says so, and is done when they are', async () => {
    await about('patient:ann');
    const key = keyOf('patient:ann');
    const other = new Database(path.join(store(), 'mandate.db'), { readonly: true });
    other.exec('BEGIN');
    other.prepare('SELECT count(*) FROM tenants').get();
    const refused = await erase(server, 'patient:ann');
    expect(refused).toMatchObject({ status: 503 });
    expect(JSON.stringify(refused.body)).toContain(
      'unavailable: the key is destroyed, and mandate.db-wal still holds',
    );
    expect(await patients()).toEqual([ERASED]);
    other.exec('COMMIT');
    other.close();
    expect((await erase(server, 'patient:ann')).body).toEqual({ destroyedBefore: 1 });
    expect(holding(store(), key)).toEqual([]);
  });

  test('holds after the server has started again', async () => {
    await about('patient:ann');
    await about('patient:ben', 'ben has nothing');
    const key = keyOf('patient:ann');
    await erase(server, 'patient:ann');
    await server.stop();
    await using again = await startIn(server.folder);
    const contexts = (await query(again)).map(({ opened }) => opened?.input.context?.patient);
    expect(contexts).toEqual(['ben has nothing', ERASED]);
    expect(filesOf(again.folder).some(({ bytes }) => bytes.includes(key))).toBe(false);
  });
});
