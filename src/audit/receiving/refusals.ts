import type { Clock, Random } from '../../effects.ts';
import type { ReceivedStore } from '../../storage/received/store.ts';
import type { Writer } from '../../storage/writer.ts';
import { ownRecord } from '../own.ts';
import type { RefusalKind, Unfit } from './fitting.ts';
import type { Owner } from './shipment.ts';

/** How often the same refusal of a log is recorded, and for how long one is shown by readiness. */
const RECORDED_MS = 3_600_000;
const SHOWN_MS = 300_000;
/** How many logs' last refusals are remembered. */
const MOST = 10_000;

interface Refused {
  readonly line: string;
  readonly at: number;
  /** When each kind was recorded last. */
  readonly recorded: Map<RefusalKind, number>;
}

export interface RefusalsOptions {
  readonly store: Pick<ReceivedStore, 'find'>;
  readonly writer: Pick<Writer, 'run' | 'append'>;
  readonly clock: Clock;
  readonly monotonic: Clock;
  readonly random: Random;
}

/** What did not fit of other servers' logs: shown for a while, and in the tenant's log once an hour for each kind. */
export class LogRefusals {
  readonly #options: RefusalsOptions;
  readonly #refused = new Map<string, Refused>();

  constructor(options: RefusalsOptions) {
    this.#options = options;
  }

  /** Logs of which something was refused a moment ago, a line each. */
  lines(): string[] {
    const since = this.#options.monotonic() - SHOWN_MS;
    return [...this.#refused.values()].filter(({ at }) => at >= since).map(({ line }) => line);
  }

  /** Resolves once it is recorded, where it is news. */
  async note(owner: Owner, node: string, sender: string, { kind, message: why }: Unfit): Promise<void> {
    const { store, writer, clock, monotonic, random } = this.#options;
    const known = store.find(owner.no, node);
    // Names cost nothing: what was never seen leaves no trace.
    if (!known && kind !== 'name') return;
    const place = `${owner.no} ${node}`;
    const now = monotonic();
    const recorded = this.#refused.get(place)?.recorded ?? new Map<RefusalKind, number>();
    // Those for longest are forgotten first.
    this.#refused.delete(place);
    const line = `tenant ${owner.id}: the log of ${node} was refused: ${why}`;
    this.#refused.set(place, { line, at: now, recorded });
    if (this.#refused.size > MOST) this.#refused.delete([...this.#refused.keys()][0] ?? '');
    if (now - (recorded.get(kind) ?? Number.NEGATIVE_INFINITY) < RECORDED_MS) return;
    recorded.set(kind, now);
    const row = ownRecord(
      {
        tenantNo: owner.no,
        kind: 'server',
        action: 'log.refuse',
        resource: { type: 'log', id: known?.origin ?? node },
        caller: sender,
        detail: { node, kind, why },
      },
      clock,
      random,
    );
    if (known) await writer.run('refuseReceived', { no: known.no, why, at: clock() }, row);
    else await writer.append(row);
  }
}
