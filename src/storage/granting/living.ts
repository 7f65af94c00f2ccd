/**
 * What ends a grant, in SQL, once for all who ask: a mark on it or on one it came from, or one in `ends` that is newer
 * than it. Nothing is written to what came of a grant, so that to end a hundred thousand costs one row.
 */

/** What is between the ids of a path. It sorts before every character of an id. */
export const STEP = ' ';
/** The first text after all that begin with a path and a step. */
const AFTER_STEP = '!';

/** Before which all paths are that begin with this one and are not below another. SQL, as below. */
export const endOf = (root: string): string => `${root} || '${AFTER_STEP}'`;

/** `path` is that of a grant or below it. */
export const isWithin = (path: string, root: string): string =>
  `${path} >= ${root} AND ${path} < ${endOf(root)}`;

/** SQL for what the task of the row `g` of `grants` was capped to, as JSON (`TaskCap`); null where it was not, or is none. */
export const CAP = "(SELECT t.cap FROM grants t WHERE t.tenant_no = g.tenant_no AND t.id = g.task ->> 'id')";

/** SQL for when the time of the row `g` is over. */
export const EXPIRES_AT = `min(g.expires_at, coalesce(${CAP} ->> 'endsAt', g.expires_at))`;

/**
 * SQL for when the row `g` of `grants` ended, null while nothing has ended it; time is another matter. A cap that leaves
 * it no scope has ended it. The joins are CROSS, which SQLite takes in the order they stand in: the few names first, each
 * then looked up.
 */
export const ENDED_AT = `(
  SELECT min(at) FROM (
    SELECT a.revoked_at AS at FROM json_each('["' || replace(g.path, '${STEP}', '","') || '"]') step
      CROSS JOIN grants a ON a.tenant_no = g.tenant_no AND a.id = step.value
    UNION ALL
    SELECT t.cap ->> 'at' FROM grants t
    WHERE t.tenant_no = g.tenant_no AND t.id = g.task ->> 'id' AND t.cap ->> 'scopes' IS NOT NULL
      AND NOT EXISTS (SELECT 1 FROM json_each(g.scopes) held CROSS JOIN json_each(t.cap, '$.scopes') scope
        WHERE scope.value = held.value)
    UNION ALL
    SELECT e.at FROM (
      SELECT 'principal ' || g.subject_class || ':' || g.subject_id AS name
      UNION ALL SELECT 'principal ' || (value ->> 'class') || ':' || (value ->> 'id') FROM json_each(g.actors)
      UNION ALL SELECT 'issuer ' || g.issuer
      UNION ALL SELECT 'tenant'
    ) party CROSS JOIN ends e ON e.tenant_no = g.tenant_no AND e.name = party.name WHERE e.upto >= g.seq
  ) WHERE at IS NOT NULL
)`;
