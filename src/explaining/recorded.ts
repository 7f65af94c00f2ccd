import { type InputKept, inputKept } from '../audit/whole.ts';
import type { EntryPoint } from '../decision/decide.ts';
import { ServiceError } from '../errors.ts';

/** What a record says of a question to the policy, and of its answer. */
export interface Recorded {
  readonly entryPoint: EntryPoint;
  /** JSON text, as far as the record has it. */
  readonly input: string;
  readonly nowMs: number;
  readonly decisionId: string;
  readonly outcome: string;
  readonly rules: readonly string[];
  /** Codes. */
  readonly reasons: readonly string[];
  readonly revision: string;
  /** Paths of what was kept out of the record, or cannot be opened any more: they are not in `input`. */
  readonly missing: readonly string[];
  /** Those of them that are sealed. */
  readonly sealed: readonly string[];
}

interface Body {
  readonly kind: string;
  readonly outcome: string;
  readonly decision_id: string;
  readonly revision?: string;
  readonly rules?: readonly string[];
  readonly reasons?: readonly { readonly code: string }[];
  readonly sealed?: readonly string[];
  readonly policy_input?: Readonly<Record<string, unknown>>;
  readonly policy_input_missing?: readonly string[];
}

const ENTRY_POINTS: Readonly<Record<string, Recorded['entryPoint']>> = {
  decision: 'mandate/decision',
  exchange: 'mandate/delegation',
  approval: 'mandate/approval',
};

/**
 * Reads a record's JSON, its sealed members opened as far as they may be. `partOf` finds what stands beside the log, by its
 * digest. Throws `invalid_request` for a record of something else than a question that the policy was asked, `not_found`
 * where it keeps but a digest of the input.
 */
export function recordedIn(body: Uint8Array, partOf: (digest: string) => string | undefined): Recorded {
  const record = JSON.parse(utf8.decode(body)) as Body;
  const entryPoint = Object.hasOwn(ENTRY_POINTS, record.kind) ? ENTRY_POINTS[record.kind] : undefined;
  if (!entryPoint)
    throw new ServiceError(
      'invalid_request',
      `only decisions, exchanges and approvals are explained; this is a record of the kind ${record.kind}`,
    );
  const { input, missing } =
    entryPoint === 'mandate/approval' ? approvalInput(record) : inputKept(body, partOf);
  if (input === undefined)
    throw new ServiceError('not_found', 'the input was too long: the record keeps but a digest of it');
  const nowMs = Date.parse(String(input['now']));
  // What is refused before the policy is asked has no time in its input, and no revision.
  if (Number.isNaN(nowMs) || !record.revision)
    throw new ServiceError(
      'invalid_request',
      `the policy was not asked for this record: ${(record.rules ?? []).join(', ') || 'nothing'} decided`,
    );
  return {
    entryPoint,
    input: JSON.stringify(input),
    nowMs,
    decisionId: record.decision_id,
    // Whoever was let decide has done so.
    outcome: record.outcome === 'done' ? 'allow' : record.outcome,
    rules: record.rules ?? [],
    reasons: (record.reasons ?? []).map(({ code }) => code),
    revision: record.revision,
    missing,
    sealed: record.sealed ?? [],
  };
}

/** Throws `invalid_request` for a step that nobody decided, or that was refused before the policy was asked. */
function approvalInput({
  policy_input: input,
  policy_input_missing: missing = [],
  rules = [],
}: Body): InputKept {
  if (input) return { input, missing };
  throw new ServiceError(
    'invalid_request',
    `the package approval was not asked for this record, or with too much to be kept: ${rules.join(', ') || 'nothing'} decided`,
  );
}

const utf8 = new TextDecoder();
