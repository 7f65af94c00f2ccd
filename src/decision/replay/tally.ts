import type { AuditRecord } from '../../audit/read.ts';
import type { Change } from './change.ts';

/** Of changes: how many have a thing in common. */
export interface Group {
  /** `allow → deny`, or `obligations` and `challenge` where the outcome is the same. */
  readonly change: string;
  readonly by: 'action' | 'resource_type' | 'principal_class' | 'rule' | 'package';
  readonly name: string;
  count: number;
}

/** A record that would be decided otherwise. */
export interface Example {
  readonly change: string;
  readonly index: number;
  readonly decisionId: string;
  /** `class:id` of whom it was decided for, and of who acts, the current actor first. */
  readonly subject: string;
  readonly actors: readonly string[];
  readonly action: string;
  readonly resource: string;
  readonly rule: string;
  /** JSON text; empty where it is longer than is told. */
  readonly properties: string;
  readonly context: string;
}

/** What became of the records that were looked at. */
export interface Counts {
  /** Decisions that the candidate was asked about. */
  replayed: number;
  /** Of these, decided otherwise. */
  changed: number;
  /** Decided without a policy: a token that had ended, a meter that was full. */
  unasked: number;
  /** Not whole in the log: masked, sealed, or too long. */
  partial: number;
  /** Decided by the revision that is active, which now comes to something else: a fault of ours. */
  drifted: number;
  /** Where the candidate failed or ran out of fuel. */
  failed: number;
}

const GROUPS = 1_000;
const EXAMPLES_EACH = 10;
const MAX_TEXT = 2_048;

/** Counts changes by what they have in common, and keeps a few of each; bounded, however many there are. */
export class Tally {
  readonly counts: Counts = { replayed: 0, changed: 0, unasked: 0, partial: 0, drifted: 0, failed: 0 };
  readonly groups = new Map<string, Group>();
  readonly examples: Example[] = [];

  change(record: AuditRecord, input: ReplayedInput, change: Change): void {
    this.counts.changed += 1;
    const name = change.what === 'outcome' ? `${change.from} → ${change.to}` : change.what;
    const acting = record.actors[0] ?? record.subject;
    this.#count(name, 'action', record.action);
    this.#count(name, 'resource_type', record.resource.type);
    this.#count(name, 'principal_class', acting?.class ?? '');
    this.#count(name, 'rule', change.rule);
    this.#count(name, 'package', change.rule.split('.', 1)[0] ?? '');
    if (this.examples.filter((each) => each.change === name).length >= EXAMPLES_EACH) return;
    this.examples.push({
      change: name,
      index: record.index,
      decisionId: record.decisionId,
      subject: record.subject ? `${record.subject.class}:${record.subject.id}` : '',
      actors: record.actors.map(({ class: cls, id }) => `${cls}:${id}`),
      action: record.action,
      resource: `${record.resource.type}:${record.resource.id}`,
      rule: change.rule,
      properties: textOf(input.resource?.properties),
      context: textOf(input.context),
    });
  }

  add(counts: Counts, groups: readonly Group[], examples: readonly Example[]): void {
    for (const [name, count] of Object.entries(counts)) this.counts[name as keyof Counts] += count;
    for (const { change, by, name, count } of groups) this.#count(change, by, name, count);
    for (const example of examples)
      if (this.examples.filter(({ change }) => change === example.change).length < EXAMPLES_EACH)
        this.examples.push(example);
  }

  #count(change: string, by: Group['by'], name: string, count = 1): void {
    const key = `${change}\n${by}\n${name}`;
    const group = this.groups.get(key);
    if (group) group.count += count;
    else if (this.groups.size < GROUPS) this.groups.set(key, { change, by, name, count });
  }
}

/** What of an input an example tells. */
export interface ReplayedInput {
  readonly resource?: { readonly properties?: unknown };
  readonly context?: unknown;
}

function textOf(value: unknown): string {
  const text = JSON.stringify(value ?? {});
  return text.length > MAX_TEXT || text === '{}' ? '' : text;
}
