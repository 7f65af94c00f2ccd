import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Grpc } from '../grpc.ts';
import { sha256 } from '../server.ts';
import { type Change, changeOf, underLoad } from './changing.ts';
import { allSay, alone, ask, counted, SPARE, type Started, said, saidTo, started } from './started.ts';

/** What is acknowledged is seen by the next check on each connection, and by those that threads decide after it. */

const ROUNDS = 3;

let fresh: Started;
let change: Change;
beforeAll(async () => {
  fresh = await started();
  change = changeOf(fresh);
});
afterAll(() => fresh[Symbol.asyncDispose]());

describe('of principals', () => {
  test('disabled, and enabled again', async () => {
    await allSay(fresh, 'one', 'DECISION_ALLOW');
    await underLoad(fresh, 'one', async () => {
      for (let round = 0; round < ROUNDS; round += 1)
        for (const [status, decision] of [
          ['DISABLED', 'principal_disabled'],
          ['ACTIVE', 'DECISION_ALLOW'],
        ] as const) {
          await change('TenantService/SetPrincipalStatus', {
            tenant: 'one',
            class: 'user',
            id: 'u',
            status: `PRINCIPAL_STATUS_${status}`,
          });
          await allSay(fresh, 'one', decision);
        }
    });
  });

  test('the caller itself disabled, and enabled again', async () => {
    await allSay(fresh, 'one', 'DECISION_ALLOW');
    await underLoad(fresh, 'one', async () => {
      for (let round = 0; round < ROUNDS; round += 1) {
        const set = (status: string): Promise<unknown> =>
          change('TenantService/SetPrincipalStatus', {
            tenant: 'one',
            class: 'service',
            id: 'pep',
            status: `PRINCIPAL_STATUS_${status}`,
          });
        await set('DISABLED');
        expect(new Set(await saidTo(fresh.peps, 'one'))).toEqual(new Set(['principal_disabled']));
        await set('ACTIVE');
        await allSay(fresh, 'one', 'DECISION_ALLOW');
      }
    });
  });

  test('facts put anew', async () => {
    const put = (roles: string[]): Promise<unknown> =>
      change('TenantService/PutPrincipals', {
        tenant: 'one',
        principals: [{ class: 'user', id: 'v', roles }],
      });
    const about = { subject: { type: 'user', id: 'v' } };
    await put(['reader']);
    await allSay(fresh, 'one', 'DECISION_ALLOW', about);
    await underLoad(fresh, 'one', async () => {
      for (let round = 0; round < ROUNDS; round += 1) {
        await put([]);
        await allSay(fresh, 'one', 'not_allowed', about);
        await put(['reader']);
        await allSay(fresh, 'one', 'DECISION_ALLOW', about);
      }
    });
  });

  test('retired, and put anew', async () => {
    const put = (): Promise<unknown> =>
      change('TenantService/PutPrincipals', {
        tenant: 'one',
        principals: [{ class: 'user', id: 'w', roles: ['reader'] }],
      });
    const about = { subject: { type: 'user', id: 'w' } };
    await put();
    await allSay(fresh, 'one', 'DECISION_ALLOW', about);
    await underLoad(fresh, 'one', async () => {
      await change('TenantService/RetirePrincipal', { tenant: 'one', class: 'user', id: 'w' });
      const answers = await saidTo(fresh.peps, 'one', about);
      expect(answers).not.toContain('DECISION_ALLOW');
      await allSay(fresh, 'one', answers[0] ?? '', about);
    });
  });
});

describe('of credentials', () => {
  /** One that the API has registered, on connections of its own. */
  async function registered(id: string, more: object = {}): Promise<Grpc[] & Disposable> {
    const credential = { secretSha256: sha256(SPARE), ...more };
    await change('TenantService/PutPrincipals', {
      tenant: 'one',
      principals: [{ class: 'service', id, credentials: [credential] }],
    });
    const peps = Array.from({ length: 8 }, () => alone(fresh.served.data, SPARE));
    return Object.assign(peps, {
      [Symbol.dispose]: () => {
        for (const pep of peps) pep[Symbol.dispose]();
      },
    });
  }
  const UNKNOWN = new Set(['unauthenticated']);

  test('rotated without an overlap', async () => {
    using peps = await registered('rotated');
    await allSay({ ...fresh, peps }, 'one', 'DECISION_ALLOW');
    await underLoad(fresh, 'one', async () => {
      await change('TenantService/RotateCredential', { tenant: 'one', class: 'service', id: 'rotated' });
      expect(new Set(await saidTo(peps, 'one'))).toEqual(UNKNOWN);
      expect(new Set(await saidTo(peps, 'one'))).toEqual(UNKNOWN);
    });
    await change('TenantService/RetirePrincipal', { tenant: 'one', class: 'service', id: 'rotated' });
  });

  test('removed', async () => {
    using peps = await registered('removed');
    await allSay({ ...fresh, peps }, 'one', 'DECISION_ALLOW');
    await underLoad(fresh, 'one', async () => {
      await change('TenantService/RemoveCredential', {
        tenant: 'one',
        class: 'service',
        id: 'removed',
        credentialId: sha256(SPARE).slice(0, 16),
      });
      expect(new Set(await saidTo(peps, 'one'))).toEqual(UNKNOWN);
      expect(new Set(await saidTo(peps, 'one'))).toEqual(UNKNOWN);
    });
    await change('TenantService/RetirePrincipal', { tenant: 'one', class: 'service', id: 'removed' });
  });

  test('expired: nobody is let in by it from its time on', async () => {
    const at = Math.ceil(Date.now() / 1_000) * 1_000 + 2_000;
    using peps = await registered('expiring', { expiresAt: new Date(at).toISOString() });
    const seen: { begun: number; said: string }[] = [];
    const { decided } = await counted(fresh.served, 1, async () => {
      await Promise.all(
        peps.map(async (pep) => {
          for (let last = ''; last !== 'unauthenticated'; ) {
            const begun = Date.now();
            last = await said(ask(pep, 'one'));
            seen.push({ begun, said: last });
          }
        }),
      );
    });
    expect(decided).toBeGreaterThan(0);
    expect(seen.filter(({ begun, said: each }) => begun >= at && each !== 'unauthenticated')).toEqual([]);
    await change('TenantService/RetirePrincipal', { tenant: 'one', class: 'service', id: 'expiring' });
  });

  test('killed, and restored', async () => {
    const credential = { class: 'service', id: 'pep', credentialId: 'first' };
    await allSay(fresh, 'one', 'DECISION_ALLOW');
    await underLoad(fresh, 'one', async () => {
      for (let round = 0; round < ROUNDS; round += 1) {
        await change('KillService/Kill', { tenant: 'one', credential });
        expect(new Set(await saidTo(fresh.peps, 'one'))).toEqual(UNKNOWN);
        expect(new Set(await saidTo(fresh.peps, 'one'))).toEqual(UNKNOWN);
        await change('KillService/Restore', { tenant: 'one', credential });
        await allSay(fresh, 'one', 'DECISION_ALLOW');
      }
    });
  });
});
