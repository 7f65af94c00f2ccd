import { hash } from 'node:crypto';
import type { Clock, Random } from '../../effects.ts';
import { ServiceError } from '../../errors.ts';
import type { PrincipalRef } from '../../ids.ts';
import type { ManifestPrincipal } from '../manifest.ts';
import type { Tenant } from '../tenants.ts';
import { type Credential, credentialId, isGood, MAX_CREDENTIALS } from './credentials.ts';
import type { Principals } from './principals.ts';
import type { Uses } from './uses.ts';

const SECRET_BYTES = 32;

/** A secret that needs no slow hash, with a prefix by which scanners find it where it does not belong. */
export const newSecret = (random: Random): string =>
  `mdt_${Buffer.from(random(SECRET_BYTES)).toString('base64url')}`;

/** Changes of single credentials of principals that the API has put. */
export class Credentials {
  readonly #principals: Pick<Principals, 'change'>;
  readonly #uses: Uses;
  readonly #clock: Clock;
  readonly #random: Random;

  constructor(options: { principals: Pick<Principals, 'change'>; uses: Uses; clock: Clock; random: Random }) {
    this.#principals = options.principals;
    this.#uses = options.uses;
    this.#clock = options.clock;
    this.#random = options.random;
  }

  /**
   * A new secret, good until a time (RFC 3339); those that are there go on for the overlap. Throws `principal_unknown`, `managed_by_manifest`, `gone` or
   * `invalid_request`.
   */
  async rotate(
    tenant: Tenant,
    caller: string,
    ref: PrincipalRef,
    { overlapMs, expiresAt }: { overlapMs: number; expiresAt: string | undefined },
  ): Promise<{ secret: string; credentialId: string }> {
    const now = this.#clock();
    const secret = newSecret(this.#random);
    const fresh: Credential = {
      secret_sha256: hash('sha256', secret, 'hex'),
      ...(expiresAt !== undefined && { expires_at: expiresAt }),
    };
    await this.#principals.change(tenant, caller, ref, 'credential.rotate', (before) => {
      const kept = before.credentials
        .map((each) => (isSecret(each) ? endingBy(each, now + overlapMs) : each))
        .filter((each) => isGood(each, now));
      return withCredentials(before, [...kept, fresh]);
    });
    return { secret, credentialId: credentialId(fresh) };
  }

  /** Answers how many grants ended. Throws as `rotate` does. */
  async remove(tenant: Tenant, caller: string, ref: PrincipalRef, id: string): Promise<number> {
    return await this.#principals.change(tenant, caller, ref, 'credential.remove', (before) => {
      const kept = before.credentials.filter((each) => credentialId(each) !== id);
      if (kept.length === before.credentials.length)
        throw new ServiceError('not_found', `${ref.class}:${ref.id} has no such credential`);
      return withCredentials(before, kept);
    });
  }

  /** When one was last used, in milliseconds since the epoch. */
  usedAt(tenant: Tenant, of: PrincipalRef, credential: string): number | undefined {
    return this.#uses.usedAt(tenant, of, credential);
  }
}

const isSecret = (one: Credential): boolean => 'secret_sha256' in one || 'secret_scrypt' in one;

function endingBy(one: Credential, end: number): Credential {
  const sooner = Math.min(end, one.expires_at === undefined ? end : Date.parse(one.expires_at));
  return { ...one, expires_at: new Date(sooner).toISOString() };
}

function withCredentials(before: ManifestPrincipal, credentials: Credential[]): ManifestPrincipal {
  if (credentials.length > MAX_CREDENTIALS)
    throw new ServiceError(
      'invalid_request',
      `it would have more than ${MAX_CREDENTIALS} credentials; remove one first`,
    );
  return { ...before, credentials };
}
