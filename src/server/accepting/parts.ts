import type { Clock } from '../../effects.ts';
import type { TenantId } from '../../ids.ts';
import type { Policies } from '../../policy/policies.ts';
import type { TenantNo } from '../../storage/rows.ts';
import type { Writer } from '../../storage/writer.ts';
import type { Callers } from '../../tenancy/callers.ts';
import type { Handlers } from '../listener.ts';
import type { Kind } from '../offload/protocol.ts';
import type { Told } from '../offload/report.ts';
import type { HotMethod } from '../server.ts';
import type { AcceptingOptions } from './protocol.ts';
import type { TenantParts } from './tenants.ts';
import type { AcceptingThread } from './thread.ts';

/** What a thread is started with besides what it has of its own. */
export interface Settings
  extends Omit<
    AcceptingOptions,
    'main' | 'writer' | 'writerPulse' | 'pulse' | 'signal' | 'backlog' | 'bounds'
  > {}

/** What main serves for such a thread. */
export interface Served {
  readonly hot: Readonly<Record<Kind, HotMethod>>;
  readonly request: Handlers['request'];
}

export interface AcceptingParts extends TenantParts {
  readonly settings: Settings;
  readonly writer: Writer;
  /** The rest of them is main's. */
  readonly policies: Policies;
  readonly callers: Callers;
  readonly clock: Clock;
  readonly hear: (from: AcceptingThread, told: Told, idOf: (no: TenantNo) => TenantId | undefined) => void;
}
