import { hash } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { SignJWT } from 'jose';
import { type Callback, taskStatuses } from '../../decision/approval/callback.ts';
import type { Clock, Random } from '../../effects.ts';
import { uuidv7 } from '../../ids.ts';
import type { ApprovalRow } from '../../storage/approvals/rows.ts';
import { storedJson } from '../../storage/faults.ts';
import type { TenantNo } from '../../storage/rows.ts';
import type { Tenant } from '../../tenancy/tenants.ts';
import type { Keys } from '../keys/keys.ts';
import { post } from './outbound.ts';

export interface CallbacksOptions {
  readonly keys: Pick<Keys, 'signer'>;
  readonly issuerOf: (tenant: Tenant) => string;
  /** Whether this machine may be told by http. */
  readonly loopback: boolean;
  readonly clock: Clock;
  readonly random: Random;
  readonly stopping: AbortSignal;
  /** Hears of what nobody took. */
  readonly failed: (error: unknown) => void;
}

/** How many are told at once, of all and of one tenant; beyond that nobody is: whoever waits polls. */
const MOST_AT_ONCE = 256;
const MOST_EACH = 16;
/** Before each attempt, in milliseconds. */
const ATTEMPTS_MS = [0, 2_000, 20_000];
/** Of its authentication, in seconds. */
const LIFETIME = 60;
const TYPE = 'approval-callback+jwt';

/**
 * Tells whoever asked for approval that it was decided (profile, section 9). It is a word to the wise and no result: what
 * became of a request its task says. It is authenticated by a JWT that the tenant's key signs, for that endpoint and body.
 */
export class Callbacks {
  readonly #options: CallbacksOptions;
  #open = 0;
  /** Of each tenant that has some: one whose endpoints do not answer keeps no other one's from being told. */
  readonly #openOf = new Map<TenantNo, number>();

  constructor(options: CallbacksOptions) {
    this.#options = options;
  }

  /** Called after the commit. Nobody waits for it. */
  readonly notify = (tenant: Tenant, row: ApprovalRow): void => {
    if (row.callback === null) return;
    if (this.#open >= MOST_AT_ONCE || (this.#openOf.get(tenant.no) ?? 0) >= MOST_EACH) return;
    const callback = storedJson(row.callback) as Callback;
    const status = taskStatuses[row.state];
    if (callback.events && !callback.events.includes(status)) return;
    // It may have been taken back meanwhile.
    if (!tenant.manifest.approvals.callbacks.includes(callback.endpoint)) return;
    this.#count(tenant.no, 1);
    void this.#told(tenant, callback, row.id, status)
      .catch(this.#options.failed)
      .finally(() => this.#count(tenant.no, -1));
  };

  #count(no: TenantNo, by: 1 | -1): void {
    this.#open += by;
    const open = (this.#openOf.get(no) ?? 0) + by;
    if (open > 0) this.#openOf.set(no, open);
    else this.#openOf.delete(no);
  }

  async #told(tenant: Tenant, { endpoint, state }: Callback, id: string, status: string): Promise<void> {
    const { issuerOf, loopback, stopping: signal } = this.#options;
    const at = `${issuerOf(tenant)}/access/v1/requests/${id}`;
    const body = JSON.stringify({
      ...(state !== undefined && { state }),
      task: { id, status, status_endpoint: at },
    });
    let last: unknown;
    for (const ms of ATTEMPTS_MS) {
      if (ms > 0) await delay(ms, undefined, { signal, ref: false });
      try {
        return await post(endpoint, body, `Bearer ${await this.#token(tenant, endpoint, body)}`, {
          loopback,
        });
      } catch (error) {
        last = error;
      }
    }
    throw last;
  }

  async #token(tenant: Tenant, audience: string, body: string): Promise<string> {
    const { keys, issuerOf, clock, random } = this.#options;
    const key = await keys.signer(tenant);
    const now = Math.floor(clock() / 1_000);
    return new SignJWT({ body_sha256: hash('sha256', body, 'base64url') })
      .setProtectedHeader({ alg: key.alg, kid: key.kid, typ: TYPE })
      .setIssuer(issuerOf(tenant))
      .setAudience(audience)
      .setIssuedAt(now)
      .setExpirationTime(now + LIFETIME)
      .setJti(uuidv7(clock(), random(10)))
      .sign(key.privateKey);
  }
}
