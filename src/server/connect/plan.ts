import type { MessageInitShape } from '@bufbuild/protobuf';
import type { HandlerContext, ServiceImpl } from '@connectrpc/connect';
import type { Plans } from '../../decision/plan.ts';
import {
  ConditionOp,
  type ConditionSchema,
  type DecisionService,
  PlanOutcome,
  type PlanRequest,
} from '../../gen/mandate/v1/decision_pb.ts';
import type { PlanMade } from '../../policy/plan/by-revision.ts';
import type { Condition, Value } from '../../policy/plan/condition.ts';
import type { Callers } from '../../tenancy/callers.ts';
import type { Tenants } from '../../tenancy/tenants.ts';
import { admit } from './context.ts';
import { proto, reasonMessage } from './messages.ts';

export interface PlanParts {
  readonly tenants: Tenants;
  readonly callers: Callers;
  readonly plans: Plans<PlanMade>;
}

export const planMethod = (parts: PlanParts): Pick<ServiceImpl<typeof DecisionService>, 'plan'> => ({
  async plan(message: PlanRequest, context: HandlerContext) {
    const { tenant, caller } = await admit(parts, context, message.tenant, 'check');
    const { principal, resourceType, properties, proof, action, audience } = message;
    const { plan, reasons, decisionId, revision, recordIndex } = await parts.plans.plan(tenant, caller, {
      subject: principal.case === 'subject' ? principal.value : undefined,
      token: principal.case === 'subjectToken' ? principal.value : undefined,
      proof,
      action,
      resource: { type: resourceType, properties },
      context: message.context,
      audience,
    });
    const isOpen = plan !== undefined && plan.always === undefined;
    return {
      outcome: isOpen
        ? PlanOutcome.CONDITIONAL
        : plan?.always
          ? PlanOutcome.ALWAYS_ALLOWED
          : PlanOutcome.ALWAYS_DENIED,
      ...(isOpen ? { condition: conditionMessage(plan.condition) } : {}),
      obligations: (plan?.always === false ? [] : (plan?.obligations ?? [])).map(({ obligation, when }) => ({
        obligation: proto(obligation as { [name: string]: unknown }),
        ...(when.op === 'constant' ? {} : { when: conditionMessage(when) }),
      })),
      reasons: reasons.map(reasonMessage),
      decisionId,
      policyRevision: revision,
      recordIndex: BigInt(recordIndex),
    };
  },
});

type ConditionInit = MessageInitShape<typeof ConditionSchema>;

/** The operators by name, both ways. */
export const operators = {
  and: ConditionOp.AND,
  or: ConditionOp.OR,
  not: ConditionOp.NOT,
  any: ConditionOp.ANY,
  eq: ConditionOp.EQ,
  ne: ConditionOp.NE,
  lt: ConditionOp.LT,
  le: ConditionOp.LE,
  gt: ConditionOp.GT,
  ge: ConditionOp.GE,
  in: ConditionOp.IN,
  contains: ConditionOp.CONTAINS,
  starts_with: ConditionOp.STARTS_WITH,
  ends_with: ConditionOp.ENDS_WITH,
  contains_text: ConditionOp.CONTAINS_TEXT,
  exists: ConditionOp.EXISTS,
  constant: ConditionOp.CONSTANT,
} as const satisfies Record<Condition['op'], ConditionOp>;

function conditionMessage(condition: Condition): ConditionInit {
  const op = operators[condition.op];
  switch (condition.op) {
    case 'and':
    case 'or':
      return { op, conditions: condition.of.map(conditionMessage) };
    case 'not':
      return { op, conditions: [conditionMessage(condition.of)] };
    case 'any':
      return {
        op,
        attribute: [...condition.attribute],
        element: condition.element,
        conditions: [conditionMessage(condition.of)],
      };
    case 'constant':
      return { op, value: valueMessage(condition.value) };
    case 'exists':
      return { op, attribute: [...condition.attribute] };
    case 'in':
      return { op, attribute: [...condition.attribute], values: condition.values.map(valueMessage) };
    default:
      return { op, attribute: [...condition.attribute], value: valueMessage(condition.value) };
  }
}

function valueMessage(value: Value) {
  if (value === null) return { kind: { case: 'nullValue' as const, value: 0 } };
  if (typeof value === 'string') return { kind: { case: 'stringValue' as const, value } };
  if (typeof value === 'number') return { kind: { case: 'numberValue' as const, value } };
  return { kind: { case: 'boolValue' as const, value } };
}
