import type { UncheckedRequest } from '../../decision/request.ts';
import { Generations } from '../../generations.ts';
import type { TenantId } from '../../ids.ts';
import type { KnownTenant, TicketParts } from './credentials.ts';
import type { Vouch, WantedToken } from './protocol.ts';

interface Asked {
  /** By which main's answer is known. */
  readonly asked: number;
  readonly at: number;
  readonly ends: number;
}

interface Entry {
  readonly known: KnownTenant | undefined;
  readonly until: number;
  readonly ends: number;
}

/** How many characters of tokens are remembered, and of one: what is longer is main's each time. */
const MOST_CHARACTERS = 16 * 1024 * 1024;
const LONGEST = 4_096;

/** About how many tokens main may be asked at once, and how long it has for its answer before it is asked again. */
const MOST_ASKED = 4_096;
const ANSWER_MS = 1_000;

/** The tokens that main vouches for, each in its tenant. */
export class Vouched {
  readonly #parts: TicketParts;
  readonly #entries = new Generations<string, Entry>(MOST_CHARACTERS);
  readonly #asked = new Map<string, Asked>();
  #last = 0;

  constructor(parts: TicketParts) {
    this.#parts = parts;
  }

  has(tenant: TenantId, { token, proof }: UncheckedRequest): boolean {
    if (token === undefined || proof !== undefined) return false;
    const entry = this.#entries.get(keyOf(tenant, token));
    if (!entry) return false;
    const { tenants, ends, now } = this.#parts;
    return entry.known === tenants.get(tenant) && entry.ends === ends() && now() < entry.until;
  }

  /** What main is to be asked of a token that it has not vouched for; undefined while it is being asked. */
  wanted(tenant: TenantId, { token, proof }: UncheckedRequest): WantedToken | undefined {
    if (token === undefined || proof !== undefined || token.length > LONGEST) return undefined;
    const { ends, now } = this.#parts;
    const key = keyOf(tenant, token);
    const before = this.#asked.get(key);
    if (before && now() - before.at < ANSWER_MS) return undefined;
    if (this.#asked.size >= MOST_ASKED) this.#asked.clear();
    this.#last += 1;
    this.#asked.set(key, { asked: this.#last, at: now(), ends: ends() });
    return { tenant, token, asked: this.#last };
  }

  /** What main has said. It holds from when it was asked. */
  settle({ tenant, token, asked, isVouched, forMs }: Vouch): void {
    const key = keyOf(tenant, token);
    const question = this.#asked.get(key);
    if (question?.asked !== asked) return;
    this.#asked.delete(key);
    if (!isVouched) return;
    const { at, ends } = question;
    const known = this.#parts.tenants.get(tenant);
    this.#entries.set(key, { known, until: at + forMs, ends }, key.length);
  }
}

const keyOf = (tenant: TenantId, token: string): string => `${tenant} ${token}`;
