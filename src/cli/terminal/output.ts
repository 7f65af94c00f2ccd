import type { Command } from 'commander';
import { visible, visibleJson, visibleLines } from './visible.ts';

/** What a script can rely on. `check` answers allow and deny; every command answers error. */
export const ExitCode = { allow: 0, deny: 1, error: 2 } as const;

export interface GlobalOptions {
  readonly json?: boolean;
  readonly data: string;
  readonly admin: string;
  readonly credential?: string;
  /** How many seconds a call may take. */
  readonly timeout: number;
}

export const globalsOf = (command: Command): GlobalOptions => command.optsWithGlobals<GlobalOptions>();

/** Text of our own making, of one line or several; what it quotes cannot act on the terminal. */
export function print(text: string): void {
  process.stdout.write(`${visibleLines(text)}\n`);
}

/** The same for what is no answer. */
export function warn(text: string): void {
  process.stderr.write(`${visibleLines(text)}\n`);
}

/**
 * A reader that has enough, as `head` has, ends the command without a word. What was answered by then stands; a command
 * that did not come so far exits like one that failed, as it would by SIGPIPE, which Node ignores.
 */
export function endWithReader(): void {
  for (const stream of [process.stdout, process.stderr])
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EPIPE') throw error;
      process.exit(process.exitCode ?? ExitCode.error);
    });
}

export function printJson(value: unknown): void {
  const bigints = (_name: string, each: unknown): unknown => (typeof each === 'bigint' ? Number(each) : each);
  printJsonText(JSON.stringify(value, bigints, 2));
}

export function printJsonText(json: string): void {
  process.stdout.write(`${visibleJson(json)}\n`);
}

/** Columns as wide as their widest cell; the last one runs free. */
export function printTable(head: readonly string[], rows: readonly (readonly string[])[]): void {
  const cells = rows.map((row) => row.map(visible));
  const widths = head.map((title, at) =>
    cells.reduce((width, row) => Math.max(width, row[at]?.length ?? 0), title.length),
  );
  for (const row of [head, ...cells])
    print(
      row
        .map((cell, at) => (at === row.length - 1 ? cell : cell.padEnd(widths[at] ?? 0)))
        .join('  ')
        .trimEnd(),
    );
}

/** Name and value, a line each, for a single thing. */
export function printFields(fields: readonly (readonly [string, string])[]): void {
  const width = Math.max(...fields.map(([name]) => name.length));
  for (const [name, value] of fields) if (value !== '') print(`${name.padEnd(width)}  ${visible(value)}`);
}
