import { type Unheld, unheldReasons } from '../../../decision/approval/presented.ts';
import { REQUESTABLE_MS, termsOf } from '../../../decision/approval/terms.ts';
import type { Answer } from '../../../decision/decisions.ts';
import type { JsonObject } from '../../../decision/request.ts';
import { timeIn } from '../../../ids.ts';

/** What an evaluation is answered (AuthZEN 1.0 section 6.2), with what its profiles have to say. */
export const evaluationBody = (answer: Answer, requestsAt: string) => ({
  decision: answer.outcome === 'allow',
  context: {
    outcome: answer.outcome,
    reasons: answer.reasons,
    obligations: answer.obligations.map(obligation),
    ...(answer.challenge ? { challenge: answer.challenge } : {}),
    decision_id: answer.decisionId,
    policy_revision: answer.revision,
    record_index: answer.recordIndex,
    state_version: answer.stateVersion,
    ...approvalMembers(answer, requestsAt),
  },
});

/** The types that the obligations profile defines; what else a policy obliges to is `custom`. */
export const OBLIGATION_TYPES = ['step-up', 'notification', 'session_termination', 'custom'] as const;

/** An obligation in the form of the profile: a policy's own is whole within a custom one. */
function obligation(said: JsonObject, at: number): JsonObject {
  const { type, properties } = said;
  const isOfProfile =
    OBLIGATION_TYPES.some((each) => each === type) && typeof properties === 'object' && properties !== null;
  return {
    id: `obl-${at + 1}`,
    ...(isOfProfile ? { type, properties } : { type: 'custom', properties: said }),
  };
}

/** What the access request and approval profile calls them. */
const profileReasons: Readonly<Record<Unheld, string>> = {
  approval_unverifiable: 'approval_unverifiable',
  approval_pending: 'approval_pending',
  approval_expired: 'approval_expired',
  approval_out_of_scope: 'out_of_scope',
};

/** How long a caller waits before it asks again whether a request was decided. In seconds. */
export const RETRY_SECONDS = 5;

const isUnheld = (code: string): code is Unheld => Object.hasOwn(unheldReasons, code);

/** A requestable denial (profile, section 4), and what became of an approval that was presented (section 8). */
function approvalMembers({ outcome, challenge, reasons, decisionId, approval }: Answer, endpoint: string) {
  if (approval) return { approval: { id: approval.id, approved_until: approval.expires_at } };
  const unheld = reasons.map(({ code }) => code).find(isUnheld);
  const terms = outcome === 'challenge' ? termsOf(challenge) : undefined;
  const next = unheld === 'approval_pending' ? 'retry' : terms ? 'request' : 'none';
  return {
    ...(terms && requestable(decisionId, endpoint, terms)),
    ...(unheld && {
      reason: profileReasons[unheld],
      next_action: next,
      ...(next === 'retry' && { retry_after: RETRY_SECONDS }),
    }),
  };
}

function requestable(
  decisionId: Answer['decisionId'],
  endpoint: string,
  { template, display }: { template: string; display: JsonObject | undefined },
) {
  const at = timeIn(decisionId);
  return {
    evaluation_id: decisionId,
    evaluated_at: new Date(at).toISOString(),
    reason: 'approval_required',
    access_request: {
      endpoint,
      expires_at: new Date(at + REQUESTABLE_MS).toISOString(),
      ...(template && { template }),
      ...(display && { display }),
    },
  };
}
