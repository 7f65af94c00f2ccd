import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { Row } from './row.ts';

const results = path.join(import.meta.dirname, 'results.json');
const page = path.join(import.meta.dirname, '..', 'docs', 'figures.md');
const BEGIN = '<!-- bench:begin -->';
const END = '<!-- bench:end -->';

/** Writes bench/results.json, and the table of docs/figures.md. */
export function writeReport(rows: readonly Row[]): void {
  writeFileSync(results, `${JSON.stringify(rows, null, 2)}\n`);
  if (!existsSync(page)) return;
  const text = readFileSync(page, 'utf8');
  const [begin, end] = [text.indexOf(BEGIN), text.indexOf(END)];
  if (begin < 0 || end < begin) return;
  const table = markdown(rows);
  writeFileSync(page, `${text.slice(0, begin + BEGIN.length)}\n${table}\n${text.slice(end)}`);
}

/** The rows for a terminal. */
export function textTable(rows: readonly Row[]): string {
  const cells = [
    ['name', 'unit', 'ours', 'other', 'ratio'],
    ...rows.map((row) => [row.name, row.unit, figure(row.ours), figure(row.other), String(row.ratio)]),
  ];
  const widths = [0, 1, 2, 3, 4].map((column) => Math.max(...cells.map((line) => line[column]?.length ?? 0)));
  const line = (each: readonly string[]): string =>
    each
      .map((cell, at) => (at < 2 ? cell.padEnd(widths[at] ?? 0) : cell.padStart(widths[at] ?? 0)))
      .join('  ');
  return cells.map(line).join('\n');
}

function markdown(rows: readonly Row[]): string {
  const lines = rows.map(
    ({ name, unit, ours, other, ratio, note = '' }) =>
      `| ${name} | ${unit} | ${figure(ours)} | ${figure(other)} | ${ratio} | ${note} |`,
  );
  return ['', '| row | unit | ours | other | ratio | |', '|---|---|---:|---:|---:|---|', ...lines, ''].join(
    '\n',
  );
}

const figure = (value: number): string => value.toLocaleString('en', { maximumSignificantDigits: 4 });
