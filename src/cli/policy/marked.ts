import { existsSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import type { Diagnostic } from '../../policy/diagnostics.ts';
import { visible } from '../terminal/visible.ts';

/** Of a larger file no line is shown. */
const MAX_BYTES = 4 * 1024 * 1024;
/** Of a line, in characters, so that a screen holds it. */
const MAX_SHOWN = 160;

interface Marked extends Diagnostic {
  readonly severity?: 'error' | 'warning' | 'note';
}

/** A mistake as its author finds it: `file:line:column: message`, the line, a caret below, what the compiler says of types. */
export function marked(diagnostic: Marked, folder: string): string {
  const { line, column, message, severity = 'error', detail = [] } = diagnostic;
  const file = placed(diagnostic.file, folder);
  const place = [file, ...(line > 0 ? [line] : []), ...(line > 0 && column !== undefined ? [column] : [])];
  const kind = severity === 'error' ? '' : `${severity}: `;
  return [
    `${place.join(':')}: ${kind}${message}`,
    ...(line > 0 && column !== undefined ? excerpt(file, line, column) : []),
    ...detail.map((each) => `    ${each}`),
  ].join('\n');
}

/** What is not among the tenant's files is the platform's, which is in none of its folders. */
export const placed = (file: string, folder: string): string =>
  existsSync(path.join(folder, file)) ? path.join(folder, file) : file;

function excerpt(file: string, line: number, column: number): string[] {
  const written = lineOf(file, line);
  if (written === undefined) return [];
  // Columns count characters, not the halves of a pair.
  const characters = Array.from(written);
  if (column < 1 || column > characters.length + 1) return [];
  const from = column > MAX_SHOWN ? column - 1 - MAX_SHOWN / 2 : 0;
  const before = shown(characters.slice(from, column - 1).join(''));
  const after = shown(characters.slice(column - 1, from + MAX_SHOWN).join(''));
  return [`    ${before}${after}`, `    ${before.replace(/[^\t]/g, ' ')}^`];
}

/** Tabs stay, and stand above the caret's own. */
const shown = (text: string): string => text.split('\t').map(visible).join('\t');

/** Undefined where the file is not there, or not what it was. */
function lineOf(file: string, line: number): string | undefined {
  try {
    const status = statSync(file);
    if (!status.isFile() || status.size > MAX_BYTES) return undefined;
    return readFileSync(file, 'utf8').split('\n')[line - 1]?.replace(/\r$/, '');
  } catch {
    return undefined;
  }
}
