import { type PrincipalRef, principalKey } from '../../ids.ts';
import type { CredentialUse, UseStore } from '../../storage/principals/uses.ts';
import type { Writer } from '../../storage/writer.ts';
import type { Tenant } from '../tenants.ts';
import { type Credential, credentialId } from './credentials.ts';
import type { Holder } from './registry.ts';

/** How often uses are stored, and noted of one credential, in milliseconds. */
const EVERY = 10_000;
/** Of uses that wait; what is beyond is noted with its next. */
const MOST_WAITING = 10_000;

/** When credentials were last used: in memory at once, stored a little later and in no request's way. */
export class Uses implements Disposable {
  readonly #writer: Pick<Writer, 'run'>;
  readonly #store: UseStore;
  readonly #noted = new WeakMap<Credential, number>();
  #waiting = new Map<string, CredentialUse>();
  #timer: NodeJS.Timeout | undefined;

  constructor(options: { writer: Pick<Writer, 'run'>; store: UseStore }) {
    this.#writer = options.writer;
    this.#store = options.store;
  }

  note(tenant: Tenant, { principal, credential }: Holder, now: number): void {
    const before = this.#noted.get(credential);
    if (before !== undefined && Math.abs(now - before) < EVERY) return;
    this.#timer ??= setTimeout(() => void this.#flush(), EVERY).unref();
    if (this.#waiting.size >= MOST_WAITING) return;
    this.#noted.set(credential, now);
    const use = { tenantNo: tenant.no, class: principal.class, id: principal.id };
    const id = credentialId(credential);
    this.#waiting.set(nameOf(tenant, principal, id), { ...use, credential: id, at: now });
  }

  /** Milliseconds since the epoch. */
  usedAt(tenant: Tenant, of: PrincipalRef, credential: string): number | undefined {
    const waiting = this.#waiting.get(nameOf(tenant, of, credential));
    return waiting?.at ?? this.#store.usedAt(tenant.no, of, credential);
  }

  async #flush(): Promise<void> {
    this.#timer = undefined;
    const uses = [...this.#waiting.values()];
    // Nothing depends on them, and a store that takes nothing now says so itself. They stay until they are stored.
    const isStored = await this.#writer.run('putUses', { uses }).then(
      () => true,
      () => false,
    );
    if (!isStored) return;
    const stored = new Set(uses);
    for (const [name, use] of this.#waiting) if (stored.has(use)) this.#waiting.delete(name);
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
  }
}

const nameOf = (tenant: Tenant, of: PrincipalRef, credential: string): string =>
  `${tenant.no} ${credential} ${principalKey(of)}`;
