import { type ErrorCode, ServiceError } from './errors.ts';

type JsonObject = { readonly [name: string]: unknown };

export type Outcome = 'allow' | 'deny' | 'challenge';

/** As it stands in records, and over AuthZEN. */
export interface Reason {
  readonly code: string;
  readonly message: string;
  /** The scopes that the action takes, where some are missing (RFC 6750 section 3.1). */
  readonly needed_scopes?: readonly string[];
}

/** What the policy said, in a shape that can be relied on. */
export interface Verdict {
  readonly outcome: Outcome;
  readonly reasons: readonly Reason[];
  readonly rules: readonly string[];
  readonly obligations: readonly JsonObject[];
  readonly challenge: JsonObject | undefined;
  /** Of an exchange that is allowed: what it is narrowed to, as the policy wrote it (`delegation/limits.ts` reads it). */
  readonly limits?: unknown;
  /** `rules` and `reasons` as members of a record, where they were put into words before. */
  readonly text?: string | undefined;
}

const MAX_REASONS = 64;
/** Of its JSON, in characters: it travels in headers too. */
const MAX_CHALLENGE = 4_096;

export const TENANT_KILLED = 'the tenant was killed: nothing is allowed in it until it is restored';

const NOT_ALLOWED: Reason = { code: 'not_allowed', message: 'no rule allows it' };
const UNDEFINED: Reason = { code: 'policy_undefined', message: 'the policy does not define a boolean allow' };
const NONE: readonly never[] = [];

/**
 * Reads the result of a platform entry point (`policies/platform/decision.rego`); `authors` is the package whose rules
 * it combined. Throws `policy_failed` on any other shape: it decides nothing.
 */
export function readVerdict(result: unknown, authors: string): Verdict {
  if (result === 'allow') return plainly.allow(authors);
  if (result === 'deny') return plainly.deny(authors);
  if (isObject(result)) {
    const reasons = list(result['reasons']).map(readReason);
    switch (result['outcome']) {
      case 'allow':
        return {
          outcome: 'allow',
          reasons: reasons.slice(0, MAX_REASONS),
          rules: [`${authors}.allow`],
          obligations: obligationsOn('allow', result),
          challenge: undefined,
          limits: result['limits'],
        };
      case 'challenge':
        if (!isObject(result['challenge'])) break;
        if (JSON.stringify(result['challenge']).length > MAX_CHALLENGE)
          throw new ServiceError(
            'policy_failed',
            `the policy gave a challenge of more than ${MAX_CHALLENGE} characters`,
          );
        return {
          outcome: 'challenge',
          reasons: reasons.slice(0, MAX_REASONS),
          rules: [`${authors}.challenge`],
          obligations: obligationsOn('challenge', result),
          challenge: result['challenge'],
        };
      case 'deny':
        return readDeny(result, reasons, authors);
    }
  }
  throw new ServiceError('policy_failed', 'the policy gave no decision', {
    detail: 'no outcome in its result',
  });
}

/** What most decisions come to, word for word the same: made once for each package of authors. */
const plainly = {
  allow: oncePer((rules) => ({
    outcome: 'allow',
    reasons: NONE,
    rules,
    obligations: NONE,
    challenge: undefined,
  })),
  deny: oncePer((rules) => ({
    outcome: 'deny',
    reasons: [NOT_ALLOWED],
    rules,
    obligations: NONE,
    challenge: undefined,
  })),
};

/** JSON members of a record that tell by which rules it was decided and why. */
export const verdictText = ({ rules, reasons }: Verdict): string =>
  `,"rules":${JSON.stringify(rules)},"reasons":${JSON.stringify(reasons)}`;

function oncePer(make: (rules: readonly string[]) => Verdict): (authors: string) => Verdict {
  const made = new Map<string, Verdict>();
  return (authors) => {
    const known = made.get(authors);
    if (known) return known;
    const plain = make([`${authors}.allow`]);
    const verdict = { ...plain, text: verdictText(plain) };
    made.set(authors, verdict);
    return verdict;
  };
}

function readDeny(result: JsonObject, reasons: readonly Reason[], authors: string): Verdict {
  const guarded = list(result['guarded']).map(readReason);
  const denied = list(result['denied']).map(readReason);
  const rules: string[] = [];
  if (guarded.length > 0) rules.push('mandate.guardrails');
  if (denied.length > 0) rules.push(`${authors}.deny`);
  const why = [...guarded, ...denied];
  if (why.length === 0) {
    why.push(result['undefined'] === true ? UNDEFINED : NOT_ALLOWED);
    rules.push(`${authors}.allow`);
  }
  const all = [...why, ...reasons].slice(0, MAX_REASONS);
  return {
    outcome: 'deny',
    reasons: all,
    rules,
    obligations: obligationsOn('deny', result),
    challenge: undefined,
  };
}

/** A deny that the platform itself gives, with its code as the reason. */
export const refusal = (code: ErrorCode, message: string, rule = 'mandate.core'): Verdict => ({
  outcome: 'deny',
  reasons: [{ code, message }],
  rules: [rule],
  obligations: [],
  challenge: undefined,
});

/** Authors may give a reason as a code alone, or as {code, message, needed_scopes}. */
function readReason(value: unknown): Reason {
  if (typeof value === 'string') return { code: value, message: '' };
  if (!isObject(value) || typeof value['code'] !== 'string')
    return { code: 'unspecified', message: JSON.stringify(value).slice(0, 200) };
  const { code, message, needed_scopes: scopes } = value;
  const reason = { code, message: typeof message === 'string' ? message : '' };
  return areScopes(scopes) ? { ...reason, needed_scopes: scopes } : reason;
}

const MAX_SCOPES = 16;

/** RFC 6749 section 3.3. They are told in headers. */
const areScopes = (value: unknown): value is readonly string[] =>
  Array.isArray(value) &&
  value.length > 0 &&
  value.length <= MAX_SCOPES &&
  value.every((each) => typeof each === 'string' && /^[\x21\x23-\x5b\x5d-\x7e]{1,256}$/.test(each));

/** An obligation binds the one who acts on an allow, unless its member `on` names another outcome. */
function obligationsOn(outcome: Outcome, result: JsonObject): readonly JsonObject[] {
  const obligations = list(result['obligations']);
  if (obligations.length === 0) return NONE;
  return obligations.map(readObligation).filter((each) => (each['on'] ?? 'allow') === outcome);
}

function readObligation(value: unknown): JsonObject {
  if (isObject(value)) return value;
  throw new ServiceError('policy_failed', 'the policy gave an obligation that is not an object');
}

const list = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : NONE);

const isObject = (value: unknown): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
