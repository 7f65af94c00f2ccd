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
  /** By which main's answer is known: one to an earlier question knows nothing of what came since. */
  readonly no: number;
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

/** How many tenants are remembered for the credentials of one connection. */
const MOST_TENANTS = 8_192;

/** What the credentials of one connection share. */
class Room {
  #questions = 0;
  #tenants = 0;
  readonly #full: () => void;

  constructor(full: () => void) {
    this.#full = full;
  }

  question(): number {
    this.#questions += 1;
    return this.#questions;
  }

  /** For one more tenant. */
  need(): void {
    if (this.#tenants >= MOST_TENANTS) this.#full();
    this.#tenants += 1;
  }

  giveBack(count: number): void {
    this.#tenants -= count;
  }
}

/** One credential on one connection: whether its bearer is known at all, and in which tenants it may ask for checks. */
export class Credential {
  readonly authorization: string | undefined;
  /** True, or while main is asked how that ends. */
  greeted: true | Promise<void> | undefined;
  readonly #room: Room;
  readonly #entries = new Map<string, Entry>();
  readonly #asked = new Map<string, Asked>();
  #isForgotten = false;

  constructor(authorization: string | undefined, room: Room) {
    this.authorization = authorization;
    this.#room = room;
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
   * Whether main is to say who that is in the tenant: it has not yet, or not for long enough, and is not being asked. The
   * number is that of the question, undefined where there is none.
   */
  wants(tenant: string, { tenants, ends, now }: TicketParts): number | undefined {
    const entry = this.#entries.get(tenant);
    if (entry && entry.known === tenants.get(tenant) && entry.ends === ends() && now() < entry.until)
      return undefined;
    const asked = this.#asked.get(tenant);
    if (asked && now() - asked.at < ANSWER_MS) return undefined;
    // A name is the caller's, and may be as long as a message.
    if (this.#isForgotten || !isTenantId(tenant)) return undefined;
    if (!asked) this.#room.need();
    const no = this.#room.question();
    this.#asked.set(tenant, { no, at: now(), ends: ends() });
    return no;
  }

  /** What main has said. It holds from when it was asked: what came between is not covered by it. */
  settle(
    tenant: string,
    no: number | undefined,
    caller: Caller | undefined,
    forMs: number,
    known: KnownTenant | undefined,
  ): void {
    const asked = this.#asked.get(tenant);
    if (!asked || asked.no !== no) return;
    this.#asked.delete(tenant);
    // The place of the question is the answer's now.
    if (this.#entries.has(tenant)) this.#room.giveBack(1);
    this.#entries.set(tenant, { caller, known, until: asked.at + forMs, ends: asked.ends });
  }

  clear(): void {
    this.#room.giveBack(this.#entries.size + this.#asked.size);
    this.#entries.clear();
    this.#asked.clear();
  }

  /** It is found no more by its connection, whatever is still open with it. */
  forget(): void {
    this.clear();
    this.#isForgotten = true;
  }
}

/** How many credentials of one connection are remembered, and characters of them: a proxy may bring those of many. */
const MOST_CREDENTIALS = 256;
const MOST_CHARACTERS = 64 * 1_024;

/** A connection, and who has asked on it. */
export class KnownPeer {
  readonly id: Id;
  readonly peer: Peer;
  readonly #credentials = new Map<string | undefined, Credential>();
  readonly #room = new Room(() => {
    for (const credential of this.#credentials.values()) credential.clear();
  });
  #latest: Credential | undefined;
  #characters = 0;

  constructor(id: Id, peer: Peer) {
    this.id = id;
    this.peer = peer;
  }

  credential(authorization: string | undefined): Credential {
    if (this.#latest && this.#latest.authorization === authorization) return this.#latest;
    this.#latest = this.#credentials.get(authorization) ?? this.#made(authorization);
    return this.#latest;
  }

  #made(authorization: string | undefined): Credential {
    const { length } = authorization ?? '';
    if (this.#credentials.size >= MOST_CREDENTIALS || this.#characters + length > MOST_CHARACTERS)
      for (const credential of this.#credentials.values()) this.forget(credential);
    const made = new Credential(authorization, this.#room);
    this.#credentials.set(authorization, made);
    this.#characters += length;
    return made;
  }

  /** One that is remembered yet. */
  find(authorization: string | undefined): Credential | undefined {
    return this.#credentials.get(authorization);
  }

  /** Also of who was refused: a stranger has any number of credentials. */
  forget(credential: Credential): void {
    const { authorization } = credential;
    if (this.#credentials.get(authorization) !== credential) return;
    credential.forget();
    this.#credentials.delete(authorization);
    this.#characters -= authorization?.length ?? 0;
    if (this.#latest === credential) this.#latest = undefined;
  }
}
