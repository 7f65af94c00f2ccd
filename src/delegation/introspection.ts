import { buildRecord } from '../audit/record.ts';
import type { Admission } from '../decision/admission.ts';
import type { Clock, Random } from '../effects.ts';
import { ServiceError } from '../errors.ts';
import { isSame, uuidv7 } from '../ids.ts';
import { actingIn, audiencesOf, type GrantRow } from '../storage/rows.ts';
import type { Writer } from '../storage/writer.ts';
import type { Caller } from '../tenancy/callers.ts';
import type { FactSource } from '../tenancy/facts.ts';
import { readToken } from '../tenancy/jose.ts';
import type { Kills } from '../tenancy/kills.ts';
import type { Tenant } from '../tenancy/tenants.ts';
import { isInDomain } from '../tenancy/transactions-declared.ts';
import { admitted } from './admitted.ts';
import type { Tokens } from './tokens.ts';

export interface IntrospectionOptions {
  readonly tokens: Tokens;
  readonly facts: FactSource;
  readonly kills: Pick<Kills, 'isKilled'>;
  readonly admission: Pick<Admission, 'enter' | 'leave'>;
  readonly writer: Writer;
  readonly clock: Clock;
  readonly random: Random;
}

/** What a token still is (RFC 7662). */
export class Introspection {
  readonly #options: IntrospectionOptions;

  constructor(options: IntrospectionOptions) {
    this.#options = options;
  }

  /**
   * The living grant behind a token, or undefined: for a token that is not good and for one that is none of the
   * caller's business alike (RFC 7662 section 2.2). Recorded either way.
   */
  introspect(tenant: Tenant, caller: Caller, token: string): Promise<GrantRow | undefined> {
    return admitted(this.#options.admission, tenant, () => this.#introspect(tenant, caller, token));
  }

  async #introspect(tenant: Tenant, caller: Caller, token: string): Promise<GrantRow | undefined> {
    const { writer, clock, random } = this.#options;
    const now = clock();
    const grant = await this.#livingGrant(tenant, caller, token, now);
    await writer.append(
      buildRecord({
        tenantNo: tenant.no,
        time: now,
        decisionId: uuidv7(now, random(10)),
        caller: caller.id,
        kind: 'introspection',
        outcome: grant ? 'allow' : 'deny',
        subject: grant?.subject,
        actor: grant?.actors[0],
        grantId: grant?.id,
        members: grant ? `,"grant_id":"${grant.id}"` : '',
        input: JSON.stringify(grant ? { subject: grant.subject, actors: grant.actors } : {}),
      }),
    );
    return grant;
  }

  async #livingGrant(
    tenant: Tenant,
    caller: Caller,
    token: string,
    now: number,
  ): Promise<GrantRow | undefined> {
    const { tokens, facts, kills } = this.#options;
    try {
      const read = readToken(token);
      if (!tokens.isOwn(tenant, read)) return undefined;
      const grant = await tokens.grantOf(tenant, read, now, tokens.takenHere(tenant));
      if (kills.isKilled(tenant)) return undefined;
      const targets = audiencesOf(grant).map((audience) => tenant.audiences.get(audience));
      // Whoever may take it on has to know what it is.
      const involved = [...targets, actingIn(grant), grant.mayAct ?? undefined];
      const isInvolved =
        involved.some((one) => isSame(one, caller.principal)) ||
        isInDomain(tenant, caller.principal, grant.audience);
      if (caller.principal && !isInvolved) return undefined;
      const everyone = [grant.subject, ...grant.actors];
      return everyone.every((one) => facts.of(tenant, one).status === 'active') ? grant : undefined;
    } catch (error) {
      if (error instanceof ServiceError && error.code.startsWith('token_')) return undefined;
      throw error;
    }
  }
}
