import { isDeepStrictEqual } from 'node:util';
import type { TabledTest } from '../../../tenancy/folder/table.ts';
import type { Reason, Verdict } from '../../../verdict.ts';

type Expected = Pick<TabledTest, 'expect' | 'reasons' | 'challenge' | 'obligations'>;

/** What a decision was to be and is not, a line each; nothing where it is all that was asked for. */
export function unmet(expected: Expected, verdict: Verdict): string[] {
  const { outcome, reasons, challenge, obligations } = verdict;
  // Of the wrong outcome, the reasons say why it is; all else follows from it.
  if (outcome !== expected.expect)
    return [`expected ${expected.expect}, and it is ${outcome}${because(reasons)}`];
  const lines: string[] = [];
  const codes = [...new Set(reasons.map(({ code }) => code))].sort();
  if (expected.reasons && !isDeepStrictEqual([...new Set(expected.reasons)].sort(), codes))
    lines.push(`expected the reasons ${shown(expected.reasons)}, and they are ${shown(codes)}`);
  if (expected.challenge && !isDeepStrictEqual(plain(expected.challenge), plain(challenge)))
    lines.push(`expected the challenge ${shown(expected.challenge)}, and it is ${shown(challenge)}`);
  if (expected.obligations && !isDeepStrictEqual(sorted(expected.obligations), sorted(obligations)))
    lines.push(`expected the obligations ${shown(expected.obligations)}, and they are ${shown(obligations)}`);
  return lines;
}

function because(reasons: readonly Reason[]): string {
  const each = reasons.map(({ code, message }) => (message === '' ? code : `${code}: ${message}`));
  return each.length === 0 ? '' : ` (${each.join('; ').slice(0, 500)})`;
}

const shown = (value: unknown): string => JSON.stringify(value).slice(0, 500);

/** Prototypes aside, and members in any order. */
const plain = (value: unknown): unknown => JSON.parse(canonical(value));

const sorted = (values: readonly unknown[]): string[] => values.map(canonical).sort();

const canonical = (value: unknown): string =>
  JSON.stringify(value, (_name, each: unknown) =>
    typeof each === 'object' && each !== null && !Array.isArray(each)
      ? Object.fromEntries(Object.entries(each).sort(([a], [b]) => (a < b ? -1 : 1)))
      : each,
  );
