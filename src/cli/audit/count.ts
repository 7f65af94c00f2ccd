import { AuditService } from '../../gen/mandate/v1/audit_pb.ts';
import { clientOf } from '../client.ts';
import { type GlobalOptions, print, printJson, printTable } from '../terminal/output.ts';
import { Progress } from '../terminal/progress.ts';
import type { Filter } from './query.ts';

/** How many groups are kept apart. What is met after that many others is counted together. */
const MOST_GROUPS = 10_000;

/** Counts to the end, however many answers that takes, and prints the `limit` largest groups. */
export async function count(
  globals: GlobalOptions,
  filter: Filter,
  by: string | undefined,
  limit: number,
): Promise<void> {
  const { all, groups, others } = await counted(globals, filter, by);
  const sorted = [...groups].sort(([a, m], [b, n]) => n - m || a.localeCompare(b));
  const shown = sorted.slice(0, limit);
  const rest = sorted.slice(limit).reduce((sum, [, each]) => sum + each, others);
  if (globals.json)
    printJson({
      count: all,
      ...(by === undefined
        ? {}
        : { by, groups: shown.map(([name, n]) => ({ name, count: n })), others: rest }),
    });
  else if (by === undefined) print(String(all));
  else
    printTable(
      [by.toUpperCase(), 'COUNT'],
      [
        ...shown.map(([name, each]) => [name || '(none)', String(each)]),
        ...(rest > 0 ? [['(others)', String(rest)]] : []),
      ],
    );
}

interface Counts {
  readonly all: number;
  readonly groups: ReadonlyMap<string, number>;
  readonly others: number;
}

async function counted(globals: GlobalOptions, query: Filter, by: string | undefined): Promise<Counts> {
  const client = clientOf(AuditService, 'admin', globals);
  const groups = new Map<string, number>();
  let [all, others, pageToken] = [0, 0, ''];
  let total: number | undefined;
  using progress = new Progress('records looked at');
  do {
    const answer = await client.count({ query: { ...query, pageToken }, by: by ?? '' });
    all += Number(answer.count);
    for (const { name, count: more } of answer.groups) {
      const before = groups.get(name);
      // Whoever is kept was from its first record on, so that its count is exact.
      if (before !== undefined || groups.size < MOST_GROUPS) groups.set(name, (before ?? 0) + Number(more));
      else others += Number(more);
    }
    const left = Number(answer.left);
    total ??= left;
    progress.tell(Math.max(0, total - left), total);
    pageToken = answer.nextPageToken;
  } while (pageToken !== '');
  return { all, groups, others };
}
