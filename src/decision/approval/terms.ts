import type { JsonObject } from '../request.ts';

/** On which terms a policy lets something be approved: what its challenge of type `approval` says. */
export interface Terms {
  /** How long a request waits to be decided. In milliseconds, as below. */
  readonly waitsMs: number;
  /** How long an approval may be used. */
  readonly validMs: number;
  readonly uses: number;
  /** The members of the context that are approved with the rest; others may change. */
  readonly bound: readonly string[];
  /** The tenant's name for how it is decided; empty for none. */
  readonly template: string;
  /** Hints for people (`context.access_request.display`). */
  readonly display: JsonObject | undefined;
}

/** How long after a denial approval may be asked for, in milliseconds. */
export const REQUESTABLE_MS = 600_000;

const HOUR = 3_600;
const DAY = 24 * HOUR;
/** Both together are shorter than grants are kept, which are looked at when an approval is used. In seconds. */
const LONGEST_WAIT = 3 * DAY;
const LONGEST_VALID = DAY;
const MOST_USES = 1_000;
const MOST_BOUND = 32;
const MAX_NAME = 256;

const USUAL = { expires_in: HOUR, valid_for: HOUR / 6, uses: 1 };

/**
 * Undefined where the challenge is no approval, and where one of these members is not of its form: nobody can tell then
 * what its author meant to be approved, so nothing can be.
 */
export function termsOf(challenge: JsonObject | undefined): Terms | undefined {
  if (challenge?.['type'] !== 'approval') return undefined;
  const { expires_in, valid_for, uses } = { ...USUAL, ...challenge };
  const { context = [], template = '', display } = challenge;
  if (!isWhole(expires_in, LONGEST_WAIT) || !isWhole(valid_for, LONGEST_VALID) || !isWhole(uses, MOST_USES))
    return undefined;
  if (!Array.isArray(context) || context.length > MOST_BOUND || !context.every(isName)) return undefined;
  if (template !== '' && !isName(template)) return undefined;
  if (display !== undefined && !isObject(display)) return undefined;
  return {
    waitsMs: expires_in * 1_000,
    validMs: valid_for * 1_000,
    uses,
    bound: [...new Set(context)].sort(),
    template,
    display,
  };
}

const isWhole = (value: unknown, most: number): value is number =>
  Number.isSafeInteger(value) && (value as number) >= 1 && (value as number) <= most;

const isName = (value: unknown): value is string =>
  typeof value === 'string' && value !== '' && value.length <= MAX_NAME;

const isObject = (value: unknown): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
