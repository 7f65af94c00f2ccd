import { inTask } from '../audit/kill.ts';
import { buildRecord } from '../audit/record.ts';
import type { Clock, Random } from '../effects.ts';
import { ServiceError } from '../errors.ts';
import { type GrantId, isSame, uuidv7 } from '../ids.ts';
import type { GrantStore } from '../storage/grants.ts';
import { actingIn, type GrantRow } from '../storage/rows.ts';
import type { Writer } from '../storage/writer.ts';
import type { Caller } from '../tenancy/callers.ts';
import { readToken } from '../tenancy/jose.ts';
import type { Tenant } from '../tenancy/tenants.ts';
import type { Tokens } from './tokens.ts';

export type RevocationTarget = { readonly token: string } | { readonly grantId: string };

export interface RevocationOptions {
  readonly tokens: Tokens;
  readonly grants: GrantStore;
  readonly writer: Writer;
  readonly clock: Clock;
  readonly random: Random;
}

/** What an agent gives up, or cuts off below itself (RFC 7009). Operators have `KillSwitches` beside it. */
export class Revocation {
  readonly #options: RevocationOptions;

  constructor(options: RevocationOptions) {
    this.#options = options;
  }

  /**
   * Ends a grant and its subtree; answers how many were alive. 0 for what does not exist or is not the caller's
   * (RFC 7009 section 2.1). Resolves after the commit: the next Check sees it. No clock is asked whether there is still
   * something to end.
   */
  async revoke(tenant: Tenant, caller: Caller, target: RevocationTarget): Promise<number> {
    const { writer, clock, random } = this.#options;
    const now = clock();
    const grant = await this.#revocable(tenant, caller, target);
    const draft = {
      tenantNo: tenant.no,
      time: now,
      decisionId: uuidv7(now, random(10)),
      caller: caller.id,
      kind: 'revocation' as const,
      subject: grant?.subject,
      actor: grant?.actors[0],
      grantId: grant?.id,
      input: JSON.stringify(grant ? { subject: grant.subject, actors: grant.actors, ...inTask(grant) } : {}),
      members: grant ? `,"grant_id":"${grant.id}"` : '',
    };
    if (grant) {
      const record = buildRecord({ ...draft, outcome: 'done' });
      const { value } = await writer.run(
        'revokeGrant',
        { tenantNo: tenant.no, id: grant.id, at: now },
        record,
      );
      if (value !== undefined) return value;
    }
    await writer.append(buildRecord({ ...draft, outcome: 'deny' }));
    return 0;
  }

  async #revocable(tenant: Tenant, caller: Caller, target: RevocationTarget): Promise<GrantRow | undefined> {
    const { tokens, grants } = this.#options;
    let grant: GrantRow | undefined;
    if ('grantId' in target) {
      await grants.heard?.(tenant.no, target.grantId as GrantId);
      grant = grants.find(tenant.no, target.grantId as GrantId);
    } else {
      try {
        const token = readToken(target.token);
        if (tokens.isOwn(tenant, token)) grant = await tokens.grantBehind(tenant, token, 'any');
      } catch (error) {
        if (!(error instanceof ServiceError) || !error.code.startsWith('token_')) throw error;
      }
    }
    // Whoever acts in the chain may cut it off below; an operator may end any.
    if (
      grant &&
      caller.principal &&
      ![actingIn(grant), ...grant.actors].some((actor) => isSame(actor, caller.principal))
    )
      return undefined;
    return grant;
  }
}
