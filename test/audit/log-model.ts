import fc from 'fast-check';
import { type AuditQuery, queryRecords } from '../../src/audit/query.ts';
import { type RecordDraft, recordKinds, recordOutcomes } from '../../src/audit/record.ts';
import type { NamedRef, PrincipalRef } from '../../src/ids.ts';
import { type RecordStore, recordStore } from '../../src/storage/log/records.ts';
import { openReader } from '../../src/storage/reader.ts';
import type { TenantNo } from '../../src/storage/rows.ts';
import type { Writer } from '../../src/storage/writer.ts';
import { draftOf, openStore, rowOf, sourceOf, T0, temporaryFolder, tenantNo } from '../storage/store.ts';

/** Records in a plain array, what is asked of them, and what a plain search of the array finds. */

export interface Entry {
  index: number;
  time: number;
  kind: (typeof recordKinds)[number];
  outcome: (typeof recordOutcomes)[number];
  subject: PrincipalRef;
  /** The current actor first. */
  actors: readonly PrincipalRef[];
  context: Readonly<Record<string, unknown>>;
  revision: string | undefined;
  decisionId: string;
  caller: string;
  action: string;
  resource: { type: string; id: string };
  grantId: string | undefined;
  reason: string | undefined;
}

const actions = ['read', 'write', 'share'];
const reasons = [undefined, 'not_allowed', 'archived'];
const resourceOf = (n: number) => ({ type: 'document', id: `d${n}` });

const revisions = [undefined, 'sha256:aa', 'sha256:bb'];
/** Chains of none, one, two and three, in which everybody comes at each place. */
const chainOf = (n: number): PrincipalRef[] =>
  Array.from({ length: [0, 1, 0, 2, 3][n % 5] ?? 0 }, (_, place) =>
    pick(actors, n * 5 + place * 3 + (n >> 3)),
  );
const contextOf = (n: number): Record<string, unknown> =>
  n % 3 === 0 ? {} : { ticket: n % 2 === 0 ? `INC-${n % 40}` : n % 40, device: { os: ['linux', n % 2] } };

const callers = ['service:docs-api', 'service:mail', 'operator:ann'];

// More than one search looks at, so that pages end early and empty ones come.
export const COUNT = 13_000;
export const principals: PrincipalRef[] = [
  { class: 'user', id: 'alice' },
  { class: 'user', id: 'bob' },
  { class: 'agent', id: 'alice' },
  { class: 'agent', id: 'a|b' },
];
export const actors: PrincipalRef[] = [
  ...principals,
  { class: 'agent', id: 'chained' },
  { class: 'job', id: 'j' },
];

export const pick = <T>(from: readonly T[], at: number): T => from[at % from.length] as T;

export interface ModelLog extends AsyncDisposable {
  readonly writer: Writer;
  readonly store: RecordStore;
  readonly no: TenantNo;
  readonly entries: readonly Entry[];
}

