import { hash } from 'node:crypto';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type PrincipalRef, principalKey } from '../../../src/ids.ts';
import type { NewApproval } from '../../../src/storage/approvals/rows.ts';
import { approvalStore } from '../../../src/storage/approvals/store.ts';
import { TENANT_END } from '../../../src/storage/granting/ends.ts';
import { openReader } from '../../../src/storage/reader.ts';
import type { TenantNo } from '../../../src/storage/rows.ts';
import type { Writer } from '../../../src/storage/writer.ts';
import { grant, principal } from '../granting/given.ts';
import { openStore, T0, temporaryFolder, tenantNo } from '../store.ts';

/**
 * Approvals that are opened, decided, used and ended in any order, many at once, beside what they mean. None is used more
 * often than it may be, nor after it, one of its parties, its approver, its grant or its tenant has ended, for however long.
 */

const users: readonly PrincipalRef[] = [0, 1].map((n) => ({ class: 'user', id: `u${n}` }));
const approvers: readonly PrincipalRef[] = [0, 1].map((n) => ({ class: 'user', id: `boss${n}` }));
const everyone = [...users, ...approvers];

type Step =
  | { readonly do: 'open'; readonly user: number; readonly uses: number; readonly granted: boolean }
  | { readonly do: 'approve' | 'reject'; readonly of: number; readonly by: number }
  | { readonly do: 'use'; readonly of: number; readonly isStale: boolean }
  | { readonly do: 'cancel' | 'expire' | 'revoke'; readonly of: number }
  | { readonly do: 'disable' | 'enable' | 'flicker'; readonly whom: number }
  | { readonly do: 'kill' | 'restore' }
  | { readonly do: 'wait'; readonly seconds: number };

/** Of the last ones. */
const of = fc.nat(2);
const step = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant('open'),
      user: fc.nat(1),
      uses: fc.integer({ min: 1, max: 3 }),
      granted: fc.boolean(),
    }),
  },
  { weight: 8, arbitrary: fc.record({ do: fc.constant('approve'), of, by: fc.nat(1) }) },
  {
    weight: 12,
    arbitrary: fc.record({
      do: fc.constant('use'),
      of,
      isStale: fc.integer({ min: 0, max: 9 }).map((n) => n === 0),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('reject'), of, by: fc.nat(1) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constantFrom('cancel', 'expire', 'revoke'), of }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('disable'), whom: fc.nat(3) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('flicker'), whom: fc.nat(3) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('enable'), whom: fc.nat(3) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('kill') }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('restore') }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('wait'), seconds: fc.integer({ min: 1, max: 40 }) }) },
) as fc.Arbitrary<Step>;

interface Known {
  readonly row: NewApproval;
  state: string;
  approver: PrincipalRef | undefined;
  until: number;
  usesLeft: number;
  /** Nothing it depends on has ended since. */
  isSound: boolean;
}

const same = (one: PrincipalRef | undefined, other: PrincipalRef): boolean =>
  one !== undefined && principalKey(one) === principalKey(other);

/** What the steps come to, told by the plainest means. Each answers what the store is to answer. */
class Model {
  readonly all: Known[] = [];
  readonly disabled = new Set<string>();
  readonly revoked = new Set<string>();
  isKilled = false;

  open(row: NewApproval): true | undefined {
    const isActive = row.parties.every((each) => !this.disabled.has(principalKey(each)));
    const isLive = row.grantId === null || !this.revoked.has(row.grantId);
    if (!isActive || !isLive || this.isKilled) return undefined;
    const { uses: usesLeft } = row;
    this.all.push({ row, state: 'pending', approver: undefined, until: 0, usesLeft, isSound: true });
    return true;
  }

  settle(known: Known | undefined, to: string, by: PrincipalRef | undefined, at: number): true | undefined {
    const isPending = known?.state === 'pending' && known.row.expiresAt > at;
    if (!known || !(isPending || (known.state === 'approved' && to === 'rejected'))) return undefined;
    if (to === 'approved') {
      if (!known.isSound || !by || this.disabled.has(principalKey(by))) return undefined;
      Object.assign(known, { approver: by, until: at + known.row.validMs });
    }
    known.state = to;
    return true;
  }

  use(known: Known | undefined, at: number): true | undefined {
    if (known?.state !== 'approved' || !known.isSound || known.until <= at) return undefined;
    known.usesLeft -= 1;
    if (known.usesLeft === 0) known.state = 'used';
    return true;
  }

  expire(known: Known | undefined, at: number): true | undefined {
    const isOver =
      (known?.state === 'pending' && known.row.expiresAt <= at) ||
      (known?.state === 'approved' && known.until <= at);
    if (!known || !isOver) return undefined;
    known.state = 'expired';
    return true;
  }

  end(isMeant: (known: Known) => boolean): void {
    for (const each of this.all) if (isMeant(each)) each.isSound = false;
  }
}

