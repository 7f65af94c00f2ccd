import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type PrincipalRef, principalKey } from '../../../src/ids.ts';
import { tighter } from '../../../src/storage/granting/cap.ts';
import { issuerEnd, TENANT_END } from '../../../src/storage/granting/ends.ts';
import { grantStore } from '../../../src/storage/grants.ts';
import { openReader } from '../../../src/storage/reader.ts';
import type { GrantRow, TaskCap, TenantNo, Use } from '../../../src/storage/rows.ts';
import { narrowest, uses } from '../../../src/storage/use.ts';
import type { Writer } from '../../../src/storage/writer.ts';
import { openStore, T0, temporaryFolder, tenantNo } from '../store.ts';
import { grant, principal } from './given.ts';

/**
 * Trees of grants that are made, joined, capped and ended in any order, many at once, beside what they mean: a plain list of
 * grants, each with a mark. No grant lives whose parent does not, or whose subject, actors, issuer or tenant was ended
 * since; none is wider or longer than its parent, nor than its task was capped to.
 */

const users: readonly PrincipalRef[] = [0, 1].map((n) => ({ class: 'user', id: `u${n}` }));
const actors: readonly PrincipalRef[] = [0, 1, 2].map((n) => ({ class: 'agent', id: `a${n}` }));
const issuers = ['https://one.example', 'https://two.example'];
const everyone = [...users, ...actors];

const SCOPES = ['read', 'suggest', 'write'];
const most = (value: number) => ({ type: 'call', most: value });

const cap: fc.Arbitrary<TaskCap> = fc.record(
  {
    at: fc.constant(T0),
    endsAt: fc.nat(4).map((hundreds) => T0 + hundreds * 100_000),
    scopes: fc.subarray(SCOPES, { minLength: 1 }),
    use: fc.constantFrom(...uses),
    details: fc.nat(9).map((value) => ({ call: { most: value } })),
    budget: fc.dictionary(fc.constantFrom('reads', 'paid'), fc.nat(9), { minKeys: 1 }),
  },
  { requiredKeys: ['at'] },
);

type Step =
  | { readonly do: 'root'; readonly user: number; readonly actor: number; readonly issuer: number }
  | { readonly do: 'task'; readonly user: number; readonly actor: number; readonly issuer: number }
  | {
      readonly do: 'child';
      readonly of: number;
      readonly actor: number;
      readonly scopes: readonly string[];
      readonly use: Use;
      /** Decided on before the last cap. */
      readonly late: boolean;
      /** As long as if there were none. */
      readonly long: boolean;
      /** It has no token, and is what its agent goes on by. */
      readonly joins: boolean;
    }
  | { readonly do: 'cap'; readonly of: number; readonly cap: TaskCap }
  | { readonly do: 'revoke'; readonly of: number }
  | { readonly do: 'disable' | 'enable'; readonly whom: number }
  | { readonly do: 'kill' | 'restore'; readonly what: number };

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({ do: fc.constant('root'), user: fc.nat(1), actor: fc.nat(2), issuer: fc.nat(1) }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant('task'), user: fc.nat(1), actor: fc.nat(2), issuer: fc.nat(1) }),
  },
  {
    weight: 16,
    arbitrary: fc.record({
      do: fc.constant('child'),
      of: fc.nat(),
      actor: fc.nat(2),
      scopes: fc.subarray([...SCOPES], { minLength: 1 }),
      use: fc.constantFrom(...uses),
      late: fc.boolean(),
      long: fc.boolean(),
      joins: fc.boolean(),
    }),
  },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('cap'), of: fc.nat(), cap }) },
  { weight: 5, arbitrary: fc.record({ do: fc.constant('revoke'), of: fc.nat() }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('disable'), whom: fc.nat(4) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('enable'), whom: fc.nat(4) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('kill'), what: fc.nat(2) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('restore'), what: fc.nat(2) }) },
) as fc.Arbitrary<Step>;

interface Known extends GrantRow {
  isLive: boolean;
}

const includes = ({ subject, actors: chain }: GrantRow, whom: PrincipalRef): boolean =>
  [subject, ...chain].some((each) => principalKey(each) === principalKey(whom));

/** What the steps come to, told by the plainest means. Each answers what the store is to answer. */
class Model {
  readonly grants: Known[] = [];
  readonly disabled = new Set<string>();
  readonly killed = new Set<string>();
  /** By task: each cap, the last one last. */
  readonly caps = new Map<string, TaskCap[]>();

