import type { Commands } from '../commands.ts';
import type { ChangeName } from './reach.ts';

/** `one`: a text, a number, a truth value, bytes or null. `any`: whatever JSON can be, as a tenant wrote it. */
type Form<T> = unknown extends T
  ? 'any'
  : [T] extends [One]
    ? 'one'
    : [T] extends [readonly (infer Each)[] | null | undefined]
      ? readonly [Form<Each>]
      : string extends Names<NonNullable<T>>
        ? 'any'
        : {
            readonly [Name in Names<NonNullable<T>>]: Form<MemberOf<NonNullable<T>, Name>>;
          };

type One = string | number | boolean | Uint8Array | null | undefined;
type Names<T> = T extends unknown ? keyof T : never;
type MemberOf<T, Name> = T extends unknown ? (Name extends keyof T ? T[Name] : never) : never;
type Forms = { readonly [Name in ChangeName]: Form<Omit<Parameters<Commands[Name]>[0], 'tenantNo'>> };

const ref = { class: 'one', id: 'one' } as const;
const cap = { at: 'one', endsAt: 'one', scopes: ['one'], use: 'one', details: 'any', budget: 'any' } as const;
const grant = {
  id: 'one',
  parentId: 'one',
  depth: 'one',
  subject: ref,
  actors: [ref],
  scopes: ['one'],
  use: 'one',
  details: ['any'],
  audience: 'one',
  moreAudiences: ['one'],
  mayAct: ref,
  task: { id: 'one', purpose: 'one', endsAt: 'one', node: 'one', budget: 'any', cap },
  jkt: 'one',
  x5tS256: 'one',
  authentication: { acr: 'one', amr: ['one'], auth_time: 'one', groups: ['one'], roles: ['one'] },
  issuedAt: 'one',
  expiresAt: 'one',
  issuer: 'one',
  revokedAt: 'one',
} as const;
const by = ['one'] as const;
const principal = {
  ...ref,
  groups: ['one'],
  roles: ['one'],
  scopes: ['one'],
  properties: 'any',
  disabled: 'one',
  registration: 'one',
  owners: ['one'],
} as const;
const key = {
  kid: 'one',
  alg: 'one',
  publicJwk: 'one',
  sealed: 'one',
  createdAt: 'one',
  state: 'one',
  stateAt: 'one',
} as const;
const approvalKey = { name: 'one', body: 'one' } as const;

const use = { id: 'one', digest: 'one', caller: 'one', usesLeft: 'one', at: 'one' } as const;
const count = {
  since: 'one',
  amount: 'one',
  meter: 'one',
  of: 'one',
  until: 'one',
  seen: { from: 'one', total: 'one' },
} as const;
const kept = {
  row: {
    revision: 'one',
    parent: 'one',
    author: 'one',
    message: 'one',
    contents: 'one',
    digest: 'one',
    tests: 'one',
    madeAt: 'one',
  },
  files: [{ digest: 'one', body: 'one' }],
} as const;

/** All that a change may say. The compiler asks for whatever a command is given, and for nothing else. */
const FORMS: Forms = {
  insertGrant: { grant, by },
  openTask: { task: grant, grant, by },
  revokeGrant: { id: 'one', at: 'one' },
  capTask: { id: 'one', cap },
  kill: { name: 'one', at: 'one' },
  restore: { name: 'one' },
  killCredential: { ...ref, names: ['one'], at: 'one' },
  restoreCredential: { names: ['one'] },
  openApproval: {
    approval: {
      id: 'one',
      digest: 'one',
      caller: 'one',
      requester: ref,
      parties: [ref],
      grantId: 'one',
      issuer: 'one',
      question: 'one',
      uses: 'one',
      validMs: 'one',
      reason: 'one',
      template: 'one',
      requested: 'one',
      decisionId: 'one',
      callback: 'one',
      openedAt: 'one',
      expiresAt: 'one',
    },
    key: approvalKey,
  },
  keepApprovalKey: { id: 'one', key: approvalKey },
  settleApproval: { id: 'one', to: 'one', approver: ref, note: 'one', at: 'one' },
  expireApproval: { id: 'one', at: 'one' },
  useApproval: { use, counts: { tenantNo: 'one', counts: [count], at: 'one' } },
  grantApproved: { use, grant, task: grant, by },
  putManifest: { hash: 'one', text: 'one', principals: [principal], at: 'one' },
  retireTenant: {},
  putPrincipals: { principals: [principal], at: 'one', ending: 'one' },
  setStatus: { ...ref, disabled: 'one', at: 'one' },
  retirePrincipal: { ...ref, at: 'one' },
  putIssuer: { issuer: 'one', body: 'one', most: 'one' },
  removeIssuer: { issuer: 'one' },
  destroyMemberKeys: { about: ref, at: 'one' },
  keepRevision: { kept, active: { revision: 'one', expected: 'one', at: 'one' }, folder: 'one' },
  keepDraft: { kept },
  validateRevision: { revision: 'one', tests: 'one' },
  tryRevision: { as: 'one', revision: 'one', share: 'one', only: 'one' },
  putKey: { key },
  activateKey: { kid: 'one', at: 'one' },
  removeKey: { kid: 'one', at: 'one' },
  replaceKeys: { key, at: 'one' },
  takeOnce: { name: 'one', until: 'one', at: 'one' },
  countUsage: { counts: [count], at: 'one' },
  adjustUsage: { rows: [{ since: 'one', meter: 'one', of: 'one', until: 'one', by: 'one' }] },
  leaseUsage: {
    leases: [{ ...count, lease: 'one' }],
    returned: [{ lease: 'one', unused: 'one' }],
    used: ['one'],
    by: { holder: 'one', node: 'one' },
    at: 'one',
    ends: 'one',
  },
  putTenantKey: { tenant: 'one', sealed: 'one' },
  sealTenantKey: { tenant: 'one', sealed: 'one' },
};

/**
 * The first member of what a change says that this version does not know, such as `grant.purpose`; undefined where it knows
 * all of them. One that is null says nothing, and one that says something may narrow: who leaves it out allows too much.
 */
export const unknownOf = (name: ChangeName, args: object): string | undefined => unknownIn(args, FORMS[name]);

type AnyForm = 'one' | 'any' | readonly [AnyForm] | { readonly [name: string]: AnyForm };

function unknownIn(value: unknown, form: AnyForm): string | undefined {
  if (form === 'any' || typeof value !== 'object' || value === null || value instanceof Uint8Array)
    return undefined;
  for (const [name, member] of Object.entries(value)) {
    if (member === null || member === undefined) continue;
    const known = formOf(form, name);
    const below = known && unknownIn(member, known);
    if (!known || below !== undefined) return below === undefined ? name : `${name}.${below}`;
  }
  return undefined;
}

function formOf(form: Exclude<AnyForm, 'any'>, name: string): AnyForm | undefined {
  if (form === 'one') return undefined;
  if (isList(form)) return form[0];
  return Object.hasOwn(form, name) ? form[name] : undefined;
}

const isList = (form: AnyForm): form is readonly [AnyForm] => Array.isArray(form);
