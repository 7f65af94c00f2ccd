import type { AuditRecord } from '../read.ts';

/** What the records of a time say together. */
export interface Report {
  readonly tenant: string;
  /** Milliseconds since the epoch: of the oldest and the newest record that was looked at. */
  readonly from: number;
  readonly to: number;
  readonly records: number;
  readonly outcomes: readonly Count[];
  /** Of decisions, by day (UTC). */
  readonly days: readonly { readonly day: string; readonly allowed: number; readonly denied: number }[];
  /** By the code of the first reason. */
  readonly denials: readonly Count[];
  readonly callers: readonly Use[];
  readonly agents: readonly Use[];
  readonly grants: readonly Grant[];
  /** Who acted before, and not within the last days of the time. */
  readonly dormant: readonly { readonly principal: string; readonly last: number }[];
  /** Actions that were asked for by nobody within the last days of the time, and before that they were. */
  readonly unused: readonly { readonly principal: string; readonly action: string; readonly last: number }[];
}

export interface Count {
  readonly name: string;
  readonly count: number;
}

export interface Use {
  readonly name: string;
  readonly allowed: number;
  readonly denied: number;
  readonly last: number;
}

export interface Grant extends Use {
  readonly actor: string;
  readonly subject: string;
  /** When it was made; undefined where that was before the time. */
  readonly made: number | undefined;
}

const DAY_MS = 86_400_000;
/** Names that callers make up are counted up to here; what comes after is left out, and said. */
const MOST_NAMES = 100_000;
const MOST_ROWS = 50;

interface Tally {
  allowed: number;
  denied: number;
  last: number;
}

class Tallies {
  readonly #by = new Map<string, Tally>();

  add(name: string, { outcome, time }: AuditRecord): void {
    const tally = this.#by.get(name) ?? { allowed: 0, denied: 0, last: 0 };
    if (this.#by.size >= MOST_NAMES && !this.#by.has(name)) return;
    if (outcome === 'allow') tally.allowed += 1;
    else tally.denied += 1;
    tally.last = Math.max(tally.last, time);
    this.#by.set(name, tally);
  }

  get all(): Use[] {
    return [...this.#by].map(([name, tally]) => ({ name, ...tally }));
  }

  /** Those with the most first. */
  get top(): Use[] {
    return this.all
      .sort((a, b) => b.allowed + b.denied - (a.allowed + a.denied) || a.name.localeCompare(b.name))
      .slice(0, MOST_ROWS);
  }
}

const countsOf = (map: ReadonlyMap<string, number>): Count[] =>
  [...map]
    .map(([name, count]) => ({ name, count }))
    .sort((a, b) => b.count - a.count || a.name.localeCompare(b.name))
    .slice(0, MOST_ROWS);

const add = (map: Map<string, number>, name: string): void => {
  if (map.size < MOST_NAMES || map.has(name)) map.set(name, (map.get(name) ?? 0) + 1);
};

const nameOf = (one: { class: string; id: string } | undefined): string =>
  one ? `${one.class}:${one.id}` : '';

/** Gathers records, in any order; keeps counts and no record. */
export class Reporter {
  readonly #outcomes = new Map<string, number>();
  readonly #denials = new Map<string, number>();
  readonly #days = new Map<string, { allowed: number; denied: number }>();
  readonly #callers = new Tallies();
  readonly #agents = new Tallies();
  readonly #principals = new Tallies();
  readonly #actions = new Tallies();
  readonly #grants = new Map<string, Grant & Tally & { made: number | undefined }>();
  #records = 0;
  #from = Number.POSITIVE_INFINITY;
  #to = 0;

  add(record: AuditRecord): void {
    const { kind, outcome, time, actors, subject, caller, action, reasons } = record;
    this.#records += 1;
    this.#from = Math.min(this.#from, time);
    this.#to = Math.max(this.#to, time);
    add(this.#outcomes, `${kind} ${outcome}`);
    if (kind === 'exchange' && outcome === 'allow') this.#grantOf(record).made = time;
    if (kind !== 'decision') return;
    const day = new Date(time).toISOString().slice(0, 10);
    const ofDay = this.#days.get(day) ?? { allowed: 0, denied: 0 };
    if (outcome === 'allow') ofDay.allowed += 1;
    else ofDay.denied += 1;
    this.#days.set(day, ofDay);
    if (outcome !== 'allow') add(this.#denials, reasons[0]?.code ?? '(none)');
    this.#callers.add(caller, record);
    const who = nameOf(actors[0] ?? subject);
    if (actors[0]) this.#agents.add(who, record);
    if (who !== '') this.#principals.add(who, record);
    if (who !== '') this.#actions.add(`${who}\n${action}`, record);
    if (record.grantId !== '') {
      const grant = this.#grantOf(record);
      if (outcome === 'allow') grant.allowed += 1;
      else grant.denied += 1;
      grant.last = Math.max(grant.last, time);
    }
  }

  #grantOf({ grantId, actors, subject }: AuditRecord): Grant & Tally & { made: number | undefined } {
    const known = this.#grants.get(grantId);
    if (known) return known;
    const grant = {
      name: grantId,
      actor: nameOf(actors[0]),
      subject: nameOf(subject),
      made: undefined,
      allowed: 0,
      denied: 0,
      last: 0,
    };
    if (this.#grants.size < MOST_NAMES) this.#grants.set(grantId, grant);
    return grant;
  }

  /** `dormantDays`: who has not been seen for so long before the newest record. */
  report(tenant: string, dormantDays: number): Report {
    const since = this.#to - dormantDays * DAY_MS;
    const old = <T extends { last: number }>(uses: T[]): T[] =>
      uses
        .filter(({ last }) => last < since)
        .sort((a, b) => a.last - b.last)
        .slice(0, MOST_ROWS);
    return {
      tenant,
      from: this.#records === 0 ? 0 : this.#from,
      to: this.#to,
      records: this.#records,
      outcomes: countsOf(this.#outcomes),
      days: [...this.#days]
        .map(([day, counts]) => ({ day, ...counts }))
        .sort((a, b) => a.day.localeCompare(b.day)),
      denials: countsOf(this.#denials),
      callers: this.#callers.top,
      agents: this.#agents.top,
      grants: [...this.#grants.values()]
        .sort((a, b) => b.allowed + b.denied - (a.allowed + a.denied) || a.name.localeCompare(b.name))
        .slice(0, MOST_ROWS),
      dormant: old(this.#principals.all).map(({ name, last }) => ({ principal: name, last })),
      unused: old(this.#actions.all).map(({ name, last }) => {
        const [principal = '', action = ''] = name.split('\n', 2);
        return { principal, action, last };
      }),
    };
  }
}
