import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { struct } from '../grpc.ts';
import { type Change, changeOf, filesOnWire, underLoad } from './changing.ts';
import { ALLOW, allSay, ask, DENY, principals, type Started, saidTo, started, user } from './started.ts';

/** What changes of a tenant as a whole is seen as soon as it is acknowledged, on each connection and by each thread. */

const ROUNDS = 3;

let fresh: Started;
let change: Change;
beforeAll(async () => {
  fresh = await started();
  change = changeOf(fresh);
});
afterAll(() => fresh[Symbol.asyncDispose]());

async function manifest(tenant: string, members: object): Promise<void> {
  const { folder } = fresh.served.mandate.tenants.get(tenant);
  await writeFile(path.join(folder, 'tenant.yaml'), JSON.stringify({ id: tenant, principals, ...members }));
  await change('PolicyService/ReloadPolicy', { tenant });
}

describe('of a tenant', () => {
  test('killed, and restored', async () => {
    await allSay(fresh, 'one', 'DECISION_ALLOW');
    await underLoad(fresh, 'one', async () => {
      for (let round = 0; round < ROUNDS; round += 1) {
        await change('KillService/Kill', { tenant: 'one', wholeTenant: true });
        await allSay(fresh, 'one', 'tenant_killed');
        await change('KillService/Restore', { tenant: 'one', wholeTenant: true });
        await allSay(fresh, 'one', 'DECISION_ALLOW');
      }
    });
  });

  test('a policy activated, and rolled back', async () => {
    await allSay(fresh, 'two', 'DECISION_ALLOW');
    await underLoad(fresh, 'two', async () => {
      for (let round = 0; round < ROUNDS; round += 1) {
        await change('PolicyService/PushRevision', {
          tenant: 'two',
          files: filesOnWire({ 'policy.rego': `${DENY}\n# ${round}\n` }),
          activate: true,
        });
        await allSay(fresh, 'two', 'not_allowed');
        await change('PolicyService/RollBack', { tenant: 'two' });
        await allSay(fresh, 'two', 'DECISION_ALLOW');
      }
    });
  });

  /** The newest records of the tenant, one a connection, as text. */
  function recorded(tenant: string): string[] {
    const { tenants, services } = fresh.served.mandate;
    const [{ no }, count] = [tenants.get(tenant), fresh.peps.length];
    return services.records
      .range(no, services.records.size(no) - count, count)
      .map(({ body }) => Buffer.from(body).toString());
  }

  describe('whose manifest is edited:', () => {
    beforeEach(() => allSay(fresh, 'one', 'DECISION_ALLOW'));
    afterEach(async () => {
      await manifest('one', {});
      await allSay(fresh, 'one', 'DECISION_ALLOW');
    });

    test('who is in it', () =>
      underLoad(fresh, 'two', async () => {
        await manifest('one', { principals: [{ ...user, roles: [] }, principals[1]] });
        await allSay(fresh, 'one', 'not_allowed');
      }));

    test('what it meters is counted', () =>
      underLoad(fresh, 'two', async () => {
        await manifest('one', { meters: { reads: { actions: ['read'], per: 'subject' } } });
        expect(new Set(await saidTo(fresh.peps, 'one'))).toEqual(new Set(['DECISION_ALLOW']));
        for (const body of recorded('one')) expect(body).toContain('"counted":{"reads":1}');
      }));

    test('what it seals stands in no record', () =>
      underLoad(fresh, 'two', async () => {
        const context = struct({ iban: 'DE02-1203-0000' });
        await Promise.all(fresh.peps.map((pep) => ask(pep, 'one', { context })));
        for (const body of recorded('one')) expect(body).toContain('DE02-1203-0000');
        await manifest('one', { audit: { sealed: [{ path: '/context/iban' }] } });
        await Promise.all(fresh.peps.map((pep) => ask(pep, 'one', { context })));
        for (const body of recorded('one')) expect(body).not.toContain('DE02-1203-0000');
      }));

    test('what it limits', () =>
      underLoad(fresh, 'two', async () => {
        await manifest('one', { limits: { decisions_per_second: 1 } });
        const answers = await saidTo(fresh.peps, 'one');
        expect(answers.filter((each) => each === 'resource_exhausted').length).toBeGreaterThan(
          fresh.peps.length / 2,
        );
      }));
  });

  test('put anew with another policy, and retired', async () => {
    const put = (rego: string): Promise<unknown> =>
      change('TenantService/PutTenant', {
        tenant: 'three',
        files: filesOnWire({
          'policy.rego': rego,
          'tenant.yaml': JSON.stringify({ id: 'three', principals }),
        }),
      });
    await underLoad(fresh, 'three', async () => {
      for (let round = 0; round < ROUNDS; round += 1) {
        await put(ALLOW);
        await allSay(fresh, 'three', 'DECISION_ALLOW');
        await put(DENY);
        await allSay(fresh, 'three', 'not_allowed');
        await change('TenantService/RetireTenant', { tenant: 'three', reason: 'over' });
        expect(new Set(await saidTo(fresh.peps, 'three'))).toEqual(new Set(['tenant_unknown']));
      }
    });
  });
});
