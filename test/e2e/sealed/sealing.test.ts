import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { check } from '../requests.ts';
import { bearer, type Running, secrets } from '../server.ts';
import { asked, holding, PATIENT, query, sealing } from './sealed.ts';

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
