import { subscribe } from 'node:diagnostics_channel';
import type { MessagePort } from 'node:worker_threads';
import { decisionChannel, type Decisions } from '../../decision/decisions.ts';
import { describe, ServiceError } from '../../errors.ts';
import type { TenantId } from '../../ids.ts';
import { recordOutcomes } from '../../storage/heads.ts';
import { commitChannel } from '../../storage/writer.ts';
import type { Caller } from '../../tenancy/callers.ts';
import type { Tenant } from '../../tenancy/tenants.ts';
import { batchOfItems } from '../connect/decision.ts';
import { outlineOf } from '../grpc/codec/outline.ts';
import { decodeBatch, decodeCheck, decodeStreamCheck } from '../grpc/codec/request.ts';
import { encodeBatch, encodeCheck, encodeStreamAnswer } from '../grpc/codec/response.ts';
import { Pouch, type PouchBytes, buffersOf, unpack } from './pouch.ts';
import {
  type FromThread,
  type Kind,
  kindOf,
  type PolicyFailure,
  tenantNoOf,
  type ThreadError,
} from './protocol.ts';

interface DeciderOptions {
  readonly decisions: Decisions;
  readonly main: MessagePort;
  readonly waiting: () => number;
}

/** The thread's half: requests in, frames out, each as bytes. */
export class Decider {
  readonly #options: DeciderOptions;
  readonly #tenants = new Map<number, Tenant>();
  readonly #tenantNos = new Map<TenantId, number>();
  readonly #callers: Caller[] = [];
  readonly #answers = new Pouch();
  #errors: ThreadError[] = [];
  #decided: number[] = [];
  #commits: number[] = [];
  #failures: PolicyFailure[] = [];
  #scheduled = false;

  constructor(options: DeciderOptions) {
    this.#options = options;
    subscribe(decisionChannel.name, (message) => {
      const { tenant, outcome, cost } = message as { tenant: TenantId; outcome: string; cost: number };
      this.#decided.push(this.#tenantNos.get(tenant) ?? 0, recordOutcomes.indexOf(outcome as never), cost);
    });
    subscribe(commitChannel.name, (message) => {
      this.#commits.push((message as { entries: number }).entries);
      this.#schedule();
    });
  }

  learn(tenant: Tenant): void {
    this.#tenants.set(tenant.no, tenant);
    this.#tenantNos.set(tenant.id, tenant.no);
  }

  /** What may be asked for was settled before: here a caller is but a name. */
  name(no: number, id: string): void {
    this.#callers[no] = { id, principal: undefined, may: new Set(), audiences: undefined };
  }

  failed(failure: PolicyFailure): void {
    this.#failures.push(failure);
    this.#schedule();
  }

  ask(asks: PouchBytes): void {
    unpack(asks, (slot, what, caller, message) => {
      this.#decide(kindOf(what), tenantNoOf(what), caller, message).then(
        (frame) => this.#answer(slot, frame),
        (error: unknown) => this.#refuse(slot, error),
      );
    });
  }

  async #decide(kind: Kind, tenantNo: number, callerNo: number, message: Uint8Array): Promise<Uint8Array> {
    const { decisions } = this.#options;
    const tenant = this.#tenants.get(tenantNo);
    const caller = this.#callers[callerNo];
    if (!tenant || !caller) throw new ServiceError('internal', 'the decision thread was not told of it');
    switch (kind) {
      case 'check': {
        const asked = decodeCheck(message);
        sameAs(asked.tenant === tenant.id && asked.request.token === undefined);
        return encodeCheck(await decisions.check(tenant, caller, asked.request));
      }
      case 'batch': {
        const asked = decodeBatch(message);
        const { tenant: named, defaults } = asked;
        sameAs(named === tenant.id && defaults.token === undefined);
        sameAs(asked.items.length === outlineOf(message)?.items);
        const { items, semantic } = batchOfItems(asked);
        return encodeBatch(await decisions.checkBatch(tenant, caller, items, semantic));
      }
      case 'stream': {
        const { correlationId, asked } = decodeStreamCheck(message);
        if (!asked) throw new ServiceError('invalid_request', 'request is missing');
        sameAs(asked.tenant === tenant.id && asked.request.token === undefined);
        return encodeStreamAnswer(correlationId, await decisions.check(tenant, caller, asked.request));
      }
    }
  }

  #answer(slot: number, frame: Uint8Array): void {
    this.#answers.add(slot, 0, 0, frame);
    this.#schedule();
  }

  #refuse(slot: number, error: unknown): void {
    const known =
      error instanceof ServiceError
        ? error
        : new ServiceError('internal', 'something went wrong here; the operator finds it in the log', {
            cause: error,
          });
    const cause = known.cause === undefined ? '' : describe(known.cause);
    const detail = [known.detail, cause].filter((each) => each !== undefined && each !== '').join(': ');
    const { code, message, retryAfterMs } = known;
    this.#answers.add(slot, 1, this.#errors.length, new Uint8Array());
    this.#errors.push({ code, message, retryAfterMs, detail: detail === '' ? undefined : detail });
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
    const message: FromThread = {
      answers,
      errors: this.#errors,
      decided: this.#decided,
      commits: this.#commits,
      failures: this.#failures,
      waiting: this.#options.waiting(),
    };
    this.#options.main.postMessage(message, buffersOf(answers));
    this.#errors = [];
    this.#decided = [];
    this.#commits = [];
    this.#failures = [];
  }
}

/**
 * Main admitted a caller by the outline of its message. The generated code lets a member run over the end of the one
 * around it, and may so read a malformed message in another way than its outline.
 */
function sameAs(outlined: boolean): void {
  if (!outlined) throw new ServiceError('invalid_request', 'the message is not sound');
}
