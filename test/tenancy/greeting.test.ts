import { generateKeyPair, SignJWT } from 'jose';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { systemClock, systemMonotonic, systemRandom } from '../../src/effects.ts';
import { Callers, type Presented } from '../../src/tenancy/callers.ts';
import type { FactSource } from '../../src/tenancy/facts.ts';
import { Issuers } from '../../src/tenancy/issuers.ts';
import { parseManifest } from '../../src/tenancy/manifest.ts';
import { ChosenSecrets } from '../../src/tenancy/registry/chosen.ts';
import { type Tenant, Tenants } from '../../src/tenancy/tenants.ts';
import { type Issuer, startIssuer, trustIn } from '../e2e/issuer.ts';

/** Who is let in before a byte of a request is read, with an issuer whose keys are fetched and tokens that are signed. */

let services: Issuer;
let callers: Callers;
let verified: string[];

beforeAll(async () => {
  services = await startIssuer();
  const runner = {
    principal: { class: 'service', id: 'runner' },
    credential: { workload: { issuer: services.url, audience: 'initech', claims: { sub: 'runner' } } },
  };
  const issuers = new Issuers(systemClock, systemMonotonic, true);
  const tenants = new Tenants();
  for (const [no, id] of ['acme', 'globex', 'initech'].entries()) {
    const manifest = parseManifest(
      {
        id,
        issuers: [{ ...trustIn(services.url), subject_class: 'service' }],
        principals: [{ class: 'service', id: 'docs-api' }],
      },
      id,
    );
    const nothing = {
      credentials: new Map(),
      declared: new Map(),
      audiences: new Map(),
      folder: '',
    };
    const workloads = new Map(id === 'initech' ? [[services.url, [runner]]] : []);
    const trusted = new Map(manifest.issuers.map((each) => [each.issuer, each]));
    tenants.put({ id, no, manifest, ...nothing, issuers: trusted, workloads } as unknown as Tenant);
  }
  verified = [];
  callers = new Callers({
    operators: [],
    dev: false,
    facts: {} as FactSource,
    tenants,
    clock: systemClock,
    verifyAssertion: () => Promise.reject(new Error('nobody asserts')),
    chosen: new ChosenSecrets({ clock: systemClock, monotonic: systemClock, random: systemRandom }),
    verifyJwt: (tenant, token, among) => {
      verified.push(tenant.id);
      return issuers.verifyCaller(tenant, token, among);
    },
  });
});
afterAll(() => services[Symbol.asyncDispose]());

test('the token of a workload is let in that any tenant knows, verified once, and no other of its platform', async () => {
  const sign = (sub: string) => services.sign({ sub, aud: 'initech', client_id: undefined }, { typ: 'JWT' });
  const before = verified.length;
  await callers.greet(bearer(await sign('runner')));
  expect(verified.slice(before)).toHaveLength(1);
  const other = bearer(await sign('other'));
  await expect(callers.greet(other)).rejects.toMatchObject({ code: 'unauthenticated' });
});

const bearer = (secret: string): Presented => ({ kind: 'secret', secret });
const claims = { sub: 'docs-api', client_id: 'docs-api' };

test('a token that its issuer signed is let in, verified once however many requests wait for it', async () => {
  const before = verified.length;
  const presented = bearer(await services.sign(claims));
  await Promise.all(Array.from({ length: 20 }, async () => callers.greet(presented)));
  // The tenants trust the issuer alike.
  expect(verified.slice(before)).toHaveLength(1);
  expect(callers.greet(presented)).toBeUndefined();
});

test('one that only says so is not: unsigned, signed by another key, expired, for another server', async () => {
  const { privateKey } = await generateKeyPair('ES256');
  const header = { alg: 'ES256', kid: 'issuer-1', typ: 'at+jwt' };
  const forged = await new SignJWT({ ...claims, iss: services.url, aud: 'x', iat: 1, exp: 2 ** 32 })
    .setProtectedHeader(header)
    .sign(privateKey);
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  const unsigned = `${part({ ...header, alg: 'none' })}.${part({ ...claims, iss: services.url })}.`;
  const expired = await services.sign({ ...claims, exp: 1 });
  const elsewhere = await services.sign({ ...claims, aud: 'https://elsewhere.example' });
  const unknown = `${part(header)}.${part({ ...claims, iss: 'https://evil.example' })}.x`;
  for (const token of [forged, unsigned, expired, elsewhere, unknown, 'a.b.c'])
    await expect(async () => callers.greet(bearer(token)), token).rejects.toMatchObject({
      code: 'unauthenticated',
    });
});