let serial = 0;
function opened(each: Extract<Step, { do: 'open' }>, at: number): NewApproval {
  serial += 1;
  const user = users[each.user] as PrincipalRef;
  return {
    id: `a${serial}`,
    digest: hash('sha256', String(serial), 'buffer'),
    caller: 'service:pep',
    requester: user,
    parties: [user],
    grantId: each.granted ? (`g${each.user}` as NewApproval['grantId']) : null,
    issuer: '',
    question: '{}',
    uses: each.uses,
    validMs: 30_000,
    reason: '',
    requested: null,
    template: '',
    decisionId: '',
    callback: null,
    openedAt: at,
    expiresAt: at + 30_000,
  };
}

/** Sends a step to the store and to the model; answers both answers. The store takes them in the order they are sent. */
function taken(writer: Writer, model: Model, no: TenantNo, each: Step, at: number) {
  const known =
    'of' in each && model.all.length > 0 ? model.all.at(-1 - (each.of % model.all.length)) : undefined;
  const id = known?.row.id ?? 'none';
  switch (each.do) {
    case 'open': {
      const approval = opened(each, at);
      return [writer.run('openApproval', { tenantNo: no, approval }), model.open(approval)] as const;
    }
    case 'approve':
    case 'reject':
    case 'cancel': {
      const by = 'by' in each ? (approvers[each.by] as PrincipalRef) : undefined;
      const to = ({ approve: 'approved', reject: 'rejected', cancel: 'cancelled' } as const)[each.do];
      const args = { tenantNo: no, id, to, approver: by ?? null, note: '', at };
      return [writer.run('settleApproval', args), model.settle(known, to, by, at)] as const;
    }
    case 'use': {
      const digest = known?.row.digest ?? Buffer.alloc(32);
      const usesLeft = (known?.usesLeft ?? 1) + (each.isStale ? 1 : 0);
      const use = { id, digest, caller: 'service:pep', usesLeft, at };
      const meant = each.isStale ? undefined : model.use(known, at);
      return [writer.run('useApproval', { tenantNo: no, use }), meant] as const;
    }
    case 'expire':
      return [writer.run('expireApproval', { tenantNo: no, id, at }), model.expire(known, at)] as const;
    case 'revoke': {
      const grantId = known?.row.grantId;
      if (!grantId) return undefined;
      model.revoked.add(grantId);
      model.end(({ row }) => row.grantId === grantId);
      void writer.run('revokeGrant', { tenantNo: no, id: grantId, at });
      return undefined;
    }
    case 'flicker':
      for (const how of ['disable', 'enable'] as const)
        void taken(writer, model, no, { do: how, whom: each.whom }, at);
      return undefined;
    case 'disable':
    case 'enable': {
      const whom = everyone[each.whom] as PrincipalRef;
      const disabled = each.do === 'disable';
      if (disabled) model.disabled.add(principalKey(whom));
      else model.disabled.delete(principalKey(whom));
      if (disabled) {
        model.end(({ row, approver }) => row.parties.some((one) => same(one, whom)) || same(approver, whom));
        // What was granted to it ends with it.
        for (const [at2, user] of users.entries()) if (same(user, whom)) model.revoked.add(`g${at2}`);
      }
      void writer.run('setStatus', { tenantNo: no, ...whom, disabled, at });
      return undefined;
    }
    case 'kill':
      model.isKilled = true;
      model.end(() => true);
      for (const at2 of users.keys()) model.revoked.add(`g${at2}`);
      void writer.run('kill', { tenantNo: no, name: TENANT_END, at });
      return undefined;
    case 'restore':
      model.isKilled = false;
      void writer.run('restore', { tenantNo: no, name: TENANT_END });
      return undefined;
    case 'wait':
      return undefined;
  }
}

test('whatever is opened, decided, used and ended in whatever order, the store says what the model says', async () => {
  await using place = await temporaryFolder();
  await using writer = await openStore(place.folder);
  let tenants = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 30, maxLength: 120, size: 'max' }), async (steps) => {
      tenants += 1;
      const no = await tenantNo(writer, `t${tenants}`);
      const principals = everyone.map(({ class: cls, id }) => principal({ class: cls, id }));
      await writer.run('putPrincipals', { tenantNo: no, principals, at: T0 });
      for (const [at, subject] of users.entries())
        await writer.run('insertGrant', {
          tenantNo: no,
          grant: grant({ id: `g${at}` as never, subject, actors: [], expiresAt: T0 + 86_400_000 }),
        });
      const model = new Model();
      let now = T0;
      const answers = steps.map((each) => {
        if (each.do === 'wait') now += each.seconds * 1_000;
        const both = taken(writer, model, no, each, now);
        return both && { each, said: both[0].then(({ value }) => value), meant: both[1] };
      });
      for (const answer of answers)
        if (answer) expect(await answer.said, JSON.stringify(answer.each)).toBe(answer.meant);
      const reader = openReader(place.folder);
      const store = approvalStore(reader);
      for (const { row, state, usesLeft } of model.all)
        expect(store.find(no, row.id)).toMatchObject({ state, usesLeft });
      reader.close();
    }),
    { numRuns: 60 },
  );
});
