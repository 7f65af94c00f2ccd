import { isTenantId } from '../../ids.ts';
import type { Caller } from '../../tenancy/callers.ts';
import type { Tenant } from '../../tenancy/tenants.ts';
import type { Peer } from '../peer.ts';
import type { Id } from './protocol.ts';

/** A tenant as this thread knows it; another object once anything of it changed that a ticket stands on. */
export interface KnownTenant {
  readonly tenant: Tenant;
}

/** What main has said of somebody and a tenant. */
interface Entry {
  /** Undefined where main is to be asked all the same. */
  readonly caller: Caller | undefined;
  readonly known: KnownTenant | undefined;
  readonly until: number;
  /** See `Pulse.ends`: what was ended since may be what it stands on. */
  readonly ends: number;
}

/** Who may ask for checks of a tenant here. */
export interface Found {
  readonly caller: Caller;
  readonly tenant: Tenant;
}

interface Asked {
  /** Tells its answer from that to an earlier question. */
  readonly ask: number;
  readonly at: number;
  readonly ends: number;
}

export interface TicketParts {
  readonly tenants: ReadonlyMap<string, KnownTenant>;
  readonly ends: () => number;
  /** Milliseconds, monotonic. */
  readonly now: () => number;
}

/** How long main has for its answer before it is asked again. */
const ANSWER_MS = 1_000;

/** Of how many tenants one credential on one connection is remembered. */
const MOST_TENANTS = 8_192;

/** One credential on one connection: whether its bearer is known at all, and in which tenants it may ask for checks. */
export class Credential {
  readonly authorization: string | undefined;
  /** True, or while main is asked how that ends. */
  greeted: true | Promise<void> | undefined;
  readonly #entries = new Map<string, Entry>();
  readonly #asked = new Map<string, Asked>();
  #asks = 0;

  constructor(authorization: string | undefined) {
    this.authorization = authorization;
  }

  /** Undefined where main is to be asked. */
  find(tenant: string, { tenants, ends, now }: TicketParts): Found | undefined {
    const entry = this.#entries.get(tenant);
    if (!entry?.caller || !entry.known) return undefined;
    if (entry.known !== tenants.get(tenant) || entry.ends !== ends() || now() >= entry.until)
      return undefined;
    return { caller: entry.caller, tenant: entry.known.tenant };
  }

  /**
   * The number of a question, where main is to say who that is in the tenant: it has not yet, or not for long enough, and
   * is not being asked.
   */
  wants(tenant: string, { tenants, ends, now }: TicketParts): number | undefined {
    const entry = this.#entries.get(tenant);
    if (entry && entry.known === tenants.get(tenant) && entry.ends === ends() && now() < entry.until)
      return undefined;
    // Whoever asks says what is remembered.
    if (!isTenantId(tenant)) return undefined;
    const asked = this.#asked.get(tenant);
    if (asked && now() - asked.at < ANSWER_MS) return undefined;
    if (this.#asked.size >= MOST_TENANTS) this.#asked.clear();
    this.#asks += 1;
    this.#asked.set(tenant, { ask: this.#asks, at: now(), ends: ends() });
    return this.#asks;
  }

  /**
   * What main has said. It holds from when it was asked: what came between is not covered by it. An answer that came too
   * late, and so was asked for anew, is none to the newer question.
   */
  settle(
    tenant: string,
    ask: number,
    { caller, forMs, known }: Pick<Entry, 'caller' | 'known'> & { readonly forMs: number },
  ): void {
    const asked = this.#asked.get(tenant);
    if (asked?.ask !== ask) return;
    this.#asked.delete(tenant);
    if (this.#entries.size >= MOST_TENANTS) this.#entries.clear();
    this.#entries.set(tenant, { caller, known, until: asked.at + forMs, ends: asked.ends });
  }
}

/** How many credentials of one connection are remembered: a proxy may bring those of many. */
const MOST_CREDENTIALS = 256;

/** A connection, and who has asked on it. */
export class KnownPeer {
  readonly id: Id;
  readonly peer: Peer;
  readonly #credentials = new Map<string | undefined, Credential>();
  #latest: Credential | undefined;

  constructor(id: Id, peer: Peer) {
    this.id = id;
    this.peer = peer;
  }

  credential(authorization: string | undefined): Credential {
    if (this.#latest && this.#latest.authorization === authorization) return this.#latest;
    let known = this.#credentials.get(authorization);
    if (!known) {
      if (this.#credentials.size >= MOST_CREDENTIALS) this.#credentials.clear();
      known = new Credential(authorization);
      this.#credentials.set(authorization, known);
    }
    this.#latest = known;
    return known;
  }

  /** Of somebody whom nobody knows nothing is kept: there may be thousands of such connections. */
  forget({ authorization }: Credential): void {
    this.#credentials.delete(authorization);
    if (this.#latest?.authorization === authorization) this.#latest = undefined;
  }

  /** One that is remembered yet. */
  find(authorization: string | undefined): Credential | undefined {
    return this.#credentials.get(authorization);
  }
}
