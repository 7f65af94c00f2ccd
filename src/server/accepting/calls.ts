import type { Admission } from '../../decision/admission.ts';
import { isMetered } from '../../decision/metering/met.ts';
import type { UncheckedRequest } from '../../decision/request.ts';
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
import { type Credential, KnownPeer } from './credentials.ts';
import type { AskedWith, FromAccepting, Id, Ticket, Vouch } from './protocol.ts';
import { type KnownTenant, Said, type SaidParts } from './said.ts';

export interface CallsParts {
  readonly deciding: Deciding;
  readonly admission: Admission;
  readonly post: (message: FromAccepting, transfer?: ArrayBuffer[]) => void;
  /** Takes in what main has told before now. */
  readonly catchUp: () => void;
}

interface Waiter {
  readonly resolve: (frame: Uint8Array) => void;
  readonly reject: (error: ServiceError) => void;
}

/**
 * The checks that come over this thread's connections. It decides those whose caller and tenant it knows from main; the
 * others it hands to main, bytes as they are: new callers, tokens, approvals, what is counted, and what takes long.
 */
export class Calls {
  readonly #parts: CallsParts;
  readonly #tenants = new Map<string, KnownTenant>();
  readonly #numbers = new Map<TenantId, number>();
  readonly #peers = new WeakMap<Peer, KnownPeer>();
  readonly #byId = new Map<Id, KnownPeer>();
  readonly #parted: SaidParts;
  /** By tenant and token: whether main vouches for it. */
  readonly #vouched = new Said<boolean>(MOST_TOKENS);
  readonly #greetings = new Map<Id, PromiseWithResolvers<void>>();
  readonly #waiters: (Waiter | undefined)[] = [];
  readonly #free: number[] = [];
  readonly #asks = new Pouch();
  #with: AskedWith[] = [];
  #last = 0;
  #scheduled = false;

  constructor(parts: CallsParts) {
    this.#parts = parts;
    this.#parted = {
      tenants: this.#tenants,
      ends: () => parts.deciding.writer.ends,
      now: () => performance.now(),
    };
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

  forget(tenant: TenantId): void {
    this.#tenants.delete(tenant);
  }

  changed(tenant: Tenant): void {
    this.#parts.deciding.changed(tenant);
    const known = this.#tenants.get(tenant.id);
    // Tickets stand on this object.
    if (known) this.#tenants.set(tenant.id, { tenant: known.tenant });
  }

  #greet(known: KnownPeer, credential: Credential): Promise<void> {
    if (credential.greeted instanceof Promise) return credential.greeted;
    this.#last += 1;
    const id = this.#last;
    const greeting = Promise.withResolvers<void>();
    this.#greetings.set(id, greeting);
    credential.greeted = greeting.promise.then(
      () => void (credential.greeted = true),
      (error: unknown) => {
        credential.greeted = undefined;
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

  ticket({ tenant, caller, forMs }: Ticket, of: Id, authorization: string | undefined): void {
    const credential = this.#byId.get(of)?.find(authorization);
    const known = caller ? callerNamed(caller) : 'nobody';
    credential?.callers.settle(tenant, tenant, known, forMs, this.#parted);
  }

  vouch({ tenant, token, isVouched, forMs }: Vouch): void {
    this.#vouched.settle(tenant, keyOf(tenant, token), isVouched, forMs, this.#parted);
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
    const handOver = (wants?: string, token?: string): Promise<Uint8Array> =>
      this.#handOver(kind, peer, message, { authorization: credential.authorization, until, wants, token });
    // What is unusual is refused where all else is.
    if (!outline || outline.special || outline.items > MAX_ITEMS) return handOver();
    const { tenant: id, token: isVouched } = outline;
    const caller = credential.callers.find(id, id, this.#parted);
    const tenant = this.#tenants.get(id)?.tenant;
    if (!caller || !tenant) return handOver(credential.callers.wants(id, id, this.#parted) ? id : undefined);
    if (caller === 'nobody' || this.#isDear(kind, tenant, message)) return handOver();
    if (isVouched || isMetered(tenant.manifest)) {
      const asked = askedIn[kind](message);
      if (!asked || isCounted(tenant, asked)) return handOver();
      if (isVouched && !this.#isGood(tenant.id, asked.by))
        return handOver(undefined, this.#wanted(tenant.id, asked.by));
    }
    const { decisions } = this.#parts.deciding;
    const isOver = (): boolean => systemClock() >= until;
    return decided({ decisions, tenant, caller, kind, message, isVouched, isOver });
  }

  /** Whether others who are served by this thread would wait for it. A batch lets them have their turns. */
  #isDear(kind: Kind, tenant: Tenant, message: Uint8Array): boolean {
    return isDear(this.#parts.admission, tenant.id, kind === 'batch' ? 0 : message.length);
  }

  /** Whether main vouches for the token that it comes with. */
  #isGood(tenant: TenantId, { token, proof }: UncheckedRequest): boolean {
    if (token === undefined || proof !== undefined) return false;
    return this.#vouched.find(tenant, keyOf(tenant, token), this.#parted) === true;
  }

  /** The token that main is to say so about. */
  #wanted(tenant: TenantId, { token, proof }: UncheckedRequest): string | undefined {
    if (token === undefined || proof !== undefined || token.length > LONGEST_TOKEN) return undefined;
    return this.#vouched.wants(tenant, keyOf(tenant, token), this.#parted) ? token : undefined;
  }

  #handOver(kind: Kind, peer: KnownPeer, message: Uint8Array, asked: AskedWith): Promise<Uint8Array> {
    return new Promise((resolve, reject) => {
      const slot = this.#free.pop() ?? this.#waiters.length;
      this.#waiters[slot] = { resolve, reject };
      this.#asks.add(slot, kinds.indexOf(kind), peer.id, message);
      this.#with.push(asked);
      if (this.#scheduled) return;
      this.#scheduled = true;
      setImmediate(() => this.flush());
    });
  }

  flush(): void {
    this.#scheduled = false;
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

const keyOf = (tenant: string, token: string): string => `${tenant} ${token}`;

/** How many tokens are remembered, and of what length: some tens of megabytes at the very most. */
const MOST_TOKENS = 16_384;
const LONGEST_TOKEN = 4_096;
