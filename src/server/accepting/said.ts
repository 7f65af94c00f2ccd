import { Generations } from '../../generations.ts';
import type { Tenant } from '../../tenancy/tenants.ts';

/** A tenant as this thread knows it; another object once anything of it changed that what main has said stands on. */
export interface KnownTenant {
  readonly tenant: Tenant;
}

export interface SaidParts {
  readonly tenants: ReadonlyMap<string, KnownTenant>;
  /** See `Pulse.ends`: what was ended since may be what it stands on. */
  readonly ends: () => number;
  /** Milliseconds, monotonic. */
  readonly now: () => number;
}

interface Asked {
  readonly at: number;
  readonly ends: number;
}

interface Entry<Value> extends Asked {
  readonly value: Value;
  readonly known: KnownTenant | undefined;
  readonly until: number;
}

/** How long main has for its answer before it is asked again. */
const ANSWER_MS = 1_000;

/** What main has said about something in a tenant, as long as it holds; of so many things, those that came last. */
export class Said<Value> {
  readonly #most: number;
  readonly #entries: Generations<string, Entry<Value>>;
  readonly #asked = new Map<string, Asked>();

  constructor(most: number) {
    this.#most = most;
    this.#entries = new Generations(most);
  }

  /** Undefined where main has not said, or it does not hold any more. */
  find(tenant: string, key: string, parts: SaidParts): Value | undefined {
    const entry = this.#entries.get(key);
    return entry && holds(entry, tenant, parts) ? entry.value : undefined;
  }

  /** Whether main is to be asked: it has not said, and is not being asked. */
  wants(tenant: string, key: string, parts: SaidParts): boolean {
    const entry = this.#entries.get(key);
    if (entry && holds(entry, tenant, parts)) return false;
    const { ends, now } = parts;
    const asked = this.#asked.get(key);
    if (asked && now() - asked.at < ANSWER_MS) return false;
    if (this.#asked.size >= this.#most) this.#asked.clear();
    this.#asked.set(key, { at: now(), ends: ends() });
    return true;
  }

  /** Main has said. It holds from when it was asked: what came between is not covered by it. */
  settle(tenant: string, key: string, value: Value, forMs: number, { tenants }: SaidParts): void {
    const asked = this.#asked.get(key);
    this.#asked.delete(key);
    if (!asked) return;
    this.#entries.set(key, { ...asked, value, known: tenants.get(tenant), until: asked.at + forMs });
  }
}

function holds(entry: Entry<unknown>, tenant: string, { tenants, ends, now }: SaidParts): boolean {
  return entry.known === tenants.get(tenant) && entry.ends === ends() && now() < entry.until;
}
