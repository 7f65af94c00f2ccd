import type { ExplainResponse } from '../../gen/mandate/v1/audit_pb.ts';
import { AuditService } from '../../gen/mandate/v1/audit_pb.ts';
import { clientOf } from '../client.ts';
import type { GlobalOptions } from '../terminal/output.ts';
import { warn } from '../terminal/output.ts';
import { snaked } from './json.ts';
import { printTree } from './tree.ts';

/** Which record: by its index, or by the id of its decision. */
export type RecordName =
  | { readonly case: 'index'; readonly value: bigint }
  | { readonly case: 'decisionId'; readonly value: string };

/** Asks the admin plane. */
export const explanationOf = (
  globals: GlobalOptions,
  tenant: string,
  record: RecordName,
  node = '',
): Promise<ExplainResponse> => clientOf(AuditService, 'admin', globals).explain({ tenant, record, node });

export const explanationJson = (answer: ExplainResponse): unknown =>
  snaked({ ...answer, index: Number(answer.index) });

/** Why, for a terminal; what is wrong with it goes where errors go. */
export function printExplanation(answer: ExplainResponse): void {
  const { explanation, missing, recorded } = answer;
  if (explanation) printTree(explanation);
  if (missing.length > 0)
    warn(
      `mandate: kept out of the record, so that the decision may have come about otherwise: ${missing.join(', ')}`,
    );
  if (recorded === 'differs')
    warn(
      `mandate: THIS IS NOT WHAT WAS RECORDED: ${what(answer.recordedOutcome, answer.recordedReasons)} was, now it is ${what(answer.outcome, answer.reasons)}; this is a fault of Mandate's`,
    );
}

const what = (outcome: string, reasons: readonly string[]): string =>
  reasons.length > 0 ? `${outcome} (${reasons.join(', ')})` : outcome;

/** Whether nothing is wrong: what is said now is what was recorded, and both engines say it. */
export const isSound = ({ recorded, explanation }: ExplainResponse): boolean =>
  recorded !== 'differs' && explanation?.agreement !== 'differs';
