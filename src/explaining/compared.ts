import { decide } from '../decision/decide.ts';
import { ServiceError } from '../errors.ts';
import type { Explained } from '../policy/explain/explain.ts';
import type { Agreement } from '../policy/explain/explanation.ts';
import type { Recorded } from './recorded.ts';

export interface Compared {
  /** What the engine that serves makes of the recorded input now. */
  readonly outcome: string;
  readonly reasons: readonly string[];
  /** Whether that is what was recorded; `unknown` where the record does not tell. */
  readonly recorded: Agreement;
  readonly notes: readonly string[];
}

/** Rules that are no policy's: they decide beyond it, or instead of it. */
const BEYOND: ReadonlySet<string> = new Set(['mandate.core', 'delegation.limits']);

/** Reads the result as the decision point does, and holds it beside what the record says. */
export function compared(record: Recorded, { value, failed }: Explained): Compared {
  const { entryPoint, rules, missing } = record;
  const evaluated = {
    result: value,
    cost: 0,
    ...(failed && { failure: new ServiceError(failed.code, failed.message) }),
  };
  const policy = { revision: record.revision, masks: false, approves: false, evaluate: () => evaluated };
  const context = { nowMs: record.nowMs, seed: record.decisionId };
  const { outcome, reasons } = decide(policy, entryPoint, record.input, context);
  const codes = reasons.map(({ code }) => code);
  const said = { outcome, reasons: codes };
  const beyond = rules.filter((rule) => BEYOND.has(rule));
  if (beyond.length > 0)
    return {
      ...said,
      recorded: 'unknown',
      notes: [
        `what was answered was decided by ${beyond.join(', ')}, beyond the policy or before it was asked`,
      ],
    };
  const isSame = outcome === record.outcome && codes.every((code, at) => code === told(record, at, code));
  if (isSame) return { ...said, recorded: 'same', notes: [] };
  if (missing.length > 0) return { ...said, recorded: 'unknown', notes: [] };
  return { ...said, recorded: 'differs', notes: [] };
}

/** A code that repeats what is sealed is not recorded. */
const told = ({ reasons }: Recorded, at: number, code: string): string | undefined =>
  reasons[at] === 'sealed' ? code : reasons[at];
