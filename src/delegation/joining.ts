import { ServiceError } from '../errors.ts';
import { isSame, type PrincipalRef, principalKey } from '../ids.ts';
import type { GrantRow } from '../storage/rows.ts';
import type { ExchangeAsked } from './asked.ts';
import type { SubjectToken } from './presented.ts';
import type { Binding } from './sender/certificates.ts';
import { TASK_TYPE } from './tasks.ts';

/** The parts of an exchange that lets another agent into a task. What it grants has no token: that agent renews it. */

/** By nothing: whoever joins binds each of its tokens to what it holds itself. */
export const UNBOUND: Binding = { jkt: null, x5tS256: null };

/**
 * Who is to join the task that is presented; undefined where nobody is. It is named by the agent that opened the task, as
 * the one who alone may act by its part (RFC 8693 section 4.4): so nothing that comes of that part lets in a third, nor is
 * good for anybody else to exchange. Throws `invalid_request` or `exchange_denied`.
 */
export function joinerOf(
  { issuedTokenType, subjectTokenType, mayAct, task }: ExchangeAsked,
  opener: PrincipalRef,
): PrincipalRef | undefined {
  if (issuedTokenType !== TASK_TYPE) return undefined;
  if (subjectTokenType !== TASK_TYPE || task || !mayAct)
    throw new ServiceError(
      'invalid_request',
      'requested_token_type task takes a task of the agent as subject_token, and may_act, who is to join it',
    );
  if (mayAct.class !== 'agent')
    throw new ServiceError('exchange_denied', `${principalKey(mayAct)} is no agent: agents join tasks`);
  if (isSame(mayAct, opener))
    throw new ServiceError('exchange_denied', `${principalKey(mayAct)} acts in the task already`);
  return mayAct;
}

/**
 * The node of the tree that the tokens of the agent that joined stand below: below the task, by its own id, and as long as
 * that unless less was asked for.
 */
export function partOf(
  proposed: GrantRow,
  { until }: Pick<SubjectToken, 'until'>,
  lifetimeSeconds: number,
  now: number,
): GrantRow {
  const { id, task } = proposed;
  const asked = lifetimeSeconds === 0 ? until : Math.floor(now / 1_000) * 1_000 + lifetimeSeconds * 1_000;
  return { ...proposed, task: task && { ...task, node: id }, expiresAt: Math.min(until, asked) };
}
