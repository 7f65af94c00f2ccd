import type { Source, Span } from '../source.ts';
import type { Place } from './plan.ts';

/** From a place to where it ends, the end left out. */
export interface Range {
  readonly start: Place;
  readonly end: Place;
}

/** What `opa test --coverage` tells of a file (v1/cover.FileReport), and what is not counted. */
export interface FileCoverage {
  readonly covered: readonly Range[];
  readonly not_covered: readonly Range[];
  /** Expressions of which it cannot be told whether they were reached. */
  readonly not_counted?: readonly Range[];
  readonly covered_lines: number;
  readonly not_covered_lines: number;
  /** Percent. */
  readonly coverage: number;
}

export interface CoverageReport {
  /** By path in the tenant's folder. */
  readonly files: Readonly<Record<string, FileCoverage>>;
  readonly covered_lines: number;
  readonly not_covered_lines: number;
  readonly not_counted: number;
  readonly coverage: number;
}

/** What is known of a file, in its text. */
export interface Counted {
  readonly source: Source;
  readonly covered: readonly Span[];
  readonly missed: readonly Span[];
  readonly uncounted: readonly Span[];
}

/** Lines as OPA counts them: those that a range touches, and one may be covered and not (v1/cover/cover.go). */
export function coverageOf(files: ReadonlyMap<string, Counted>): CoverageReport {
  const told = [...files].map(([file, counted]) => [file, fileOf(counted)] as const);
  const sum = (of: (each: FileCoverage) => number): number =>
    told.reduce((total, [, each]) => total + of(each), 0);
  const covered = sum((each) => each.covered_lines);
  const missed = sum((each) => each.not_covered_lines);
  return {
    files: Object.fromEntries(told),
    covered_lines: covered,
    not_covered_lines: missed,
    not_counted: sum((each) => each.not_counted?.length ?? 0),
    coverage: percent(covered, missed),
  };
}

function fileOf({ source, covered, missed, uncounted }: Counted): FileCoverage {
  const reached = rangesOf(source, covered);
  const ranges = rangesOf(source, missed);
  const [lines, open] = [linesOf(reached).size, linesOf(ranges).size];
  return {
    covered: reached,
    not_covered: ranges,
    ...(uncounted.length === 0 ? {} : { not_counted: rangesOf(source, uncounted) }),
    covered_lines: lines,
    not_covered_lines: open,
    coverage: percent(lines, open),
  };
}

const percent = (covered: number, missed: number): number =>
  covered + missed === 0 ? 0 : (100 * covered) / (covered + missed);

function rangesOf(source: Source, spans: readonly Span[]): Range[] {
  const ranges = spans.map(({ start, end }) => ({
    start: source.position(start),
    end: source.position(end),
  }));
  return ranges.sort((a, b) => a.start.row - b.start.row || a.start.col - b.start.col);
}

function linesOf(ranges: readonly Range[]): Set<number> {
  const lines = new Set<number>();
  for (const { start, end } of ranges) for (let row = start.row; row <= end.row; row += 1) lines.add(row);
  return lines;
}

/** For people: what share of the lines, and which were missed. */
export function coverageText({
  files,
  coverage,
  covered_lines,
  not_covered_lines,
  not_counted,
}: CoverageReport): string {
  const lines = [
    `coverage: ${coverage.toFixed(2)} % of the lines, on the engine that serves (${covered_lines} covered, ${not_covered_lines} not)`,
  ];
  for (const [file, { not_covered }] of Object.entries(files))
    for (const [start, end] of stretchesOf(not_covered))
      lines.push(`  tenant/${file}:${start === end ? start : `${start}-${end}`}`);
  if (not_counted > 0) {
    lines.push(`not counted, because it cannot be told whether they were reached: ${not_counted}`);
    for (const [file, { not_counted: spans = [] }] of Object.entries(files))
      for (const { start } of spans) lines.push(`  tenant/${file}:${start.row}:${start.col}`);
  }
  return lines.map((line) => `${line}\n`).join('');
}

/** First and last line of each run of lines. */
function stretchesOf(ranges: readonly Range[]): [number, number][] {
  const runs: [number, number][] = [];
  for (const row of [...linesOf(ranges)].sort((a, b) => a - b)) {
    const last = runs.at(-1);
    if (last && last[1] === row - 1) last[1] = row;
    else runs.push([row, row]);
  }
  return runs;
}
