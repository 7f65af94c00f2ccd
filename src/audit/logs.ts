import { ServiceError } from '../errors.ts';
import type { ReceivedStore } from '../storage/received/store.ts';
import type { TenantNo } from '../storage/rows.ts';

/** A log of a tenant that is here: this server's own, or that of another one. */
export interface NodeLog {
  readonly no: TenantNo;
  /** Which server made it. */
  readonly node: string;
  readonly isOwn: boolean;
}

interface Owner {
  readonly no: TenantNo;
}

/** Which logs of a tenant are here, by the names of the servers that made them. Throws `unavailable`. */
export class NodeLogs {
  readonly #store: Pick<ReceivedStore, 'find' | 'list'>;
  /** What this server is called. */
  readonly node: string;

  constructor(store: Pick<ReceivedStore, 'find' | 'list'>, node: string) {
    this.#store = store;
    this.node = node;
  }

  /** The own one first, then the others as they were first seen. */
  all({ no }: Owner): NodeLog[] {
    const others = this.#store.list(no).map((row) => ({ no: row.no, node: row.node, isOwn: false }));
    return [{ no, node: this.node, isOwn: true }, ...others];
  }

  /** The own one where no name is given. Throws `not_found`. */
  one({ no }: Owner, node: string): NodeLog {
    if (node === '' || node === this.node) return { no, node: this.node, isOwn: true };
    const row = this.#store.find(no, node);
    if (row) return { no: row.no, node, isOwn: false };
    throw new ServiceError('not_found', `no log of ${node.slice(0, 64)} is here; this is ${this.node}`);
  }

  /** All of them where no name is given. Throws `not_found`. */
  meant(owner: Owner, node: string): NodeLog[] {
    return node === '' ? this.all(owner) : [this.one(owner, node)];
  }
}