  insert(made: GrantRow): true | undefined {
    const parent = this.grants.find(({ id }) => id === made.parentId);
    if (made.parentId !== null && !parent?.isLive) return undefined;
    if (parent && made.expiresAt > this.left(parent).expiresAt) return undefined;
    // One that took nothing is none.
    if (parent && JSON.stringify(made.task?.cap) !== JSON.stringify(this.capOf(parent)[0])) return undefined;
    if (everyone.some((each) => includes(made, each) && this.disabled.has(principalKey(each))))
      return undefined;
    if (this.killed.has(TENANT_END) || this.killed.has(issuerEnd(made.issuer))) return undefined;
    this.grants.push({ ...made, isLive: true });
    return true;
  }

  open(task: GrantRow, first: GrantRow): true | undefined {
    return this.insert(task) && this.insert(first);
  }

  /** By what all that was said leaves, and not by what one cap makes of another. */
  cap(id: string, more: TaskCap): TaskCap | undefined {
    const task = this.grants.find((each) => each.id === id && each.task?.id === id);
    if (!task?.isLive) return undefined;
    this.caps.set(id, [...(this.caps.get(id) ?? []), more]);
    this.#end((each) => each.task?.id === id && this.left(each).scopes.length === 0);
    return this.capOf(task)[0];
  }

  /** As grants name it: of now, and of before the last one. */
  capOf(grant: GrantRow): [TaskCap | undefined, TaskCap | undefined] {
    let [now, before]: [TaskCap | undefined, TaskCap | undefined] = [undefined, undefined];
    for (const each of this.caps.get(grant.task?.id ?? '') ?? []) [now, before] = [tighter(now, each), now];
    return [now, before];
  }

  budgetOf({ id }: GrantRow): Record<string, number> {
    const left: Record<string, number> = { reads: 5 };
    for (const { budget = {} } of this.caps.get(id) ?? [])
      for (const [name, bound] of Object.entries(budget)) left[name] = Math.min(left[name] ?? bound, bound);
    return left;
  }

  left(grant: GrantRow): Pick<GrantRow, 'scopes' | 'use' | 'details' | 'expiresAt'> {
    let { scopes, use, details, expiresAt } = grant;
    for (const each of this.caps.get(grant.task?.id ?? '') ?? []) {
      scopes = scopes.filter((scope) => each.scopes?.includes(scope) ?? true);
      use = uses[Math.min(uses.indexOf(use), uses.indexOf(each.use ?? 'act'))] ?? 'read';
      const bound = each.details?.['call']?.['most'] ?? Number.POSITIVE_INFINITY;
      details = details.map((detail) => most(Math.min(detail['most'] as number, bound)));
      expiresAt = Math.min(expiresAt, each.endsAt ?? expiresAt);
    }
    return { scopes, use, details, expiresAt };
  }

  revoke(id: string): number | undefined {
    const target = this.grants.find((each) => each.id === id);
    if (!target?.isLive) return undefined;
    return this.#end((each) => each.id === id);
  }

  disable(whom: PrincipalRef): number {
    this.disabled.add(principalKey(whom));
    return this.#end((each) => includes(each, whom));
  }

  kill(name: string): number {
    this.killed.add(name);
    return this.#end((each) => name === TENANT_END || name === issuerEnd(each.issuer));
  }

  restore(name: string): true | undefined {
    return this.killed.delete(name) || undefined;
  }

  /** Parents stand before their children. */
  #end(isMeant: (grant: Known) => boolean): number {
    const count = () => this.grants.filter((each) => each.isLive && this.left(each).expiresAt > T0).length;
    const before = count();
    for (const each of this.grants) {
      const parent = this.grants.find(({ id }) => id === each.parentId);
      if (isMeant(each) || (parent && !parent.isLive)) each.isLive = false;
    }
    return before - count();
  }
}

const killNames = [TENANT_END, ...issuers.map(issuerEnd)] as ('tenant' | `issuer ${string}`)[];
const pick = <T>(all: readonly T[], at: number): T => all[at % all.length] as T;

