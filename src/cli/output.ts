import type { Command } from 'commander';

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

export function print(text: string): void {
  process.stdout.write(`${text}\n`);
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
  print(JSON.stringify(value, (_name, each: unknown) => (typeof each === 'bigint' ? Number(each) : each), 2));
}

/** Columns as wide as their widest cell; the last one runs free. */
export function printTable(head: readonly string[], rows: readonly (readonly string[])[]): void {
  const widths = head.map((title, at) => Math.max(title.length, ...rows.map((row) => row[at]?.length ?? 0)));
  for (const row of [head, ...rows])
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
  for (const [name, value] of fields) if (value !== '') print(`${name.padEnd(width)}  ${value}`);
}
