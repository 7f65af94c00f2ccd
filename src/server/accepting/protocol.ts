import type { SecureContextOptions } from 'node:tls';
import type { MessagePort } from 'node:worker_threads';
import type { SharedLedger } from '../../decision/ledger.ts';
import type { ThreadError } from '../../errors.ts';
import type { TenantId } from '../../ids.ts';
import type { TenantNo } from '../../storage/rows.ts';
import type { Tenant } from '../../tenancy/tenants.ts';
import type { SharedTally } from '../intake/tally.ts';
import type { Endpoint } from '../listener.ts';
import type { PouchBytes } from '../offload/pouch.ts';
import type { DecidingOptions, Learnt, Named } from '../offload/protocol.ts';
import type { PolicyFailure, Told } from '../offload/report.ts';
import type { Peer } from '../peer.ts';
import type { Exchange } from '../transport/exchange.ts';

/** What a thread that accepts connections and main say to each other. */

/** Counts that all threads which accept, and main, hold within the same bounds. */
export interface SharedBounds {
  readonly ledger: SharedLedger;
  readonly connections: SharedTally;
  readonly held: SharedTally;
  readonly uploads: SharedTally;
  readonly anteroom: SharedTally;
}

/** What it is started with. */
export interface AcceptingOptions extends DecidingOptions {
  /** Its way to main. */
  readonly main: MessagePort;
  /** Where the thread shows that it turns. */
  readonly pulse: SharedArrayBuffer;
  /** Where main counts what it has told: see `Signal`. */
  readonly signal: SharedArrayBuffer;
  /** Where main counts what it has taken up: see `Backlog`. */
  readonly backlog: SharedArrayBuffer;
  readonly bounds: SharedBounds;
  readonly maxOpen: number;
  readonly connections: { readonly total: number; readonly each: number };
  /** See `Plane`. */
  readonly guardHost: boolean;
  readonly passesOn: boolean;
}

/** Names a peer, a call or an exchange to the other end, by numbers that the thread gives. */
export type Id = number;

/** A connection, as far as main needs to know of it. */
export type PeerTold = Pick<Peer, 'loopback' | 'certified' | 'x5tS256' | 'address' | 'port'>;

/** For how long somebody may ask for checks of a tenant without main being asked. */
export interface Ticket {
  readonly tenant: TenantId;
  /** The question that it answers: see `Credential.wants`. */
  readonly asked: number;
  /** Undefined where main is to be asked all the same. */
  readonly caller: Named | undefined;
  readonly forMs: number;
}

/** Where it is to listen, and what the outside calls the data plane. */
export interface ListenAt {
  readonly listen: Endpoint;
  readonly base: string;
}

/** Whether a token may be taken for one of a grant that lives, by which main has looked; what ends is seen where it is asked. */
export interface Vouch extends WantedToken {
  readonly isVouched: boolean;
  readonly forMs: number;
}

export type ToAccepting =
  | ListenAt
  | { readonly certificates: SecureContextOptions }
  /** All it is to know of a tenant from now on. It gets no credentials. */
  | Learnt
  /** What it knows of the tenant holds no more, nor do tickets for it. */
  | { readonly forget: TenantId; readonly isRetired: boolean }
  /** The tenant's principals changed, or what of it is killed; so tickets for it hold no more. */
  | { readonly changed: Tenant }
  | { readonly version: number; readonly of: TenantNo }
  /** One that another thread met. */
  | { readonly failure: PolicyFailure }
  /** Whoever asked with that credential may be greeted, or may not. */
  | { readonly greeted: Id; readonly refused: ThreadError | undefined }
  | { readonly vouch: Vouch }
  | { readonly ticket: Ticket; readonly of: Id; readonly authorization: string | undefined }
  /** Frames for calls that were handed over: call, 0, 0; or for an error call, 1, its place in `errors`. */
  | { readonly answers: PouchBytes; readonly errors: readonly ThreadError[] }
  | { readonly exchange: Id; readonly does: Done }
  /** Somebody on the connection is known. */
  | { readonly welcome: Id }
  /** Others have time for some of its connections. */
  | { readonly shed: true }
  | { readonly drain: number };

/** What main does with an exchange: what `Exchange` has, in its order. */
export type Done =
  | { readonly what: 'next' }
  | { readonly what: 'respond'; readonly status: number; readonly headers: [string, string][] }
  | { readonly what: 'write'; readonly bytes: Uint8Array }
  | { readonly what: 'end'; readonly trailers: [string, string][] | undefined }
  | {
      readonly what: 'answer';
      readonly status: number;
      readonly headers: [string, string][];
      readonly content: string | Uint8Array;
    }
  | { readonly what: 'destroy' };

export type FromAccepting =
  | 'ready'
  | { readonly listening: number }
  | { readonly failed: ThreadError }
  | { readonly peer: Id; readonly told: PeerTold }
  | { readonly gone: Id }
  | { readonly greet: Id; readonly peer: Id; readonly authorization: string | undefined }
  | HandedOver
  | { readonly exchange: Id; readonly peer: Id; readonly asked: ExchangeHead }
  | { readonly exchange: Id; readonly heard: Heard }
  | { readonly told: Told; readonly errors: readonly ErrorTold[]; readonly doubted: boolean }
  | { readonly ended: { readonly code: string; readonly reason: string; readonly address: string } };

/** Calls, protobuf bytes: call, kind, 0; and what else each comes with. */
export interface HandedOver {
  readonly asks: PouchBytes;
  readonly with: readonly AskedWith[];
}

/** A token that main is to say about whether it vouches for it, and by which question. */
export interface WantedToken {
  readonly tenant: TenantId;
  readonly token: string;
  readonly asked: number;
}

export interface AskedWith {
  /** Not among the pouch's numbers, which have 32 bits: a connection is never taken for another one. */
  readonly peer: Id;
  readonly authorization: string | undefined;
  readonly until: number;
  /** Whether a ticket is wanted, for which tenant, and by which question. */
  readonly wants?: { readonly tenant: string; readonly asked: number } | undefined;
  readonly token?: WantedToken | undefined;
}

export type ExchangeHead = Pick<Exchange, 'version' | 'method' | 'url' | 'scheme' | 'authority' | 'headers'>;

/** What happens to an exchange at its client's end. */
export type Heard =
  /** The next part of the body, which was asked for; undefined at its end. */
  | { readonly what: 'part'; readonly bytes: Uint8Array | undefined }
  /** There is room for more, after a `write`. */
  | { readonly what: 'room' }
  /** The caller is gone: what was asked for or written did not come about. */
  | { readonly what: 'lost' }
  | { readonly what: 'closed' };

/** Errors that callers were told of there. */
export interface ErrorTold {
  readonly error: ThreadError;
  readonly where: string;
}

/**
 * That main has told something that a decision has to know: a number that is looked at before each. What was posted
 * before it changed can be received then.
 */
export class Signal {
  readonly shared: SharedArrayBuffer;
  readonly #count: Int32Array;

  constructor(shared = new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT)) {
    this.shared = shared;
    this.#count = new Int32Array(shared);
  }

  get count(): number {
    return Atomics.load(this.#count, 0);
  }

  raise(): void {
    Atomics.add(this.#count, 0, 1);
  }
}
