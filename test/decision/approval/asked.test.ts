import { expect, test } from 'vitest';
import { askedOf } from '../../../src/decision/approval/asked.ts';
import { parseManifest } from '../../../src/tenancy/manifest.ts';
import type { Tenant } from '../../../src/tenancy/tenants.ts';

const tenantWith = (...paths: string[]): Tenant =>
  ({
    manifest: parseManifest(
      { id: 'acme', audit: { sealed: paths.map((path) => ({ path })) } },
      'tenant.yaml',
    ),
  }) as unknown as Tenant;

const person = (id: string) => ({
  class: 'user',
  id,
  properties: { pay: 1, desk: 2 },
  groups: ['g'],
  roles: ['r'],
});
const asked = () => ({
  now: '2026-01-01T00:00:00Z',
  approver: person('carol'),
  request: {
    id: 'r',
    subject: person('alice'),
    actors: [person('bob')],
    stated: { shoe: 3 },
    action: { name: 'publish', properties: { how: 'x' } },
    resource: { type: 'document', id: 'd', properties: { pages: 7 } },
    context: { ticket: 't' },
    grant: null,
  },
});

test('what a tenant seals of people is left out wherever they stand, and told by its place', () => {
  const { input, missing } =
    askedOf(tenantWith('/subject/properties/pay', '/actors/0/properties'), asked(), false) ?? {};
  expect(missing?.toSorted()).toEqual([
    '/approver/properties',
    '/approver/properties/pay',
    '/request/actors/0/properties',
    '/request/subject/properties/pay',
  ]);
  expect(JSON.stringify(input)).not.toContain('pay');
  expect(input).toMatchObject({ request: { subject: { properties: { desk: 2 } } } });
});

test('where a rule masks records, names are all that is kept', () => {
  const { input, missing } = askedOf(tenantWith(), asked(), true) ?? {};
  for (const word of ['pay', 'desk', '"g"', '"r"]', 'shoe', 'pages', 'ticket', 'how'])
    expect(JSON.stringify(input), word).not.toContain(word);
  expect(input).toMatchObject({
    approver: { class: 'user', id: 'carol' },
    request: { action: { name: 'publish' } },
  });
  expect(missing).toContain('/request/resource/properties');
});

test('what has no room in a record is not kept, and what was asked stays as it was', () => {
  const long = asked();
  long.request.context = { ticket: 'ä'.repeat(20_481) };
  expect(askedOf(tenantWith(), long, false)).toBeUndefined();
  const whole = asked();
  askedOf(tenantWith('/subject/properties'), whole, true);
  expect(whole).toEqual(asked());
});
