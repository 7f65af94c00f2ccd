import { BuiltinError } from '../builtin.ts';
import { formatFloat } from '../numbers/floats.ts';

const unitNanos: Readonly<Record<string, bigint>> = {
  ns: 1n,
  us: 1_000n,
  µs: 1_000n,
  μs: 1_000n,
  ms: 1_000_000n,
  s: 1_000_000_000n,
  m: 60_000_000_000n,
  h: 3_600_000_000_000n,
};

/** OPA's own units, in hours. */
const extendedHours: Readonly<Record<string, number>> = { d: 24, w: 7 * 24, y: 365 * 24 };

/** Go's time.ParseDuration with days, weeks and years. Nanoseconds. @throws BuiltinError for anything else */
export function parseDuration(text: string): bigint {
  if (!/[dwy]/.test(text)) return parseGoDuration(text);
  const segments = /^([-+]?)((?:[0-9.]+(?:ms|us|µs|ns|[a-z]))+)$/.exec(text);
  if (!segments) throw new BuiltinError('invalid duration');
  const [, sign = '', rest = ''] = segments;
  const rewritten = rest.replace(/([0-9.]+)([dwy])/g, (_, digits: string, unit: string) => {
    const hours = Number(digits) * (extendedHours[unit] ?? 0);
    if (Number.isNaN(hours)) throw new BuiltinError('invalid duration');
    return `${formatFloat(hours, 'f', undefined)}h`;
  });
  return parseGoDuration(sign + rewritten);
}

function parseGoDuration(text: string): bigint {
  const [, sign = '', rest = ''] = /^([-+]?)(.*)$/s.exec(text) ?? [];
  if (rest === '0') return 0n;
  if (!/^(?:(?:\d+(?:\.\d*)?|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))+$/.test(rest))
    throw new BuiltinError('invalid duration');
  let total = 0n;
  for (const [, whole = '', fraction = '', unit = ''] of rest.matchAll(/(\d*)\.?(\d*)([a-zµμ]+)/g)) {
    const nanos = unitNanos[unit] ?? 0n;
    const digits = fraction.slice(0, 18);
    const part = Math.trunc(Number(digits || '0') * (Number(nanos) / 10 ** digits.length));
    total += BigInt(whole || '0') * nanos + BigInt(part);
  }
  const limit = 1n << 63n;
  if (total > limit || (total === limit && sign !== '-')) throw new BuiltinError('invalid duration');
  return sign === '-' ? -total : total;
}
