import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type GrantPlace, grantLister, MOST_LOOKED_AT } from '../../../src/storage/granting/listing.ts';
import { openReader } from '../../../src/storage/reader.ts';
import type { GrantRow } from '../../../src/storage/rows.ts';
import { openStore, T0, temporaryFolder, tenantNo } from '../store.ts';
import { grant, principal } from './given.ts';

const actors = ['a0', 'a1'];
const made = fc.record({
  of: fc.option(fc.nat(), { nil: undefined }),
  subject: fc.nat(1),
  actor: fc.nat(1),
  audience: fc.nat(1),
  /** Few, so that many end in one millisecond. */
  lasts: fc.integer({ min: 1, max: 4 }),
});
const asked = fc.record({
  subject: fc.option(fc.nat(1), { nil: undefined }),
  actor: fc.option(fc.nat(1), { nil: undefined }),
  audience: fc.option(fc.nat(1), { nil: undefined }),
  under: fc.option(fc.nat(), { nil: undefined }),
  livingAt: fc.option(fc.nat(4), { nil: undefined }),
  page: fc.integer({ min: 1, max: 5 }),
});

test('pages hold each grant that is meant once, in one order, whatever is asked', async () => {
  await using place = await temporaryFolder();
  await using writer = await openStore(place.folder);
  const reader = openReader(place.folder);
  const lister = grantLister(reader);
  let tenants = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.array(made, { maxLength: 25 }),
      fc.array(fc.nat(), { maxLength: 2 }),
      fc.array(asked, { minLength: 4, maxLength: 8 }),
      async (all, revoked, questions) => {
        const no = await tenantNo(writer, `t${(tenants += 1)}`);
        const principals = [
          ...['u0', 'u1'].map((id) => principal({ id })),
          ...actors.map((id) => principal({ class: 'agent', id })),
        ];
        await writer.run('putPrincipals', { tenantNo: no, principals, at: T0 });
        const grants: GrantRow[] = [];
        for (const each of all) {
          const parent = each.of === undefined ? undefined : grants[each.of % (grants.length || 1)];
          const row = grant({
            parentId: parent?.id ?? null,
            subject: { class: 'user', id: `u${each.subject}` },
            actors: [{ class: 'agent', id: `a${each.actor}` }],
            audience: `s${each.audience}`,
            expiresAt: Math.min(T0 + each.lasts, parent?.expiresAt ?? Number.POSITIVE_INFINITY),
          });
          grants.push(row);
          await writer.run('insertGrant', { tenantNo: no, grant: row });
        }
        const dead = new Set<string>();
        for (const at of revoked) {
          const target = grants[at % (grants.length || 1)];
          if (!target) continue;
          await writer.run('revokeGrant', { tenantNo: no, id: target.id, at: T0 });
          dead.add(target.id);
        }
        const parents = new Map(grants.map(({ id, parentId }) => [id, parentId]));
        const chain = (id: string | null): string[] =>
          id === null ? [] : [id, ...chain(parents.get(id as GrantRow['id']) ?? null)];
        for (const { page, ...question } of questions) {
          const under =
            question.under === undefined ? undefined : grants[question.under % (grants.length || 1)]?.id;
          const { subject, actor, audience, livingAt } = question;
          const filter = {
            subject: subject === undefined ? undefined : ({ class: 'user', id: `u${subject}` } as const),
            actor: actor === undefined ? undefined : ({ class: 'agent', id: `a${actor}` } as const),
            audience: audience === undefined ? undefined : `s${audience}`,
            under: under && lister.pathOf(no, under),
            livingAt: livingAt === undefined ? undefined : T0 + livingAt,
          };
          const expected = grants.filter(
            (each) =>
              (subject === undefined || each.subject.id === `u${subject}`) &&
              (actor === undefined || each.actors[0]?.id === `a${actor}`) &&
              (audience === undefined || each.audience === `s${audience}`) &&
              (under === undefined || chain(each.id).includes(under)) &&
              (livingAt === undefined ||
                (each.expiresAt > T0 + livingAt && !chain(each.id).some((id) => dead.has(id)))),
          );
          const seen: GrantRow[] = [];
          let after: GrantPlace | undefined;
          for (let pages = 0; pages === 0 || after !== undefined; pages += 1) {
            expect(pages).toBeLessThan(40);
            const { grants: found, next } = lister.list(no, filter, after, page);
            seen.push(...found);
            after = next;
          }
          expect(seen.map(({ id }) => id).sort()).toEqual(expected.map(({ id }) => id).sort());
          const ends = seen.map(({ expiresAt }) => expiresAt);
          if (under === undefined) expect(ends).toEqual(ends.toSorted((one, other) => other - one));
          else
            for (const [at, { id, parentId }] of seen.entries())
              if (id !== under && seen.some((each) => each.id === parentId))
                expect(seen.findIndex((each) => each.id === parentId)).toBeLessThan(at);
        }
      },
    ),
    { numRuns: 40 },
  );
  reader.close();
});

test('a page looks at so many grants and no more, and the next one goes on behind them', async () => {
  await using place = await temporaryFolder();
  await using writer = await openStore(place.folder);
  const no = await tenantNo(writer, 'acme');
  const principals = [principal(), principal({ class: 'agent', id: 'a' })];
  await writer.run('putPrincipals', { tenantNo: no, principals, at: T0 });
  const grants = Array.from({ length: MOST_LOOKED_AT + 1 }, (_, at) =>
    grant({ audience: at === 0 ? 'rare' : 'common', expiresAt: T0 + 1 + at }),
  );
  await Promise.all(grants.map((each) => writer.run('insertGrant', { tenantNo: no, grant: each })));
  const reader = openReader(place.folder);
  const lister = grantLister(reader);
  const filter = { actor: { class: 'agent', id: 'a' }, audience: 'rare' } as const;
  const page = lister.list(no, filter, undefined, 10);
  expect(page.grants).toEqual([]);
  expect(lister.list(no, filter, page.next, 10)).toMatchObject({
    grants: [{ id: grants[0]?.id }],
    next: undefined,
  });
  reader.close();
});
