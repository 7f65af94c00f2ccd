import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readConfig } from '../../src/config.ts';
import { aliceReads, check, connect } from './requests.ts';
import { editTenant, eventually, type Running, startServer } from './server.ts';

/** The compiler takes its time, and nothing that must count at once waits for it. */

let server: Running;
let place: string;
let folder: string;

beforeAll(async () => {
  place = await mkdtemp(path.join(tmpdir(), 'mandate-compiling-'));
  const opa = path.join(place, 'opa');
  const real = readConfig({ MANDATE_OPA: process.env['MANDATE_OPA'] }).opa;
  await writeFile(opa, `#!/bin/sh\nwhile [ -e ${place}/gate ]; do sleep 0.02; done\nexec ${real} "$@"\n`);
  await chmod(opa, 0o700);
  server = await startServer({ overrides: { opa } });
  folder = server.tenantFolder('acme');
});
afterAll(async () => {
  await rm(path.join(place, 'gate'), { force: true });
  await server[Symbol.asyncDispose]();
  await rm(place, { recursive: true });
});

const gate = (): Promise<void> => writeFile(path.join(place, 'gate'), '');
const open = (): Promise<void> => rm(path.join(place, 'gate'));
const saved = (code: string): Promise<void> =>
  writeFile(
    path.join(folder, 'closed.rego'),
    `package authz\n\ndeny contains "${code}" if input.subject.id == "alice"\n`,
  );

const said = async (subject = 'alice'): Promise<string> => {
  const { body } = await check(server.data, { ...aliceReads, subject: { type: 'user', id: subject } });
  return (body.reasons ?? []).map(({ code }) => code).join(' ');
};

describe('while the compiler is at work', () => {
  test('a manifest counts at once, and of what is saved meanwhile the newest is compiled', async () => {
    expect(await said()).toBe('');
    await gate();
    await saved('first');
    let rounds = 0;
    for (const status of ['disabled', 'active', 'disabled', 'active', 'disabled'] as const) {
      await editTenant(folder, ({ principals }) => {
        for (const principal of principals) if (principal.id === 'bob') principal.status = status;
      });
      await eventually(
        () => said('bob'),
        (reasons) => reasons.includes('principal_disabled') === (status === 'disabled'),
      );
      rounds += 1;
      await saved(`round-${rounds}`);
    }
    expect(await said()).toBe('');
    await open();
    await eventually(said, (reasons) => reasons === 'round-5');
    const { body } = await connect<{ records: { action: string }[] }>(server.admin, 'AuditService/Query', {
      tenant: 'acme',
      kind: 'administration',
      pageSize: 50,
    });
    const activations = body.records.filter(({ action }) => action === 'policy.activate');
    // Of seven: at the start, what was under way, the newest, and one that came as late.
    expect(activations.length).toBeLessThanOrEqual(4);
  });

  test('whoever asks for a reload waits for it', async () => {
    await gate();
    await saved('asked');
    const reloaded = connect<{ changed?: boolean }>(server.admin, 'PolicyService/ReloadPolicy', {
      tenant: 'acme',
    });
    await open();
    expect((await reloaded).status).toBe(200);
    await eventually(said, (reasons) => reasons === 'asked');
  });
});
