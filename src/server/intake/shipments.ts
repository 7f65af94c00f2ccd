import type { Receiving } from '../../audit/receiving/thread.ts';
import { ServiceError } from '../../errors.ts';
import type { Callers, Presented } from '../../tenancy/callers.ts';
import type { Tenants } from '../../tenancy/tenants.ts';
import { Places } from './places.ts';

/** How many parts of logs may be on their way into the store, and how many of one operator. */
const SHIPMENTS = { total: 64, each: 48, full: 'too many logs are being received' };

export interface ShipmentsParts {
  readonly callers: Callers;
  readonly tenants: Tenants;
  readonly receiving: Pick<Receiving, 'take'>;
  /** Of a sidecar, which keeps no logs. */
  readonly passingOn: unknown;
}

/** Parts of other servers' logs, by whichever protocol they come: who sends them is settled, and how many at once. */
export class Shipments {
  readonly #parts: ShipmentsParts;
  readonly #places = new Places(SHIPMENTS);

  constructor(parts: ShipmentsParts) {
    this.#parts = parts;
  }

  /**
   * Resolves with how many entries of the log are kept. `message`: a ShipRequest of the tenant. Throws `tenant_unknown`,
   * `unauthenticated`, `permission_denied`, `resource_exhausted`; rejects as `Receiving` does.
   */
  async take(presented: Presented, id: string, message: Uint8Array): Promise<number> {
    const { callers, tenants, receiving, passingOn } = this.#parts;
    if (passingOn) throw new ServiceError('unimplemented', 'this is a sidecar: its authority keeps logs');
    const caller = await callers.authenticate(tenants.get(id), presented, 'sync.follow');
    using _place = this.#places.take(caller.id);
    // It may have changed while the caller was looked at.
    return await receiving.take(tenants.get(id), caller.id, message);
  }
}
