import type { GrantId } from '../../../src/ids.ts';
import type { GrantRow, PrincipalRow } from '../../../src/storage/rows.ts';
import { T0 } from '../store.ts';

/** Principals and grants as the store is given them. */

export const principal = (changes: Partial<PrincipalRow> = {}): PrincipalRow => ({
  class: 'user',
  id: 'alice',
  groups: [],
  roles: [],
  scopes: [],
  properties: {},
  ...changes,
});

export const agent = principal({ class: 'agent', id: 'a' });

export const ISSUER = 'https://login.acme.example';

let grants = 0;
export const grant = (changes: Partial<GrantRow> = {}): GrantRow => ({
  id: `grant-${(grants += 1)}` as GrantId,
  parentId: null,
  depth: 1,
  subject: { class: 'user', id: 'alice' },
  actors: [{ class: 'agent', id: 'a' }],
  scopes: ['read'],
  use: 'act',
  details: [],
  audience: 'docs',
  moreAudiences: [],
  mayAct: null,
  jkt: null,
  x5tS256: null,
  task: null,
  authentication: {},
  issuedAt: T0,
  expiresAt: T0 + 300_000,
  issuer: ISSUER,
  revokedAt: null,
  ...changes,
});