/** A store whose tenant acme has COUNT records, and globex the first 500 of them. */
export async function openModel(): Promise<ModelLog & { readonly other: TenantNo }> {
  await using stack = new AsyncDisposableStack();
  const { folder } = stack.use(await temporaryFolder());
  const writer = stack.use(await openStore(folder));
  const [no, other] = [await tenantNo(writer, 'acme'), await tenantNo(writer, 'globex')];
  const made = Array.from({ length: COUNT }, (_, index) => entryAt(no, index));
  await Promise.all([
    ...made.map(({ draft }) => writer.append(rowOf(no, draft))),
    // The same principals in another tenant.
    ...made.slice(0, 500).map(({ draft }) => writer.append(rowOf(other, { ...draft, tenantNo: other }))),
  ]);
  const db = stack.adopt(openReader(folder), (each) => void each.close());
  const running = stack.move();
  return {
    writer,
    store: recordStore(db),
    no,
    other,
    entries: made.map(({ entry }) => entry),
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

/** One of COUNT, and the draft of its record. */
function entryAt(no: TenantNo, index: number): { entry: Entry; draft: RecordDraft } {
  // Commits are not in the order of the times: off by up to twenty seconds. One principal is rare.
  const time = T0 + index * 40 + ((index * 7_919) % 20_000);
  const entry: Omit<Entry, 'decisionId'> = {
    index,
    time,
    kind: pick(recordKinds, index * 31 + (index >> 3)),
    outcome: pick(recordOutcomes, index * 17 + (index >> 2)),
    subject:
      index % 1_700 === 0 ? { class: 'user', id: 'rare' } : pick(principals, index * 13 + (index >> 4)),
    caller: pick(callers, index * 11 + (index >> 5)),
    actors: chainOf(index),
    context: contextOf(index),
    // The last one is used for a while alone.
    revision: index > 6_000 && index < 6_500 ? 'sha256:cc' : pick(revisions, index >> 6),
    action: pick(actions, index * 3 + (index >> 4)),
    resource: resourceOf((index * 31) % 900),
    grantId: index % 50 === 0 ? `grant-${index % 700}` : undefined,
    reason: pick(reasons, index * 7 + (index >> 3)),
  };
  const { subject, actors: chain, action, resource, grantId, reason, revision, context } = entry;
  const told = `,"reasons":${JSON.stringify(reason === undefined ? [] : [{ code: reason, message: '' }])}`;
  const draft = draftOf(no, {
    ...entry,
    actor: chain[0],
    members:
      told +
      (grantId === undefined ? '' : `,"grant_id":"${grantId}"`) +
      (revision === undefined ? '' : `,"revision":"${revision}"`),
    input: JSON.stringify({
      subject,
      target: null,
      actors: chain,
      action: { name: action },
      resource,
      context,
    }),
  });
  return { draft, entry: { ...entry, decisionId: draft.decisionId } };
}

const sameAs = (one: NamedRef | undefined, two: NamedRef): boolean =>
  one?.class === two.class && one.id === two.id;

export type Filter = Omit<AuditQuery, 'pageSize' | 'pageToken'>;

/** What stands at the path of the tests, as the filter that is to find it says it. */
const saidIn = (context: Readonly<Record<string, unknown>>, path: string): string | undefined => {
  const { ticket, device } = context as {
    ticket?: string | number;
    device?: { os: (string | number)[] };
  };
  const found = path === '/ticket' ? ticket : device?.os[Number(path.at(-1))];
  return found === undefined ? undefined : String(found);
};

/** Their indexes, in the order that is asked for. */
export const expected = (from: readonly Entry[], filter: Filter): number[] => {
  const indexes = matching(from, filter).map(({ index }) => index);
  return filter.isOldestFirst ? indexes : indexes.toReversed();
};

export const matching = (from: readonly Entry[], filter: Filter): Entry[] =>
  from.filter(
    (each) =>
      (filter.since === undefined || each.time >= filter.since) &&
      (filter.until === undefined || each.time < filter.until) &&
      (filter.kind === undefined ? each.kind !== 'read' : each.kind === filter.kind) &&
      (filter.outcome === undefined || each.outcome === filter.outcome) &&
      (filter.callerId === undefined || each.caller === filter.callerId) &&
      (filter.actionName === undefined || each.action === filter.actionName) &&
      (filter.reasonCode === undefined || each.reason === filter.reasonCode) &&
      (filter.grantId === undefined || each.grantId === filter.grantId) &&
      (filter.resourceName === undefined ||
        `${each.resource.type}:${each.resource.id}` === filter.resourceName) &&
      (filter.decisionId === undefined || each.decisionId === filter.decisionId) &&
      (filter.principal === undefined ||
        sameAs(each.subject, filter.principal) ||
        each.actors.some((actor) => filter.principal && sameAs(actor, filter.principal))) &&
      (filter.revision === undefined || each.revision === filter.revision) &&
      (filter.context ?? []).every(({ path, value }) => saidIn(each.context, path) === value),
  );

const moment = fc.integer({ min: T0 - 100_000, max: T0 + COUNT * 40 + 100_000 });

const everything = {
  since: moment,
  until: moment,
  kind: fc.constantFrom(...recordKinds),
  outcome: fc.constantFrom(...recordOutcomes),
  callerId: fc.constantFrom(...callers, 'service:nobody'),
  actionName: fc.constantFrom(...actions),
  reasonCode: fc.constantFrom('not_allowed', 'archived', 'none'),
  grantId: fc.constantFrom('grant-0', 'grant-50', 'grant-none'),
  resourceName: fc.constantFrom('document:d0', 'document:d31', 'document:none'),
  revision: fc.constantFrom('sha256:aa', 'sha256:cc', 'sha256:none'),
  context: fc.uniqueArray(
    fc.constantFrom(
      { path: '/ticket', value: 'INC-4' },
      { path: '/ticket', value: '7' },
      { path: '/device/os/0', value: 'linux' },
      { path: '/device/os/1', value: '1' },
      { path: '/device/os/2', value: '1' },
    ),
    { minLength: 1, maxLength: 2 },
  ),
  principal: fc.constantFrom<PrincipalRef>(
    ...actors,
    { class: 'user', id: 'rare' },
    { class: 'user', id: 'nobody' },
  ),
} as const satisfies Partial<Record<keyof Filter, fc.Arbitrary<unknown>>>;

/** Some of it alone: all together find nothing. */
export const anyFilter: fc.Arbitrary<Filter> = fc
  .tuple(
    fc.record(everything),
    fc.subarray(Object.keys(everything) as (keyof typeof everything)[], { maxLength: 3 }),
    fc.boolean(),
  )
  .map(([all, kept, isOldestFirst]) => ({
    ...Object.fromEntries(kept.map((name) => [name, all[name]])),
    isOldestFirst,
  }));

/** Every page of a query of the log; throws if they do not end. */
export function pagesOf({ store, no }: ModelLog, filter: Filter, pageSize: number): number[] {
  const seen: number[] = [];
  let pageToken = '';
  for (let page = 0; page <= COUNT; page += 1) {
    const answer = queryRecords(sourceOf(store), no, { ...filter, pageSize, pageToken });
    if (answer.records.length > pageSize) throw new Error('a page is larger than was asked for');
    seen.push(...answer.records.map(({ index }) => index));
    pageToken = answer.nextPageToken;
    if (pageToken === '') return seen;
  }
  throw new Error('the pages do not end');
}
