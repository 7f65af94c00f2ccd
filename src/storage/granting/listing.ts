import { isSame, type PrincipalRef } from '../../ids.ts';
import type { Connection } from '../database.ts';
import { GRANT_COLUMNS, type GrantColumns, grantOf } from '../grants.ts';
import { audiencesOf, type GrantRow, isTaskNode, type TenantNo } from '../rows.ts';
import { endOf, STEP } from './living.ts';

/** Which grants are meant: all that is given must be so. */
export interface GrantFilter {
  readonly subject?: PrincipalRef | undefined;
  /** The current one. */
  readonly actor?: PrincipalRef | undefined;
  /** One of those it is for. */
  readonly audience?: string | undefined;
  /** The path of a grant: itself and all that came from it, each behind what it came from. Else the last to end is first. */
  readonly under?: string | undefined;
  /** Only tasks, and the parts of agents that joined one. */
  readonly tasks?: boolean | undefined;
  /** Milliseconds since the epoch: only those that live then. */
  readonly livingAt?: number | undefined;
}

/** The place of a grant in either order. */
export interface GrantPlace {
  readonly path: string;
  readonly expiresAt: number;
  readonly id: string;
}

export interface GrantPage {
  readonly grants: readonly GrantRow[];
  /** Behind which to go on; undefined where there are no more. */
  readonly next: GrantPlace | undefined;
}

export interface GrantLister {
  list(tenantNo: TenantNo, filter: GrantFilter, after: GrantPlace | undefined, count: number): GrantPage;
  /** Undefined for a grant that is not there. */
  pathOf(tenantNo: TenantNo, id: string): string | undefined;
}

/** How many rows a page looks at, so that what ended or is not meant costs no caller a turn of everybody's. */
export const MOST_LOOKED_AT = 1_000;

/** By what the index finds them, each in the order of `expires_at`; what else is asked is looked at row by row. */
const FOUND_BY = {
  under: `g.path >= @from AND g.path < ${endOf('@under')}`,
  actor: 'g.actor_class = @actorClass AND g.actor_id = @actorId',
  subject: 'g.subject_class = @subjectClass AND g.subject_id = @subjectId',
  tasks: 'g.is_task = 1',
  all: 'TRUE',
} as const;
type FoundBy = keyof typeof FOUND_BY;

interface Row extends GrantColumns {
  readonly path: string;
}

export function grantLister(db: Connection): GrantLister {
  const statement = (by: FoundBy) => {
    const [behind, order] =
      by === 'under'
        ? ['TRUE', 'g.path']
        : [
            '(g.expires_at, g.id) < (@expiresAt, @id) AND g.expires_at > @livingAt',
            'g.expires_at DESC, g.id DESC',
          ];
    return db.prepare<[object], Row>(`
      SELECT g.path, ${GRANT_COLUMNS} FROM grants g
      WHERE g.tenant_no = @no AND ${FOUND_BY[by]} AND ${behind} ORDER BY ${order} LIMIT ${MOST_LOOKED_AT}`);
  };
  const statements = Object.fromEntries(
    (Object.keys(FOUND_BY) as FoundBy[]).map((by) => [by, statement(by)]),
  ) as Record<FoundBy, ReturnType<typeof statement>>;
  const path = db
    .prepare<[number, string], string>('SELECT path FROM grants WHERE tenant_no = ? AND id = ?')
    .pluck();
  return {
    pathOf: (no, id) => path.get(no, id),
    list(no, filter, after, count) {
      const grants: GrantRow[] = [];
      let looked = 0;
      for (const row of statements[foundBy(filter)].iterate({ no, ...bound(filter, after) })) {
        looked += 1;
        const grant = grantOf(row);
        if (isMeant(grant, filter)) grants.push(grant);
        if (grants.length === count || looked === MOST_LOOKED_AT)
          return { grants, next: { path: row.path, expiresAt: row.expires_at, id: row.id } };
      }
      return { grants, next: undefined };
    },
  };
}

const BEFORE_ALL: GrantPlace = { path: '', expiresAt: Number.MAX_SAFE_INTEGER, id: '' };

const foundBy = (filter: GrantFilter): FoundBy =>
  (['under', 'actor', 'subject', 'tasks'] as const).find((name) => filter[name]) ?? 'all';

const bound = ({ subject, actor, under = '', livingAt }: GrantFilter, after: GrantPlace = BEFORE_ALL) => ({
  under,
  // Behind a path is what is below it, and a place in another tree is no way into that one.
  from: after.path >= under && after.path !== '' ? `${after.path}${STEP}` : under,
  expiresAt: after.expiresAt,
  id: after.id,
  actorClass: actor?.class,
  actorId: actor?.id,
  subjectClass: subject?.class,
  subjectId: subject?.id,
  livingAt: livingAt ?? Number.MIN_SAFE_INTEGER,
});

const isMeant = (
  grant: GrantRow,
  { subject, actor, audience, tasks = false, livingAt }: GrantFilter,
): boolean =>
  (!tasks || isTaskNode(grant)) &&
  (subject === undefined || isSame(grant.subject, subject)) &&
  (actor === undefined || isSame(grant.actors[0], actor)) &&
  (audience === undefined || audiencesOf(grant).includes(audience)) &&
  (livingAt === undefined || (grant.revokedAt === null && grant.expiresAt > livingAt));
