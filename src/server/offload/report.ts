import { subscribe } from 'node:diagnostics_channel';
import type { Admission } from '../../decision/admission.ts';
import { decisionChannel } from '../../decision/decisions.ts';
import { type MaskFailure, maskFailureChannel } from '../../decision/recorder.ts';
import type { TenantId } from '../../ids.ts';
import type { PolicyHealth } from '../../policy/health.ts';
import { faultChannel, reportFault, type StoreFault } from '../../storage/faults.ts';
import { recordOutcomes } from '../../storage/log/heads.ts';
import type { TenantNo } from '../../storage/rows.ts';
import { commitChannel } from '../../storage/writer.ts';

/** What happened in another thread, where alone it is published. */
export interface Told {
  /** Decisions that are durable now: number of the tenant, place of the outcome, cost, and so on. */
  readonly decided: readonly number[];
  /** Entries of each commit. */
  readonly commits: readonly number[];
  readonly failures: readonly PolicyFailure[];
  /** Packages `audit` that failed. */
  readonly maskFailures: readonly MaskFailure[];
  /** What it met when it read the store. */
  readonly faults: readonly StoreFault[];
  /** Entries that wait for its next commit. */
  readonly waiting: number;
}

export interface PolicyFailure {
  readonly tenant: TenantId;
  readonly code: string;
  readonly at: number;
  readonly place: string | undefined;
}

interface Writable extends Told {
  decided: number[];
  commits: number[];
  failures: PolicyFailure[];
  maskFailures: MaskFailure[];
  faults: StoreFault[];
}

const nothing = (): Writable => ({
  decided: [],
  commits: [],
  failures: [],
  maskFailures: [],
  faults: [],
  waiting: 0,
});

/** A thread's half: gathers what is published in it. */
export class Report {
  readonly #waiting: () => number;
  #told = nothing();

  /** `due`: there is something that main is to hear. */
  constructor(options: {
    readonly noOf: (tenant: TenantId) => number;
    readonly waiting: () => number;
    readonly due: () => void;
  }) {
    const { noOf, waiting, due } = options;
    this.#waiting = waiting;
    subscribe(decisionChannel.name, (message) => {
      const { tenant, outcome, cost } = message as { tenant: TenantId; outcome: string; cost: number };
      this.#told.decided.push(noOf(tenant), recordOutcomes.indexOf(outcome as never), cost);
      due();
    });
    subscribe(commitChannel.name, (message) => {
      this.#told.commits.push((message as { entries: number }).entries);
      due();
    });
    subscribe(maskFailureChannel.name, (message) => {
      this.#told.maskFailures.push(message as MaskFailure);
      due();
    });
    subscribe(faultChannel.name, (message) => {
      this.#told.faults.push(message as StoreFault);
      due();
    });
    this.failed = (failure) => {
      this.#told.failures.push(failure);
      due();
    };
  }

  readonly failed: (failure: PolicyFailure) => void;

  take(): Told {
    const told = { ...this.#told, waiting: this.#waiting() };
    this.#told = nothing();
    return told;
  }
}

/** Main's half: what the core publishes is heard in its own thread only, so it is published again. */
export function hear(
  { decided, commits, failures, maskFailures, faults }: Told,
  parts: {
    readonly admission: Admission;
    readonly health: PolicyHealth;
    readonly idOf: (no: TenantNo) => TenantId | undefined;
  },
): void {
  const { admission, health, idOf } = parts;
  for (const fault of faults) reportFault(fault);
  for (const failure of maskFailures) maskFailureChannel.publish(failure);
  for (const { tenant, code, at, place } of failures) health.failed(tenant, code, at, place);
  for (let at = 0; at < decided.length; at += 3) {
    const tenant = idOf((decided[at] ?? 0) as TenantNo);
    const [outcome, cost = 0] = [recordOutcomes[decided[at + 1] ?? 0], decided[at + 2]];
    if (tenant !== undefined) admission.learn(tenant, cost);
    if (decisionChannel.hasSubscribers) decisionChannel.publish({ tenant, outcome, cost });
  }
  if (commitChannel.hasSubscribers) for (const entries of commits) commitChannel.publish({ entries });
}
