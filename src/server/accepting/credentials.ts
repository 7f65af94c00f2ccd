import type { Caller } from '../../tenancy/callers.ts';
import type { Peer } from '../peer.ts';
import type { Id } from './protocol.ts';
import { Said } from './said.ts';

/** Of how many tenants one credential on one connection is remembered. */
const MOST_TENANTS = 8_192;

/** One credential on one connection: whether its bearer is known at all, and in which tenants it may ask for checks. */
export class Credential {
  readonly authorization: string | undefined;
  /** True, or while main is asked how that ends. */
  greeted: true | Promise<void> | undefined;
  /** By tenant; a caller of `nobody` is one that main is to be asked about all the same. */
  readonly callers = new Said<Caller | 'nobody'>(MOST_TENANTS);

  constructor(authorization: string | undefined) {
    this.authorization = authorization;
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

  /** One that is remembered yet. */
  find(authorization: string | undefined): Credential | undefined {
    return this.#credentials.get(authorization);
  }
}
