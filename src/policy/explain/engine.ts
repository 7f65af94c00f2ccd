import { isDeepStrictEqual } from 'node:util';
import { ServiceError } from '../../errors.ts';
import type { Limits } from '../engine/instance.ts';
import { PolicyModule } from '../engine/module.ts';
import { bounds, clipped } from './bounds.ts';
import type { Agreement, EngineAnswer } from './explanation.ts';

/** What is evaluated. */
export interface Asked {
  /** Such as `mandate/decision`. */
  readonly entryPoint: string;
  /** JSON text. */
  readonly input: string;
  /** What `time.now_ns()` answers, in milliseconds. */
  readonly nowMs: number;
  /** What `rand` and `uuid` are seeded with: the decision's id. */
  readonly seed: string;
}

/** An answer with its whole result. */
export interface Whole {
  readonly answer: EngineAnswer;
  /** Undefined where there is none. */
  readonly value: unknown;
  /** Ended by a bound that another engine does not have. */
  readonly isLimited: boolean;
  /** Of the engine that serves. */
  readonly failure?: ServiceError;
}

const LIMITS: ReadonlySet<string> = new Set([
  'deadline_exceeded',
  'policy_memory_exceeded',
  'payload_too_large',
]);

/** The engine that serves, in an instance of its own: what it serves is not touched. */
export function askEngine(wasm: Uint8Array, data: string, limits: Limits, asked: Asked): Whole {
  const { entryPoint, input, nowMs, seed } = asked;
  const instance = PolicyModule.compile(wasm).instantiate(data, limits);
  try {
    const { result, cost } = instance.evaluateToJson(entryPoint, input, { nowMs, seed });
    return answered(result, cost);
  } catch (error) {
    if (!(error instanceof ServiceError)) throw error;
    const { code, message, place, detail = '' } = error;
    const said = place ? detail.slice(detail.indexOf(': ') + 2) : message;
    return {
      answer: { result: '', cost: instance.spent, code, message: place ? `${place}: ${said}` : said },
      value: undefined,
      isLimited: LIMITS.has(code),
      failure: error,
    };
  }
}

export const answered = (result: string | undefined, cost: number): Whole => ({
  answer: {
    result: clipped(result ?? '', bounds.textCharacters * 10),
    cost,
    code: '',
    message: '',
  },
  value: result === undefined ? undefined : (JSON.parse(result) as unknown),
  isLimited: false,
});

/** One that failed has no value in the other either, which says so in its own words. */
export function agreement(one: Whole, other: Whole): Agreement {
  if (one.isLimited || other.isLimited) return 'unknown';
  const [failed, otherFailed] = [one.answer.code !== '', other.answer.code !== ''];
  if (failed || otherFailed) return failed === otherFailed ? 'same' : 'differs';
  return isDeepStrictEqual(one.value, other.value) ? 'same' : 'differs';
}
