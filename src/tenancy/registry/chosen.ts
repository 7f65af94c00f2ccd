import { createHmac } from 'node:crypto';
import { LRUCache } from 'lru-cache';
import type { Clock, Random } from '../../effects.ts';
import { type PrincipalClass, principalKey } from '../../ids.ts';
import type { Tenant } from '../tenants.ts';
import { type Credential, isGood } from './credentials.ts';
import { Guesses } from './guesses.ts';
import { Places } from './places.ts';
import type { Holder } from './registry.ts';
import { isSecretOf, readScrypt } from './scrypt.ts';

/** Those that may have secrets. */
const CLIENTS: readonly PrincipalClass[] = ['agent', 'mcp_server', 'service', 'job'];

/** For how long a right one is known again without the cost of looking at it, and how many are. */
const REMEMBERED_MS = 600_000;
const MOST_REMEMBERED = 10_000;

type ChosenCredential = Extract<Credential, { secret_scrypt: string }>;
type ChosenHolder = Holder & { readonly credential: ChosenCredential };

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
  /** Of those that are looked at now: one that comes many times at once is one try. */
  readonly #under = new Map<string, Promise<Holder | undefined>>();
  readonly #places = new Places();

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
    const name = this.#digest([tenant.no, 'client', clientId, secret, ...held.map(hashIn)]);
    const under = this.#under.get(name);
    if (under) return under;
    const found = this.#found(tenant, held, secret, address).finally(() => this.#under.delete(name));
    this.#under.set(name, found);
    return found;
  }

  async #found(
    tenant: Tenant,
    held: readonly ChosenHolder[],
    secret: string,
    address: string,
  ): Promise<Holder | undefined> {
    const giveBack = this.#guesses.take(tenant.no, address);
    let looked = 0;
    try {
      for (const holder of held) {
        const hash = readScrypt(hashIn(holder));
        if (!hash) continue;
        const isRight = await this.#places.within(tenant.no, () => isSecretOf(hash, secret));
        looked += 1;
        if (!isRight) continue;
        giveBack();
        this.#right.set(this.#nameOf(tenant, holder.credential, secret), true);
        return holder;
      }
      return undefined;
    } catch (error) {
      // What was not looked at is no guess.
      if (looked === 0) giveBack();
      throw error;
    }
  }

  #held(tenant: Tenant, clientId: string): ChosenHolder[] {
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
    return this.#digest([tenant.no, hash, secret]);
  }

  #digest(of: readonly (string | number)[]): string {
    return createHmac('sha256', this.#key).update(JSON.stringify(of)).digest('base64');
  }
}

const hashIn = ({ credential }: ChosenHolder): string => credential.secret_scrypt;
