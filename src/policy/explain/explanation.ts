/** Where something stands: `file` as the author knows it, line and column count from 1. */
export interface Place {
  readonly file: string;
  readonly line: number;
  readonly column: number;
}

/** A term of an expression and what it was, as JSON; `undefined` where it was nothing. */
export interface SeenValue {
  readonly of: string;
  readonly value: string;
}

/** An expression that nothing got past. */
export interface FailedExpression extends Place {
  /** As it is written. */
  readonly text: string;
  /** What it saw, of the first time. */
  readonly values: readonly SeenValue[];
  /** How often it failed: once for each binding that came so far. */
  readonly times: number;
  /** The rules that it asked. */
  readonly because: readonly ExplainedRule[];
}

/** One body of a rule, an `else` or a default among them. */
export interface ExplainedBody extends Place {
  readonly held: boolean;
  readonly isDefault: boolean;
  /** Of one that held: what it gave, as JSON; a set's or an object's members, one each. */
  readonly gave: readonly string[];
  /** Of one that did not. */
  readonly failed?: FailedExpression | undefined;
}

/** Why a rule is not explained where it is asked once more. */
export const ABOVE = 'shown above';

export interface ExplainedRule {
  /** Such as `authz.allow`. */
  readonly name: string;
  readonly isPlatform: boolean;
  /** As JSON, cut where it is long; empty where it is undefined. */
  readonly value: string;
  /** In the order in which they were evaluated; the first that holds may be the last. */
  readonly bodies: readonly ExplainedBody[];
  /** How many bodies more there are than are shown. */
  readonly more: number;
  /** Why it is not explained whole; empty where it is. */
  readonly cut: string;
}

/** What an engine made of the input. */
export interface EngineAnswer {
  /** The entry point's value as JSON, cut where it is long; empty where it has none. */
  readonly result: string;
  /** Of the engine that serves: fuel. */
  readonly cost: number;
  /** The code of what ended the evaluation; empty where nothing did. */
  readonly code: string;
  /** What it says of that, with its place where it has one. */
  readonly message: string;
}

/** `unknown`: one of them came to no answer within its bounds. */
export type Agreement = 'same' | 'differs' | 'unknown';

/** Why a policy answered what it answered, rule by rule. */
export interface Explanation {
  /** Such as `mandate/decision`. */
  readonly entryPoint: string;
  readonly revision: string;
  /** The engine that serves. */
  readonly engine: EngineAnswer;
  /** OPA's own evaluator. */
  readonly opa: EngineAnswer;
  readonly agreement: Agreement;
  readonly rules: readonly ExplainedRule[];
  /** What a reader has to know of it. */
  readonly notes: readonly string[];
}
