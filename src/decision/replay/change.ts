import type { Outcome, Verdict } from '../../verdict.ts';
import type { Decided, EntryPoint } from '../decide.ts';

/** What of a record says how it was decided, and by whom. */
export interface RecordedDecision {
  readonly kind: string;
  readonly outcome: string;
  readonly revision: string;
  readonly rules: readonly string[];
  readonly challenge: unknown;
}

/** What a candidate would have decided otherwise. */
export interface Change {
  readonly from: Outcome;
  readonly to: Outcome;
  /** What differs: the outcome, or with the same one what comes with it. */
  readonly what: 'outcome' | 'challenge' | 'obligations';
  /** The rule that the candidate decides by, with the code of its first reason: `authz.deny office_closed`. */
  readonly rule: string;
}

const ENTRY_POINTS: Readonly<Record<string, EntryPoint>> = {
  decision: 'mandate/decision',
  exchange: 'mandate/delegation',
};

const OUTCOMES: ReadonlySet<string> = new Set<Outcome>(['allow', 'deny', 'challenge']);

/** The entry point that a record was decided by; undefined where no policy was asked. */
export function entryPointOf({ kind, outcome, rules }: RecordedDecision): EntryPoint | undefined {
  if (!OUTCOMES.has(outcome) || rules.includes('mandate.core')) return undefined;
  return ENTRY_POINTS[kind];
}

/** Whether it is an input of the platform's: what was asked over OPA's data API is not, and no entry point takes it. */
export const isPlatforms = (input: { readonly now?: unknown }): boolean => typeof input.now === 'string';

/**
 * What differs between a recorded decision and a candidate's. `base`: what the recorded revision decides now, where it is
 * at hand: obligations are in no record.
 */
export function changeOf(
  recorded: RecordedDecision,
  candidate: Decided,
  base: Verdict | undefined,
): Change | undefined {
  const what = differing(recorded, candidate, base);
  if (what === undefined) return undefined;
  const code = candidate.reasons[0]?.code;
  const rule = [candidate.rules[0], code].filter((each) => each !== undefined).join(' ');
  return { from: recorded.outcome as Outcome, to: candidate.outcome, what, rule };
}

function differing(
  recorded: RecordedDecision,
  candidate: Decided,
  base: Verdict | undefined,
): Change['what'] | undefined {
  if (recorded.outcome !== candidate.outcome) return 'outcome';
  if (textOf(recorded.challenge) !== textOf(candidate.challenge)) return 'challenge';
  if (base && textOf(base.obligations) !== textOf(candidate.obligations)) return 'obligations';
  return undefined;
}

/** Members come in the order of their names from the same policy, and from another one too. */
const textOf = (value: unknown): string => JSON.stringify(value ?? null);
