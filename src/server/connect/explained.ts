import { create, type MessageInitShape } from '@bufbuild/protobuf';
import type { ExplainedRecord } from '../../explaining/explanations.ts';
import { type ExplainResponse, ExplainResponseSchema } from '../../gen/mandate/v1/audit_pb.ts';
import type { ExplanationSchema } from '../../gen/mandate/v1/explanation_pb.ts';
import type { ExplainedRule, Explanation } from '../../policy/explain/explanation.ts';

export const explained = ({ node, index, record, compared, explanation }: ExplainedRecord): ExplainResponse =>
  create(ExplainResponseSchema, {
    node,
    index: BigInt(index),
    decisionId: record.decisionId,
    recordedOutcome: record.outcome,
    recordedReasons: [...record.reasons],
    recordedRules: [...record.rules],
    outcome: compared.outcome,
    reasons: [...compared.reasons],
    recorded: compared.recorded,
    missing: [...record.missing],
    explanation: explanationMessage(explanation),
  });

type Init = MessageInitShape<typeof ExplanationSchema>;
type RuleInit = NonNullable<Init['rules']>[number];

const explanationMessage = (explanation: Explanation): Init => {
  const { entryPoint, revision, engine, opa, agreement, rules, notes } = explanation;
  return { entryPoint, revision, engine, opa, agreement, rules: rules.map(ruleMessage), notes: [...notes] };
};

const ruleMessage = (rule: ExplainedRule): RuleInit => ({
  ...rule,
  bodies: rule.bodies.map(({ failed, gave, ...body }) => ({
    ...body,
    gave: [...gave],
    ...(failed && {
      failed: { ...failed, values: [...failed.values], because: failed.because.map(ruleMessage) },
    }),
  })),
});