/** Sends a step to the store and to the model; answers both answers. The store takes them in the order they are sent. */
function taken(writer: Writer, model: Model, made: GrantRow[], no: TenantNo, each: Step) {
  const inserted = (row: GrantRow) => {
    made.push(row);
    return [writer.run('insertGrant', { tenantNo: no, grant: row }), model.insert(row)] as const;
  };
  switch (each.do) {
    case 'root':
      return inserted(
        grant({
          subject: pick(users, each.user),
          actors: [pick(actors, each.actor)],
          issuer: pick(issuers, each.issuer),
        }),
      );
    case 'task': {
      const id = grant().id;
      const common = {
        subject: pick(users, each.user),
        actors: [pick(actors, each.actor)],
        issuer: pick(issuers, each.issuer),
        scopes: SCOPES,
        details: [most(5)],
        task: { id, purpose: 'x', endsAt: T0 + 300_000, budget: { reads: 5 } },
      };
      const [task, first] = [grant({ ...common, id }), grant({ ...common, parentId: id })];
      made.push(task, first);
      const answer = writer.run('openTask', { tenantNo: no, task, grant: first });
      return [answer, model.open(task, first)] as const;
    }
    case 'child': {
      if (made.length === 0) return undefined;
      const parent = pick(made, each.of);
      const { id, depth, subject, issuer, actors: chain, task } = parent;
      if (depth === 8) return undefined;
      const left = model.left(parent);
      const own = grant().id;
      const [now, before] = model.capOf(parent);
      const named = each.late ? before : now;
      const scopes = left.scopes.filter((scope) => each.scopes.includes(scope));
      return inserted(
        grant({
          ...left,
          ...(each.long && { expiresAt: T0 + 300_000 }),
          parentId: id,
          depth: depth + 1,
          subject,
          issuer,
          scopes: scopes.length > 0 ? scopes : left.scopes,
          use: narrowest(left.use, each.use),
          actors: [pick(actors, each.actor), ...chain],
          id: own,
          task: task && { ...task, ...(each.joins && { node: own }), ...(named && { cap: named }) },
        }),
      );
    }
    case 'cap': {
      if (made.length === 0) return undefined;
      const { id } = pick(made, each.of);
      const answer = writer.run('capTask', { tenantNo: no, id, cap: each.cap });
      return [answer, model.cap(id, each.cap)] as const;
    }
    case 'revoke': {
      if (made.length === 0) return undefined;
      const { id } = pick(made, each.of);
      return [writer.run('revokeGrant', { tenantNo: no, id, at: T0 }), model.revoke(id)] as const;
    }
    case 'disable':
    case 'enable': {
      const whom = pick(everyone, each.whom);
      const disabled = each.do === 'disable';
      const answer = writer
        .run('setStatus', { tenantNo: no, ...whom, disabled, at: T0 })
        .then(({ value }) => ({ value: value?.ended }));
      if (!disabled) model.disabled.delete(principalKey(whom));
      return [answer, disabled ? model.disable(whom) : 0] as const;
    }
    case 'kill':
    case 'restore': {
      const name = pick(killNames, each.what);
      return each.do === 'kill'
        ? ([writer.run('kill', { tenantNo: no, name, at: T0 }), model.kill(name)] as const)
        : ([writer.run('restore', { tenantNo: no, name }), model.restore(name)] as const);
    }
  }
}

/** No wider, and no longer. */
const isWithin = (child: GrantRow, parent: GrantRow | undefined): boolean =>
  parent !== undefined &&
  child.scopes.every((scope) => parent.scopes.includes(scope)) &&
  uses.indexOf(child.use) <= uses.indexOf(parent.use) &&
  child.expiresAt <= parent.expiresAt &&
  child.details.every(({ most: own }) =>
    parent.details.every(({ most: bound }) => (own as number) <= (bound as number)),
  );

test('whatever is made, capped and ended in whatever order, what lives and what is counted is what the model says', async () => {
  await using place = await temporaryFolder();
  await using writer = await openStore(place.folder);
  const reader = openReader(place.folder);
  const store = grantStore(reader, () => writer.ends);
  let tenants = 0;
  const bursts = fc.array(fc.array(step, { maxLength: 12 }), { minLength: 1, maxLength: 8 });
  await fc.assert(
    fc.asyncProperty(bursts, async (all) => {
      const no = await tenantNo(writer, `t${(tenants += 1)}`);
      await writer.run('putPrincipals', { tenantNo: no, principals: everyone.map(principal), at: T0 });
      const [model, made] = [new Model(), [] as GrantRow[]];
      for (const burst of all) {
        const pairs = burst.flatMap((each) => {
          const pair = taken(writer, model, made, no, each);
          return pair ? [pair] : [];
        });
        const answers = await Promise.all(pairs.map(async ([answer]) => (await answer).value));
        expect(answers).toEqual(pairs.map(([, expected]) => expected));
        for (const known of model.grants) {
          const found = store.find(no, known.id);
          expect(found?.revokedAt ?? null, known.id).toBe(known.isLive ? null : T0);
          expect(found).toMatchObject(model.left(known));
          if (known.task?.id === known.id) expect(found?.task?.budget).toEqual(model.budgetOf(known));
          if (found?.parentId) expect(isWithin(found, store.find(no, found.parentId)), known.id).toBe(true);
        }
      }
    }),
    { numRuns: 100 },
  );
  reader.close();
});
