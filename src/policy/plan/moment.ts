import type { Syntax } from '../testing/syntax.ts';
import { refOf, termsIn, Unplannable } from './rego.ts';

const CALL = /^time\.now_ns\(\s*\)/;

/**
 * A module in which the time is a number: the evaluator has a clock of its own, and a decision has not. The parser says where it
 * is asked for; what stands there otherwise, such as its replacement by `with`, is nothing that can be told. Throws
 * `Unplannable`.
 */
export function atMoment(text: string, syntax: Syntax, nowMs: number): string {
  const lines = text.split('\n');
  const places = new Map<string, { row: number; col: number }>();
  for (const term of termsIn(syntax.rules ?? [])) {
    const ref = refOf(term);
    if (ref?.map(({ value }) => value).join('.') !== 'time.now_ns') continue;
    const { location } = ref[0] as unknown as { location: { row: number; col: number } };
    places.set(`${location.row}:${location.col}`, location);
  }
  // From the end of a line to its beginning, so that what is yet to come stays where it is.
  for (const { row, col } of [...places.values()].sort((a, b) => b.col - a.col)) {
    // Columns count bytes.
    const line = Buffer.from(lines[row - 1] ?? '');
    const [before, after] = [line.subarray(0, col - 1).toString(), line.subarray(col - 1).toString()];
    if (!CALL.test(after))
      throw new Unplannable('time.now_ns has no counterpart in a filter where it is not called');
    lines[row - 1] = `${before}${after.replace(CALL, `${nowMs}000000`)}`;
  }
  return lines.join('\n');
}
