import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { check } from '../e2e/requests.ts';
import { asked, PATIENT, sealing } from '../e2e/sealed/sealed.ts';
import { bearer, eventually, type Running, secrets } from '../e2e/server.ts';
import { at, type Ran } from './run.ts';

/** What is sealed, on the command line. */

let server: Running;
let folder: string;
let run: (...args: string[]) => Promise<Ran>;
beforeAll(async () => {
  server = await sealing();
  folder = await mkdtemp(path.join(tmpdir(), 'mandate-sealed-'));
  run = at(server, secrets.operator);
  for (const name of ['patient:ann', 'patient:ben'])
    await check(server.data, asked(name), bearer(secrets.api));
});
afterAll(async () => {
  await server[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

const query = (...args: string[]) =>
  run('--json', 'audit', 'query', '-t', 'acme', '--kind', 'decision', ...args);
const erase = (...args: string[]) => run('audit', 'erase', ...args, '-t', 'acme');
const patientsIn = (jsonLines: string): unknown[] =>
  jsonLines
    .trim()
    .split('\n')
    .map((line) => (JSON.parse(line) as { record: { input: { context?: { patient: unknown } } } }).record)
    .flatMap(({ input: { context } }) => (context && 'patient' in context ? [context.patient] : []));

describe('mandate audit', () => {
  test('query shows it in the clear, and with --stored as it is in the log', async () => {
    expect(patientsIn((await query()).stdout)).toEqual([PATIENT, PATIENT]);
    const { stdout } = await query('--stored', '-n', '1');
    expect(stdout).not.toContain(PATIENT.name);
    expect(patientsIn(stdout)).toEqual([
      { sealed: expect.objectContaining({ about: 'patient:ben' }) as object },
    ]);
  });

  test('export keeps it sealed, and with --open writes it in the clear', async () => {
    const to = (name: string): string => path.join(folder, name);
    // Once a checkpoint covers them.
    const exported = (name: string, ...args: string[]): Promise<string> =>
      eventually(
        async () => {
          const { code } = await run('audit', 'export', to(name), '-t', 'acme', '--format', 'jsonl', ...args);
          return code === 0 ? readFile(to(name), 'utf8') : '';
        },
        (text) => text !== '' && patientsIn(text).length === 2,
      );
    const whole = await exported('sealed.jsonl');
    expect(whole).not.toContain(PATIENT.name);
    expect(patientsIn(await exported('open.jsonl', '--open'))).toEqual([PATIENT, PATIENT]);
    expect(await run('audit', 'export', to('tiles'), '-t', 'acme', '--open')).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('invalid_request: --open is for --format jsonl') as string,
    });
  });

  test('erase asks, and where there is nobody to ask takes --yes; what is left to read says erased', async () => {
    expect(await erase('patient:ann')).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('invalid_request: there is no terminal to ask on; --yes') as string,
    });
    expect((await erase('patient:ann', '--dry-run')).stdout).toBe('patient:ann: 1 key would be destroyed\n');
    expect(patientsIn((await query()).stdout)).toEqual([PATIENT, PATIENT]);
    expect(await erase('patient:ann', '--yes')).toMatchObject({
      code: 0,
      stdout: 'patient:ann: 1 key destroyed\n',
    });
    expect(patientsIn((await query()).stdout)).toEqual([
      PATIENT,
      { sealed: { about: 'patient:ann', erased: true } },
    ]);
    expect((await erase('patient:ann', '--yes')).stdout).toBe(
      'patient:ann: no key is left to destroy; 1 was before\n',
    );
    expect(await erase('patient:zoe', '--yes')).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('principal_unknown: nothing was sealed about patient:zoe') as string,
    });
    expect((await erase('ann', '--yes')).stderr).toContain('whom it is about is class:id, not ann');
  });

  test('verify proves the log and a receipt as before, once somebody is erased', async () => {
    const to = (name: string): string => path.join(folder, name);
    const { stdout: key } = await run('audit', 'key', '-t', 'acme');
    await writeFile(to('acme.vkey'), key);
    const decided = await check(server.data, asked('patient:eve'), bearer(secrets.api));
    const receipt = (): Promise<Ran> =>
      run('audit', 'receipt', decided.body.decisionId, '-t', 'acme', '-o', to('eve.tlog-proof'));
    await eventually(receipt, ({ code }) => code === 0);
    expect((await erase('patient:eve', '--yes')).code).toBe(0);
    expect(patientsIn((await query('-n', '1')).stdout)).toEqual([
      { sealed: { about: 'patient:eve', erased: true } },
    ]);
    const log = `${server.admin}/t/acme/log/main`;
    for (const what of [to('eve.tlog-proof'), log, path.join(server.folder, 'data')]) {
      const verified = await run('audit', 'verify', what, '--key', to('acme.vkey'));
      expect({ what, ...verified }).toMatchObject({
        code: 0,
        stdout: expect.stringMatching(/^proved/) as string,
      });
    }
  });
});
