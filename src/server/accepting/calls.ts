import type { Admission } from '../../decision/admission.ts';
import { isMetered } from '../../decision/metering/met.ts';
import { systemClock } from '../../effects.ts';
import { ofThread, ServiceError, type ThreadError } from '../../errors.ts';
import type { TenantId } from '../../ids.ts';
import type { Tenant } from '../../tenancy/tenants.ts';
import { MAX_ITEMS } from '../connect/decision.ts';
import { forItself, named } from '../grpc/check.ts';
import { askedIn, isCounted, outlines } from '../grpc/outlined.ts';
import type { UnaryHandler } from '../grpc/unary.ts';
import type { Deciding } from '../offload/deciding.ts';
import { callerNamed, decided } from '../offload/outlined.ts';
import { isDear } from '../offload/own.ts';
import { buffersOf, Pouch, type PouchBytes, unpack } from '../offload/pouch.ts';
import { type Kind, kinds, type Learnt } from '../offload/protocol.ts';
import type { Peer } from '../peer.ts';
import type { HotMethod } from '../server.ts';
import { type Backlog, MOST_WAITING, weightOf } from './backlog.ts';
import { type Credential, KnownPeer, type KnownTenant, type TicketParts } from './credentials.ts';
import type { AskedWith, FromAccepting, Id, Ticket, Vouch } from './protocol.ts';
import { Vouched } from './vouched.ts';

export interface CallsParts {
  readonly deciding: Deciding;
  readonly admission: Admission;
  readonly post: (message: FromAccepting, transfer?: ArrayBuffer[]) => void;
  readonly backlog: Backlog;
  /** Takes in what main has told before now. */
  readonly catchUp: () => void;
}

interface Waiter {
  readonly resolve: (frame: Uint8Array) => void;
  readonly reject: (error: ServiceError) => void;
}

/**
 * The checks that come over this thread's connections. It decides those whose caller and tenant it knows from main; the
 * others it hands to main, bytes as they are: new callers and tokens, approvals, what is counted, and what takes long.
 */
export class Calls {
  readonly #parts: CallsParts;
  readonly #tenants = new Map<string, KnownTenant>();
  readonly #numbers = new Map<TenantId, number>();
  readonly #peers = new WeakMap<Peer, KnownPeer>();
  readonly #byId = new Map<Id, KnownPeer>();
  readonly #tickets: TicketParts;
  readonly #vouched: Vouched;
  readonly #greetings = new Map<Id, PromiseWithResolvers<void>>();
  readonly #waiters: (Waiter | undefined)[] = [];
  readonly #free: number[] = [];
  readonly #asks = new Pouch();
  #with: AskedWith[] = [];
  #last = 0;
  #scheduled = false;

