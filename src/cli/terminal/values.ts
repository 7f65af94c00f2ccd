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
  const age = /^(\d{1,6})([smhd])$/.exec(text);
  if (age)
    return now - Number(age[1]) * { s: 1e3, m: 6e4, h: 36e5, d: 864e5 }[age[2] as 's' | 'm' | 'h' | 'd'];
  const time = Date.parse(text);
  if (Number.isNaN(time))
    throw new ServiceError('invalid_request', `${text} is neither a time nor an age such as 15m`);
  return time;
}
