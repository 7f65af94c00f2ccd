import { scryptSync } from 'node:crypto';
import { expect, test } from 'vitest';
import { systemClock, systemRandom } from '../../../src/effects.ts';
import type { TenantNo } from '../../../src/storage/rows.ts';
import { parseManifest } from '../../../src/tenancy/manifest.ts';
import { ChosenSecrets } from '../../../src/tenancy/registry/chosen.ts';
import { buildTenant, type Tenant, type TenantSource } from '../../../src/tenancy/tenants.ts';

/** Many secrets at once: what they cost is nobody else's, and what was not looked at was no guess. */

const base64 = (bytes: Buffer): string => bytes.toString('base64').replace(/=+$/, '');

/** The cheapest that there is. */
function hashOf(secret: string): string {
  const salt = Buffer.alloc(16, 7);
  return `$scrypt$ln=14,r=8,p=1$${base64(salt)}$${base64(scryptSync(secret, salt, 32, { N: 2 ** 14, r: 8, p: 1, maxmem: 2 ** 26 }))}`;
}

function tenant(no: number, secret: string): Tenant {
  const credentials = [{ secret_scrypt: hashOf(secret) }];
  const id = `tenant-${no}`;
  const manifest = parseManifest({ id, principals: [{ class: 'service', id: 'typist', credentials }] }, id);
  return buildTenant({ id, manifest } as unknown as TenantSource, no as TenantNo);
}

const chosen = (): ChosenSecrets =>
  new ChosenSecrets({ clock: systemClock, monotonic: systemClock, random: systemRandom });

const codeOf = ({ code }: { code: string }): string => code;

test('a crowd that guesses at one tenant keeps none of another waiting', async () => {
  const secrets = chosen();
  const [acme, globex] = [tenant(1, 'a secret of acme'), tenant(2, 'a secret of globex')];
  let done = 0;
  const guesses = Array.from({ length: 60 }, (_, each) =>
    secrets
      .verify(acme, 'typist', `guess ${each}`, `10.0.0.${each}`)
      .catch(codeOf)
      .then((answer) => {
        if (answer === undefined) done += 1;
        return answer;
      }),
  );
  const found = await secrets.verify(globex, 'typist', 'a secret of globex', '10.1.0.1');
  expect(found?.principal.id).toBe('typist');
  // Two were looked at, and perhaps another pair until it was its turn.
  expect(done).toBeLessThanOrEqual(6);
  const answers = await Promise.all(guesses);
  expect(answers.filter((each) => each === 'resource_exhausted').length).toBeGreaterThan(0);
  // What had no place was no guess: each of these addresses has all its tries yet.
  const last = Array.from({ length: 10 }, (_, each) => `again ${each}`);
  for (const guess of last) expect(await secrets.verify(acme, 'typist', guess, '10.0.0.59')).toBeUndefined();
});

test('a right one that comes many times at once is looked at once, and is no guess', async () => {
  const secrets = chosen();
  const acme = tenant(1, 'a secret of acme');
  const all = await Promise.all(
    Array.from({ length: 200 }, () =>
      secrets.verify(acme, 'typist', 'a secret of acme', '10.0.0.1').catch(codeOf),
    ),
  );
  expect(all.every((each) => typeof each === 'object' && each.principal.id === 'typist')).toBe(true);
});