  constructor(parts: CallsParts) {
    this.#parts = parts;
    this.#tickets = {
      tenants: this.#tenants,
      ends: () => parts.deciding.writer.ends,
      now: () => performance.now(),
    };
    this.#vouched = new Vouched(this.#tickets);
  }

  /** The methods, for the server of this thread. */
  methods(): Record<'Check' | 'CheckBatch' | 'CheckStream', HotMethod> {
    const open =
      (kind: Kind) =>
      (authorization: string | undefined, peer: Peer): UnaryHandler | Promise<UnaryHandler> => {
        const known = this.peerOf(peer);
        const credential = known.credential(authorization);
        const handle: UnaryHandler = (message, until) =>
          this.#answer(kind, known, credential, message, until);
        return credential.greeted === true ? handle : this.#greet(known, credential).then(() => handle);
      };
    const each = open('stream');
    return {
      Check: { kind: 'unary', name: 'mandate.v1.DecisionService/Check', open: open('check') },
      CheckBatch: { kind: 'unary', name: 'mandate.v1.DecisionService/CheckBatch', open: open('batch') },
      CheckStream: {
        kind: 'duplex',
        name: 'mandate.v1.DecisionService/CheckStream',
        open: (authorization, peer) => {
          const answer = each(authorization, peer);
          return answer instanceof Promise ? answer.then(forItself) : forItself(answer);
        },
        refuse: named,
      },
    };
  }

  /** Tells main of a connection when it first hears of it. */
  peerOf(peer: Peer): KnownPeer {
    const known = this.#peers.get(peer);
    if (known) return known;
    this.#last += 1;
    const made = new KnownPeer(this.#last, peer);
    this.#peers.set(peer, made);
    this.#byId.set(made.id, made);
    const { loopback, certified, x5tS256, address, port } = peer;
    const told = { loopback, certified, x5tS256, port, ...(address !== undefined && { address }) };
    this.#parts.post({ peer: made.id, told });
    return made;
  }

  gone(peer: Peer): void {
    const known = this.#peers.get(peer);
    if (!known) return;
    this.#byId.delete(known.id);
    // What it has asked is known to be its own.
    this.flush();
    this.#parts.post({ gone: known.id });
  }

  welcome(id: Id): void {
    this.#byId.get(id)?.peer.welcome?.();
  }

  noOf(tenant: TenantId): number {
    return this.#numbers.get(tenant) ?? 0;
  }

  learn(learnt: Learnt): void {
    const { tenant } = learnt;
    this.#parts.deciding.learn(learnt);
    this.#numbers.set(tenant.id, tenant.no);
    this.#tenants.set(tenant.id, { tenant });
  }

  /** `isRetired`: whoever holds on to it, as a batch that goes on does, is denied. */
  forget(tenant: TenantId, isRetired: boolean): void {
    this.#tenants.delete(tenant);
    if (isRetired) this.#parts.deciding.policies.retire(tenant);
  }

  changed(tenant: Tenant): void {
    this.#parts.deciding.changed(tenant);
    const known = this.#tenants.get(tenant.id);
    // Tickets stand on this object.
    if (known) this.#tenants.set(tenant.id, { tenant: known.tenant });
  }

  #greet(known: KnownPeer, credential: Credential): Promise<void> {
    if (credential.greeted instanceof Promise) return credential.greeted;
    const { backlog } = this.#parts;
    backlog.send(weightOf(credential.authorization ?? ''), MOST_WAITING.anybody, known.peer.address);
    this.#last += 1;
    const id = this.#last;
    const greeting = Promise.withResolvers<void>();
    this.#greetings.set(id, greeting);
    credential.greeted = greeting.promise.then(
      () => void (credential.greeted = true),
      (error: unknown) => {
        credential.greeted = undefined;
        known.forget(credential);
        throw error;
      },
    );
    this.#parts.post({ greet: id, peer: known.id, authorization: credential.authorization });
    return credential.greeted;
  }

  greeted(id: Id, refused: ThreadError | undefined): void {
    const greeting = this.#greetings.get(id);
    this.#greetings.delete(id);
    if (refused) greeting?.reject(ofThread(refused));
    else greeting?.resolve();
  }

  ticket({ tenant, asked, caller, forMs }: Ticket, of: Id, authorization: string | undefined): void {
    const credential = this.#byId.get(of)?.find(authorization);
    credential?.settle(tenant, asked, caller && callerNamed(caller), forMs, this.#tenants.get(tenant));
  }

  vouch(vouch: Vouch): void {
    this.#vouched.settle(vouch);
  }

  #answer(
    kind: Kind,
    peer: KnownPeer,
    credential: Credential,
    message: Uint8Array,
    until: number,
  ): Promise<Uint8Array> {
    this.#parts.catchUp();
    const outline = outlines[kind](message);
    const handOver = (asked: Pick<AskedWith, 'wants' | 'token'> = {}): Promise<Uint8Array> =>
      this.#handOver(kind, message, { peer: peer.id, authorization, until, ...asked });
    const { authorization } = credential;
    // What is unusual is refused where all else is.
    if (!outline || outline.special || outline.items > MAX_ITEMS) return handOver();
    const { tenant: id, token: isVouched } = outline;
    const found = credential.find(id, this.#tickets);
    if (!found) {
      const asked = credential.wants(id, this.#tickets);
      return handOver(asked === undefined ? {} : { wants: { tenant: id, asked } });
    }
    const { tenant } = found;
    if (this.#isDear(kind, tenant, message)) return handOver();
    if (isVouched || isMetered(tenant.manifest)) {
      const asked = askedIn[kind](message);
      if (!asked || isCounted(tenant, asked)) return handOver();
      if (isVouched && !this.#vouched.has(tenant.id, asked.by))
        return handOver({ token: this.#vouched.wanted(tenant.id, asked.by) });
    }
    const { decisions } = this.#parts.deciding;
    const isOver = (): boolean => systemClock() >= until;
    return decided({ decisions, ...found, kind, message, isVouched, isOver });
  }

  /** Whether others on this thread would wait for it. A batch lets them have their turns. */
  #isDear(kind: Kind, tenant: Tenant, message: Uint8Array): boolean {
    const { admission } = this.#parts;
    if (!isDear(admission, tenant.id, kind === 'batch' ? 0 : message.length)) return false;
    admission.left(tenant.id);
    return true;
  }

  #handOver(kind: Kind, message: Uint8Array, asked: AskedWith): Promise<Uint8Array> {
    return new Promise((resolve, reject) => {
      this.#parts.backlog.send(weightOf(message, asked.authorization ?? ''), MOST_WAITING.known);
      const slot = this.#free.pop() ?? this.#waiters.length;
      this.#waiters[slot] = { resolve, reject };
      this.#asks.add(slot, kinds.indexOf(kind), 0, message);
      this.#with.push(asked);
      if (this.#scheduled) return;
      this.#scheduled = true;
      setImmediate(() => {
        this.#scheduled = false;
        this.flush();
      });
    });
  }

  flush(): void {
    if (this.#asks.count === 0) return;
    const asks = this.#asks.take();
    this.#parts.post({ asks, with: this.#with }, buffersOf(asks));
    this.#with = [];
  }

  /** Of calls that main was handed. */
  answers(answers: PouchBytes, errors: readonly ThreadError[]): void {
    unpack(answers, (slot, failed, place, frame) => {
      const waiter = this.#waiters[slot];
      if (!waiter) return;
      this.#waiters[slot] = undefined;
      this.#free.push(slot);
      if (failed === 0) return waiter.resolve(frame);
      const error = errors[place];
      waiter.reject(error ? ofThread(error) : new ServiceError('internal', 'the decision was not finished'));
    });
  }
}
