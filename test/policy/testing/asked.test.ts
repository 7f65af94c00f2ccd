import { expect, test } from 'vitest';
import { buildInput, type InputParts } from '../../../src/decision/input.ts';
import type { GrantId, TenantId } from '../../../src/ids.ts';
import { askedIn } from '../../../src/policy/testing/tables/asked.ts';
import type { GrantRow } from '../../../src/storage/rows.ts';
import { Facts } from '../../../src/tenancy/facts.ts';
import { parseManifest } from '../../../src/tenancy/manifest.ts';

/** What a table asks is, to the letter, what a service asks: then it costs the same, too. */

const { principals } = parseManifest(
  {
    id: 'acme',
    principals: [
      {
        class: 'user',
        id: 'alice',
        roles: ['editor'],
        groups: ['engineering'],
        properties: { level: 2, é: ['x'] },
      },
      { class: 'agent', id: 'helper', status: 'disabled' },
    ],
  },
  'tenant.yaml',
);

const NOW = Date.UTC(2026, 0, 31, 8);
const alice = new Facts(
  { class: 'user', id: 'alice' },
  'active',
  '"properties":{"level":2,"é":["x"]},"groups":["engineering"],"roles":["editor"]',
);
const helper = new Facts(
  { class: 'agent', id: 'helper' },
  'disabled',
  '"properties":{},"groups":[],"roles":[]',
);
const nobody = new Facts({ class: 'job', id: 'night' }, 'unknown', '"properties":{},"groups":[],"roles":[]');

const grant = {
  id: 'g1' as GrantId,
  depth: 2,
  scopes: ['docs.read'],
  use: 'read',
  details: [{ type: 'tool_call', server: 'x' }],
  audience: 'docs-mcp',
  moreAudiences: [],
  mayAct: null,
  task: null,
  jkt: null,
  x5tS256: null,
  expiresAt: NOW + 60_000,
} as unknown as GrantRow;

const plain: InputParts = {
  now: NOW,
  tenant: 'acme' as TenantId,
  subject: alice,
  stated: undefined,
  actors: [],
  action: { name: 'document.read' },
  resource: { type: 'document', id: 'a:b' },
  context: undefined,
  authentication: undefined,
  grant: undefined,
};

test.each([
  [
    'in the shortest form',
    plain,
    { subject: 'user:alice', action: 'document.read', resource: 'document:a:b' },
  ],
  [
    'in full, with a grant, an actor, and what was counted',
    {
      ...plain,
      actors: [helper],
      action: { name: 'document.read', properties: { how: 1 } },
      resource: { type: 'document', id: 'a', properties: { owner: 'x' } },
      context: { mfa: true },
      grant,
      usage: { exports: 3 },
    },
    {
      subject: 'user:alice',
      actors: ['agent:helper'],
      action: { name: 'document.read', properties: { how: 1 } },
      resource: { type: 'document', id: 'a', properties: { owner: 'x' } },
      context: { mfa: true },
      grant: {
        id: 'g1',
        scope: ['docs.read'],
        use: 'read',
        audience: 'docs-mcp',
        authorization_details: [{ type: 'tool_call', server: 'x' }],
        depth: 2,
        expires_at: '2026-01-31T08:01:00.000Z',
      },
      usage: { exports: 3 },
    },
  ],
  [
    'about somebody who is not there',
    { ...plain, subject: nobody },
    {
      subject: { class: 'job', id: 'night', status: 'unknown' },
      action: 'document.read',
      resource: 'document:a:b',
    },
  ],
] as const)('%s', async (_name, parts, row) => {
  const tests = [{ name: 't', expect: 'allow', now: '2026-01-31T08:00:00Z', ...row }];
  const tables = new Map([['x_test.yaml', JSON.stringify({ tests })]]);
  const [asked] = await askedIn({ tenant: 'acme', tables }, principals, 0);
  expect(asked?.input).toBe(buildInput(parts).json);
});
