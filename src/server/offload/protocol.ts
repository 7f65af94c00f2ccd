import type { MessagePort } from 'node:worker_threads';
import type { ThreadError } from '../../errors.ts';
import type { Bundle } from '../../policy/bundle.ts';
import type { Staged } from '../../policy/policies.ts';
import type { TenantNo } from '../../storage/rows.ts';
import type { Caller } from '../../tenancy/callers.ts';
import type { Tenant } from '../../tenancy/tenants.ts';
import type { PouchBytes } from './pouch.ts';
import type { Told } from './report.ts';

/** What the decision thread and the one that speaks the protocols say to each other. */

/** Where a thread that decides finds the store, and what evaluations may take. */
export interface DecidingOptions {
  /** Its way to the writer. */
  readonly writer: MessagePort;
  /** Where the writer shows that it turns. */
  readonly writerPulse: SharedArrayBuffer;
  /** The folder of the store, to look facts up in. */
  readonly folder: string;
  readonly fuel: number;
  readonly memoryMib: number;
  readonly maxInstances: number;
}

/** What it is started with. */
export interface ThreadOptions extends DecidingOptions {
  /** Where the thread shows that it turns. */
  readonly pulse: SharedArrayBuffer;
  /** Where it counts what it has begun with. */
  readonly progress: SharedArrayBuffer;
}

/** The methods it serves, as the number that goes with each message. */
export const kinds = ['check', 'batch', 'stream'] as const;
export type Kind = (typeof kinds)[number];

/** Kind and tenant in one number: a tenant's is below 2^17. And whether main vouches for the token in it. */
const KIND_SHIFT = 20;
const VOUCHED = 1 << 24;
export const whatOf = (kind: Kind, tenantNo: number, isVouched: boolean): number =>
  (isVouched ? VOUCHED : 0) | (kinds.indexOf(kind) << KIND_SHIFT) | tenantNo;
export const kindOf = (what: number): Kind => kinds[(what & ~VOUCHED) >>> KIND_SHIFT] ?? 'check';
export const isVouchedIn = (what: number): boolean => (what & VOUCHED) !== 0;
export const tenantNoOf = (what: number): number => what & ((1 << KIND_SHIFT) - 1);

export type ToThread =
  /** Requests, protobuf bytes: the slot of who waits, kind and tenant, the number of the caller. */
  | { readonly asks: PouchBytes }
  /** All it is to know of a tenant from now on. It gets no credentials: who asks is settled before. */
  | Learnt
  /** How records name a caller, and which tokens are for it. */
  | Named
  /** The batch that is asked next with this slot is waited for until then, in milliseconds since the epoch. */
  | { readonly slot: number; readonly until: number }
  /** Of the tenant's state: what is asked from now on is decided by all that led to it. */
  | { readonly version: number; readonly of: TenantNo }
  /** The tenant's principals changed. */
  | { readonly changed: Tenant }
  | 'close';

export interface FromThread {
  /** Frames: slot, 0, 0; or for an error slot, 1, its place in `errors`. */
  readonly answers: PouchBytes;
  readonly errors: readonly ThreadError[];
  readonly told: Told;
}

/** A tenant as a thread learns of it. */
export interface Learnt {
  readonly tenant: Tenant;
  readonly bundle: Bundle;
  readonly staged: Staged | undefined;
}

/** A caller, as far as a thread needs to know of it. */
export interface Named {
  readonly caller: string;
  readonly audiences: Caller['audiences'];
  /** Whether it is told where a policy failed. */
  readonly readsPolicy: boolean;
  readonly no: number;
}
