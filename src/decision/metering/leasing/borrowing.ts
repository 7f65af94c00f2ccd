import { setTimeout as pause } from 'node:timers/promises';
import type { Clock } from '../../../effects.ts';
import type { TenantId } from '../../../ids.ts';
import type { Returned } from '../../../storage/leases.ts';
import type { Meter } from '../../../tenancy/meters-declared.ts';
import type { Tenant } from '../../../tenancy/tenants.ts';
import { Held } from './held.ts';
import { type Asked, type Lease, MOST_RETURNED, MOST_WANTED, publishLeases } from './leases.ts';

/** An authority that leases. */
export interface Lessor {
  /** One for each that is wanted, in the order, each good for so many milliseconds from when it was asked for. */
  lease(
    tenant: TenantId,
    asked: Asked,
  ): Promise<{ readonly leases: readonly (Lease | undefined)[]; readonly ms: number }>;
}

/** How many counters there are parts of at once; for others an authority is asked each time. */
const MOST_HELD = 10_000;
/** When more is asked for where too little was left, and where nobody answered. In milliseconds. */
const NONE_LEFT_MS = 2_000;
const FAILED_MS = 1_000;
/** How many leases are kept to be given back while nobody answers. The others were used. */
const MOST_KEPT = 4_096;
/** How often what is over is looked for. */
const SWEEP_MS = 1_000;
/** How long closing waits for what is given back. */
const CLOSE_MS = 1_000;

/** What is asked of an authority for one tenant. */
interface Account {
  readonly id: TenantId;
  /** By their keys. */
  readonly held: Map<string, Held>;
  /** How much is of use of each. */
  readonly wanted: Map<Held, number>;
  returned: Returned[];
  asking: Promise<void> | undefined;
}

/** Parts of an authority's counters: asked for before they are needed, given back as soon as they are not. */
export class Borrowing implements AsyncDisposable {
  readonly #lessor: Lessor;
  readonly #monotonic: Clock;
  readonly #accounts = new Map<TenantId, Account>();
  readonly #sweeping = setInterval(() => this.sweep(), SWEEP_MS).unref();
  #count = 0;
  #isClosed = false;

  constructor({ lessor, monotonic }: { readonly lessor: Lessor; readonly monotonic: Clock }) {
    this.#lessor = lessor;
    this.#monotonic = monotonic;
  }

  /** Undefined where there are too many others. */
  held({ id }: Tenant, name: string, of: string, meter: Meter): Held | undefined {
    const account = this.#accountOf(id);
    const key = `${name} ${of}`;
    const known = account.held.get(key);
    if (known?.isAs(meter)) return known;
    if (known) this.#leave(account, key, known);
    if (this.#count >= MOST_HELD) return undefined;
    const held = new Held(name, of, meter);
    account.held.set(key, held);
    this.#count += 1;
    return held;
  }

  /** `least`: less would be of no use. In millionths. */
  want({ id }: Tenant, held: Held, least: number): void {
    const account = this.#accountOf(id);
    held.isAsked = true;
    account.wanted.set(held, least);
    // What is asked for in one turn goes together.
    setImmediate(() => this.#ask(account));
  }

  #accountOf(id: TenantId): Account {
    const known = this.#accounts.get(id);
    if (known) return known;
    const made = { id, held: new Map(), wanted: new Map(), returned: [], asking: undefined };
    this.#accounts.set(id, made);
    return made;
  }

  /** What is left of it goes back. */
  #leave(account: Account, key: string, held: Held): void {
    account.held.delete(key);
    this.#count -= 1;
    held.giveUp();
    this.#collect(account, held);
  }

  #collect(account: Account, held: Held): void {
    for (const { id, left } of held.over(this.#monotonic()))
      account.returned.push({ lease: id, unused: left });
  }

  /** Gives back what is over, and forgets what nobody has met for a while. */
  sweep(): void {
    const now = this.#monotonic();
    for (const account of this.#accounts.values()) {
      for (const [key, held] of account.held) {
        this.#collect(account, held);
        if (held.isForgotten(now)) this.#leave(account, key, held);
      }
      if (account.returned.length > 0) this.#ask(account);
    }
  }

  #ask(account: Account): void {
    if (account.asking || (account.wanted.size === 0 && account.returned.length === 0)) return;
    account.asking = this.#asked(account).then((isAnswered) => {
      account.asking = undefined;
      if (isAnswered && !this.#isClosed) this.#ask(account);
    });
  }

  /** Whether somebody answered. */
  async #asked(account: Account): Promise<boolean> {
    const all = [...account.wanted].slice(0, MOST_WANTED);
    for (const [held] of all) account.wanted.delete(held);
    const returned = account.returned.splice(0, MOST_RETURNED);
    const wanted = all.map(([{ name, of }, least]) => ({ meter: name, of, least }));
    const askedAt = this.#monotonic();
    try {
      const { leases, ms } = await this.#lessor.lease(account.id, { wanted, returned });
      for (const [at, [held]] of all.entries()) {
        const lease = leases[at];
        if (lease) held.add(lease, askedAt + ms);
        else held.notBefore = this.#monotonic() + NONE_LEFT_MS;
      }
      publishLeases(account.id, 'taken', leases.filter((lease) => lease !== undefined).length);
      return true;
    } catch {
      for (const [held] of all) held.notBefore = this.#monotonic() + FAILED_MS;
      // It may have been taken back all the same. An authority does so once, and not for long.
      account.returned = [...account.returned, ...returned].slice(0, MOST_KEPT);
      return false;
    } finally {
      for (const [held] of all) {
        held.isAsked = false;
        // It may have been left meanwhile.
        if (account.held.get(`${held.name} ${held.of}`) !== held) {
          held.giveUp();
          this.#collect(account, held);
        }
      }
    }
  }

  /** Gives back all that is left, for as long as it may take. */
  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#sweeping);
    this.#isClosed = true;
    const given = [...this.#accounts.values()].map(async (account) => {
      await account.asking;
      for (const [key, held] of account.held) this.#leave(account, key, held);
      account.wanted.clear();
      for (let isAnswered = true; isAnswered && account.returned.length > 0; )
        isAnswered = await this.#asked(account);
    });
    await Promise.race([Promise.all(given), pause(CLOSE_MS, undefined, { ref: false })]);
  }
}
