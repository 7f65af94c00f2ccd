import { createHmac } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import type { Clock, Random } from '../../effects.ts';
import { ServiceError } from '../../errors.ts';
import { type PrincipalClass, principalKey } from '../../ids.ts';
import type { Tenant } from '../tenants.ts';
import { type Credential, isGood } from './credentials.ts';
import { Guesses } from './guesses.ts';
import type { Holder } from './registry.ts';
import { isSecretOf, readScrypt, type ScryptHash } from './scrypt.ts';

/** Those that may have secrets. */
const CLIENTS: readonly PrincipalClass[] = ['agent', 'mcp_server', 'service', 'job'];

/** How many secrets are looked at at once, over all tenants, and how many wait: each takes memory, and a thread. */
const AT_ONCE = 2;
const MOST_WAITING = 32;

/** For how long a right one is known again without the cost of looking at it, and how many are. */
const REMEMBERED_MS = 600_000;
const MOST_REMEMBERED = 10_000;

type ChosenCredential = Extract<Credential, { secret_scrypt: string }>;

/**
 * Clients whose secret somebody chose: it may be guessed, so it is kept as scrypt keeps it, guesses at it are slowed down,
 * and whose it is has to be said with it.
 */
export class ChosenSecrets {
  readonly #clock: Clock;
  readonly #guesses: Guesses;
  /** Secrets are remembered by this alone, which is in no file. */
  readonly #key: Uint8Array;
  readonly #right = new LRUCache<string, true>({ max: MOST_REMEMBERED, ttl: REMEMBERED_MS });
  #running = 0;
  readonly #waiting: (() => void)[] = [];

  constructor(options: { clock: Clock; monotonic: Clock; random: Random }) {
    this.#clock = options.clock;
    this.#guesses = new Guesses(options.monotonic);
    this.#key = options.random(32);
  }

  /** Whether a client of that name has such a secret. */
  has(tenant: Tenant, clientId: string): boolean {
    return this.#held(tenant, clientId).length > 0;
  }

  /** Undefined for a wrong one. Rejects with `resource_exhausted`. */
  async verify(
    tenant: Tenant,
    clientId: string,
    secret: string,
    address: string,
  ): Promise<Holder | undefined> {
    const held = this.#held(tenant, clientId);
    const known = held.find(({ credential }) => this.#right.has(this.#nameOf(tenant, credential, secret)));
    if (known) return known;
    const giveBack = this.#guesses.take(tenant.no, address);
    for (const holder of held) {
      const { credential } = holder;
      const hash = readScrypt(credential.secret_scrypt);
      if (!hash || !(await this.#isRight(hash, secret))) continue;
      giveBack();
      this.#right.set(this.#nameOf(tenant, credential, secret), true);
      return holder;
    }
    return undefined;
  }

  #held(tenant: Tenant, clientId: string): (Holder & { readonly credential: ChosenCredential })[] {
    const now = this.#clock();
    return CLIENTS.flatMap((cls) => {
      const principal = tenant.declared.get(principalKey({ class: cls, id: clientId }));
      return (principal?.credentials ?? []).flatMap((credential) =>
        principal && 'secret_scrypt' in credential && isGood(credential, now)
          ? [{ principal, credential }]
          : [],
      );
    });
  }

  #nameOf(tenant: Tenant, { secret_scrypt: hash }: ChosenCredential, secret: string): string {
    return createHmac('sha256', this.#key)
      .update(JSON.stringify([tenant.no, hash, secret]))
      .digest('base64');
  }

  async #isRight(hash: ScryptHash, secret: string): Promise<boolean> {
    if (this.#running < AT_ONCE) this.#running += 1;
    else {
      if (this.#waiting.length >= MOST_WAITING)
        throw new ServiceError('resource_exhausted', 'too many secrets are looked at; ask again', {
          retryAfterMs: 1_000,
        });
      // Whoever ends gives its place on.
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    try {
      return await isSecretOf(hash, secret);
    } finally {
      const next = this.#waiting.shift();
      if (next) next();
      else this.#running -= 1;
    }
  }
}
