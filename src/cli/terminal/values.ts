import { InvalidArgumentError } from 'commander';
import { ServiceError } from '../../errors.ts';

/** `a:b` as two parts; the second may hold more colons. Throws `invalid_request`. */
export function keyed(text: string, option: string, form: string): [string, string] {
  const colon = text.indexOf(':');
  if (colon < 1 || colon === text.length - 1)
    throw new ServiceError('invalid_request', `${option} is ${form}, not ${text}`);
  return [text.slice(0, colon), text.slice(colon + 1)];
}

/** For commander, which names the option and says what is wrong itself. */
export const wholeNumber =
  (least: number, most = Number.MAX_SAFE_INTEGER) =>
  (text: string): number => {
    const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
    if (value >= least && value <= most) return value;
    const range = most === Number.MAX_SAFE_INTEGER ? `${least} on` : `${least} to ${most}`;
    throw new InvalidArgumentError(`It is a whole number from ${range}.`);
  };

/** For commander too. */
export function jsonObject(text: string): Record<string, unknown> {
  const value = parsed(text);
  if (isObject(value)) return value;
  throw new InvalidArgumentError('not a JSON object.');
}

const UNITS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3_600, d: 86_400 };

const secondsIn = (text: string): number | undefined => {
  const found = /^(\d{1,6})([smhd])$/.exec(text);
  return found ? Number(found[1]) * (UNITS[found[2] ?? ''] ?? 0) : undefined;
};

/** For commander: `30s`, `15m`, `24h` or `7d`, in seconds. */
export function duration(text: string): number {
  const seconds = secondsIn(text);
  if (seconds === undefined) throw new InvalidArgumentError('It is a time such as 30s, 15m, 24h or 7d.');
  return seconds;
}

/** An RFC 3339 time to come, or how long from `now` on. Milliseconds since the epoch. Throws `invalid_request`. */
export function untilWhen(text: string, now: number): number {
  const seconds = secondsIn(text);
  const time = seconds === undefined ? Date.parse(text) : now + seconds * 1_000;
  if (time > now) return time;
  throw new ServiceError('invalid_request', `${text} is neither a time to come nor one such as 90d`);
}

/** For commander: `exports=5`, once for each. */
export function budgetOption(text: string, before: Record<string, number> = {}): Record<string, number> {
  const [, meter = '', most = ''] = /^(\w+)=(\d+(?:\.\d+)?)$/.exec(text) ?? [];
  if (meter === '' || meter in before)
    throw new InvalidArgumentError('It is a meter and a number such as exports=5, once for each.');
  return { ...before, [meter]: Number(most) };
}

/** For commander too. */
export function jsonObjects(text: string): Record<string, unknown>[] {
  const value = parsed(text);
  if (Array.isArray(value) && value.every(isObject)) return value;
  throw new InvalidArgumentError('not a JSON array of objects.');
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

/** An RFC 3339 time, or an age such as 15m, 2h or 7d. Milliseconds since the epoch. Throws `invalid_request`. */
export function moment(text: string, now: number): number {
  const age = secondsIn(text);
  if (age !== undefined) return now - age * 1_000;
  const time = Date.parse(text);
  if (Number.isNaN(time))
    throw new ServiceError('invalid_request', `${text} is neither a time nor an age such as 15m`);
  return time;
}
