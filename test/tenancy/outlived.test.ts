import { afterAll, beforeAll, expect, test } from 'vitest';
import { systemClock, systemMonotonic, systemRandom } from '../../src/effects.ts';
import { principalKey } from '../../src/ids.ts';
import type { TenantNo } from '../../src/storage/rows.ts';
import { Callers, type Presented } from '../../src/tenancy/callers.ts';
import type { FactSource } from '../../src/tenancy/facts.ts';
import { Issuers } from '../../src/tenancy/issuers.ts';
import { parseManifest } from '../../src/tenancy/manifest.ts';
import { ChosenSecrets } from '../../src/tenancy/registry/chosen.ts';
import { newScrypt } from '../../src/tenancy/registry/scrypt.ts';
import { buildTenant, type Tenant, type TenantSource, Tenants } from '../../src/tenancy/tenants.ts';
import { type Issuer, startIssuer, trustIn } from '../e2e/issuer.ts';

/** Credentials that are taken away while they are looked at: a hash is made, keys are fetched. */

const SECRET = 'correct horse.battery.staple';

let issuer: Issuer;
let hash: string;
/** Keys are answered once this resolves. */
let held: Promise<void>;
let now = 0;

beforeAll(async () => {
  issuer = await startIssuer((request, response) => {
    if (request.url !== '/jwks') return false;
    void held.then(() => response.end(JSON.stringify({ keys: [issuer.publicJwk] })));
    return true;
  });
  hash = await newScrypt(SECRET);
});
afterAll(() => issuer[Symbol.asyncDispose]());

interface Stage {
  readonly tenants: Tenants;
  readonly callers: Callers;
  readonly tenant: (credentials: readonly object[], trusts?: boolean) => Tenant;
}

function stage(credentials: readonly object[]): Stage {
  const issuers = new Issuers(systemClock, systemMonotonic, true);
  const tenants = new Tenants();
  const tenant: Stage['tenant'] = (each, trusts = true) => {
    const principals = [{ class: 'service', id: 'typist', credentials: each }];
    const trusted = trusts ? [{ ...trustIn(issuer.url), subject_class: 'service' }] : [];
    const manifest = parseManifest({ id: 'acme', issuers: trusted, principals }, 'acme');
    return buildTenant({ id: 'acme', manifest } as unknown as TenantSource, 1 as TenantNo);
  };
  tenants.put(tenant(credentials));
  const callers = new Callers({
    operators: [],
    dev: false,
    facts: { of: () => ({ status: 'active' }) } as unknown as FactSource,
    tenants,
    clock: () => systemClock() + now,
    verifyJwt: (...presented) => issuers.verifyCaller(...presented),
    // One that takes as long as a write does.
    verifyAssertion: async (of) => {
      await held;
      const principal = of.declared.get(principalKey({ class: 'service', id: 'typist' }));
      const [credential] = principal?.credentials ?? [];
      if (!principal || !credential) throw new Error('there is none');
      return { principal, credential };
    },
    chosen: new ChosenSecrets({
      clock: () => systemClock() + now,
      monotonic: systemClock,
      random: systemRandom,
    }),
  });
  return { tenants, callers, tenant };
}

const credentials = (): Readonly<Record<string, readonly object[]>> => ({
  secret: [{ secret_scrypt: hash }],
  token: [
    { workload: { issuer: issuer.url, audience: 'https://mandate.acme.example', claims: { sub: 'w' } } },
  ],
  assertion: [{ jwks: { keys: [issuer.publicJwk] } }],
});
const presented: Readonly<Record<string, () => Promise<Presented>>> = {
  secret: async () => ({ kind: 'secret', secret: SECRET, clientId: 'typist' }),
  token: async () => ({ kind: 'secret', secret: await issuer.sign({ sub: 'w' }, { typ: 'JWT' }) }),
  assertion: async () => ({ kind: 'assertion', assertion: 'x', clientId: 'typist' }),
};
const ways = Object.keys(presented);

/** What comes of it, where something is changed while it is looked at. */
async function during(way: string, change: (on: Stage, same: readonly object[]) => void): Promise<unknown> {
  const same = credentials()[way] ?? [];
  const on = stage(same);
  const { promise, resolve } = Promise.withResolvers<void>();
  held = promise;
  const asked = (await presented[way]?.()) as Presented;
  const answer = Promise.resolve(on.callers.authenticate(on.tenants.get('acme'), asked, 'check'));
  change(on, same);
  resolve();
  return answer.then(
    ({ id }) => id,
    ({ code }: { code: string }) => code,
  );
}

test.each(ways)('a %s that is taken away while it is looked at lets nobody in', async (way) => {
  expect(await during(way, ({ tenants, tenant }) => tenants.put(tenant([])))).toBe('unauthenticated');
});

test.each(ways)('a %s of a tenant that goes while it is looked at lets nobody in', async (way) => {
  const gone = ({ tenants }: Stage): void => tenants.remove(tenants.get('acme').id);
  expect(await during(way, gone)).toBe('unauthenticated');
});

test.each(ways)('a %s lets in whatever else of the tenant changes meanwhile', async (way) => {
  const saved = ({ tenants, tenant }: Stage, same: readonly object[]): void => tenants.put(tenant(same));
  expect(await during(way, saved)).toBe('service:typist');
});

test('a token whose issuer is trusted no more when its keys come lets nobody in', async () => {
  const { tenants, callers, tenant } = stage([]);
  const { promise, resolve } = Promise.withResolvers<void>();
  held = promise;
  const asked = {
    kind: 'secret',
    secret: await issuer.sign({ sub: 'typist', client_id: 'typist' }),
  } as const;
  const answer = callers.authenticate(tenants.get('acme'), asked, 'check');
  tenants.put(tenant([], false));
  resolve();
  await expect(answer).rejects.toMatchObject({ code: 'unauthenticated' });
});

test('a secret that expires while it is looked at lets nobody in', async () => {
  const expires_at = new Date(systemClock() + 3_600_000).toISOString();
  const { tenants, callers } = stage([{ secret_scrypt: hash, expires_at }]);
  const answer = callers.authenticate(
    tenants.get('acme'),
    (await presented['secret']?.()) as Presented,
    'check',
  );
  now = 3_600_001;
  await expect(answer).rejects.toMatchObject({ code: 'unauthenticated' });
  now = 0;
});
