import type { MessagePort } from 'node:worker_threads';
import type { Decisions } from '../../decision/decisions.ts';
import type { Clock } from '../../effects.ts';
import { ServiceError, type ThreadError, toThread } from '../../errors.ts';
import type { TenantId } from '../../ids.ts';
import type { Caller } from '../../tenancy/callers.ts';
import type { Tenant } from '../../tenancy/tenants.ts';
import { callerNamed, decided } from './outlined.ts';
import { buffersOf, Pouch, type PouchBytes, Unpacking } from './pouch.ts';
import type { Progress } from './progress.ts';
import { type FromThread, isVouchedIn, kindOf, type Named, tenantNoOf } from './protocol.ts';
import { type PolicyFailure, Report } from './report.ts';

interface DeciderOptions {
  readonly decisions: Decisions;
  readonly main: MessagePort;
  readonly progress: Progress;
  readonly waiting: () => number;
  readonly clock: Clock;
}

/** How many messages are begun before others get their turn: a millisecond's worth. */
const SLICE = 64;
/** Or how long, where they are dear; looked at after every few. */
const SLICE_MS = 2;
const FEW = 4;

/** The thread's half: requests in, frames out, each as bytes. */
export class Decider {
  readonly #options: DeciderOptions;
  readonly #tenants = new Map<number, Tenant>();
  readonly #tenantNos = new Map<TenantId, number>();
  readonly #callers: Caller[] = [];
  /** Of batches, by their slot. */
  readonly #untils = new Map<number, number>();
  readonly #asked: Unpacking[] = [];
  readonly #answers = new Pouch();
  readonly #report: Report;
  #errors: ThreadError[] = [];
  #scheduled = false;

  constructor(options: DeciderOptions) {
    this.#options = options;
    this.#report = new Report({
      noOf: (tenant) => this.#tenantNos.get(tenant) ?? 0,
      waiting: options.waiting,
      due: () => this.#schedule(),
    });
  }

  learn(tenant: Tenant): void {
    this.#tenants.set(tenant.no, tenant);
    this.#tenantNos.set(tenant.id, tenant.no);
  }

  /** What may be asked for was settled before: here a caller is but a name. */
  name(named: Named): void {
    this.#callers[named.no] = callerNamed(named);
  }

  limit(slot: number, until: number): void {
    this.#untils.set(slot, until);
  }

  /** Taken before anything can go wrong with the message: the slot is somebody else's next. */
  #untilOf(slot: number): number {
    const until = this.#untils.get(slot) ?? Number.POSITIVE_INFINITY;
    this.#untils.delete(slot);
    return until;
  }

  failed(failure: PolicyFailure): void {
    this.#report.failed(failure);
  }

  ask(asks: PouchBytes): void {
    this.#asked.push(new Unpacking(asks));
    if (this.#asked.length === 1) this.#work();
  }

  /** A slice at a time: in between, what was committed goes back to who waits for it, and more is asked. */
  #work(): void {
    let left = SLICE;
    const end = performance.now() + SLICE_MS;
    for (let next = this.#asked[0]; next && left > 0; next = this.#asked[0]) {
      left -= next.next(FEW, this.#begin);
      if (next.done) this.#asked.shift();
      if (performance.now() >= end) break;
    }
    if (this.#asked.length > 0) setImmediate(() => this.#work());
  }

  readonly #begin = (slot: number, what: number, caller: number, message: Uint8Array): void => {
    this.#options.progress.begun(message.length);
    try {
      this.#decide(what, caller, message, this.#untilOf(slot)).then(
        (frame) => this.#answer(slot, frame),
        (error: unknown) => this.#refuse(slot, error),
      );
    } catch (error) {
      this.#refuse(slot, error);
    }
  };

  /** Not async, so that nothing of the message is kept while its record is committed. */
  #decide(what: number, callerNo: number, message: Uint8Array, until: number): Promise<Uint8Array> {
    const { decisions, clock } = this.#options;
    const tenant = this.#tenants.get(tenantNoOf(what));
    const caller = this.#callers[callerNo];
    if (!tenant || !caller) throw new ServiceError('internal', 'the decision thread was not told of it');
    return decided({
      decisions,
      tenant,
      caller,
      kind: kindOf(what),
      message,
      isVouched: isVouchedIn(what),
      isOver: () => clock() >= until,
    });
  }

  #answer(slot: number, frame: Uint8Array): void {
    this.#answers.add(slot, 0, 0, frame);
    this.#schedule();
  }

  #refuse(slot: number, error: unknown): void {
    this.#answers.add(slot, 1, this.#errors.length, new Uint8Array());
    this.#errors.push(toThread(error));
    this.#schedule();
  }

  /** The answers of one commit go back together. */
  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => this.#flush());
  }

  #flush(): void {
    this.#scheduled = false;
    const answers = this.#answers.take();
    const message: FromThread = { answers, errors: this.#errors, told: this.#report.take() };
    this.#options.main.postMessage(message, buffersOf(answers));
    this.#errors = [];
  }
}
