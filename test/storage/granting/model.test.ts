import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type PrincipalRef, principalKey } from '../../../src/ids.ts';
import { issuerEnd, TENANT_END } from '../../../src/storage/granting/ends.ts';
import { grantStore } from '../../../src/storage/grants.ts';
import { openReader } from '../../../src/storage/reader.ts';
import type { GrantRow, TenantNo } from '../../../src/storage/rows.ts';
import type { Writer } from '../../../src/storage/writer.ts';
import { openStore, T0, temporaryFolder, tenantNo } from '../store.ts';
import { grant, principal } from './given.ts';

/**
 * Trees of grants that are made and ended in any order, many at once, beside what they mean: a plain list of grants, each
 * with a mark. No grant lives whose parent does not, or whose subject, actors, issuer or tenant was ended since.
 */

const users: readonly PrincipalRef[] = [0, 1].map((n) => ({ class: 'user', id: `u${n}` }));
const actors: readonly PrincipalRef[] = [0, 1, 2].map((n) => ({ class: 'agent', id: `a${n}` }));
const issuers = ['https://one.example', 'https://two.example'];
const everyone = [...users, ...actors];

type Step =
  | { readonly do: 'root'; readonly user: number; readonly actor: number; readonly issuer: number }
  | { readonly do: 'child'; readonly of: number; readonly actor: number }
  | { readonly do: 'revoke'; readonly of: number }
  | { readonly do: 'disable' | 'enable'; readonly whom: number }
  | { readonly do: 'kill' | 'restore'; readonly what: number };

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({ do: fc.constant('root'), user: fc.nat(1), actor: fc.nat(2), issuer: fc.nat(1) }),
  },
  { weight: 12, arbitrary: fc.record({ do: fc.constant('child'), of: fc.nat(), actor: fc.nat(2) }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('revoke'), of: fc.nat() }) },
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

  insert(made: GrantRow): true | undefined {
    const parent = this.grants.find(({ id }) => id === made.parentId);
    if (made.parentId !== null && !parent?.isLive) return undefined;
    if (everyone.some((each) => includes(made, each) && this.disabled.has(principalKey(each))))
      return undefined;
    if (this.killed.has(TENANT_END) || this.killed.has(issuerEnd(made.issuer))) return undefined;
    this.grants.push({ ...made, isLive: true });
    return true;
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
    const before = this.grants.filter(({ isLive }) => isLive).length;
    for (const each of this.grants) {
      const parent = this.grants.find(({ id }) => id === each.parentId);
      if (isMeant(each) || (parent && !parent.isLive)) each.isLive = false;
    }
    return before - this.grants.filter(({ isLive }) => isLive).length;
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
    case 'child': {
      if (made.length === 0) return undefined;
      const { id, depth, subject, issuer, actors: chain } = pick(made, each.of);
      if (depth === 8) return undefined;
      return inserted(
        grant({
          parentId: id,
          depth: depth + 1,
          subject,
          issuer,
          actors: [pick(actors, each.actor), ...chain],
        }),
      );
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

test('whatever is made and ended in whatever order, what lives and what is counted is what the model says', async () => {
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
        for (const { id, isLive } of model.grants)
          expect(store.find(no, id)?.revokedAt ?? null, id).toBe(isLive ? null : T0);
      }
    }),
    { numRuns: 60 },
  );
  reader.close();
});
