/** A command of a page, and the lines that the page shows after it. */
export interface Step {
  readonly command: string;
  readonly output: readonly string[];
}

/** Those of the `console` blocks. Commands begin with `$ `; the lines after one are its output. */
export function stepsIn(page: string): Step[] {
  const steps: { command: string; output: string[] }[] = [];
  for (const [, block = ''] of page.matchAll(/^```console\n(.*?)^```$/gms))
    for (const line of block.split('\n').filter((each) => each !== ''))
      if (line.startsWith('$ ')) steps.push({ command: line.slice(2), output: [] });
      else steps.at(-1)?.output.push(line);
  return steps;
}

/** `…` stands for anything, a run of blanks for any other run of blanks. */
export const patternOf = (line: string): RegExp =>
  new RegExp(
    `^${line
      .split('…')
      .map((part) =>
        part
          .split(/\s+/)
          .map((word) => RegExp.escape(word))
          .join('\\s+'),
      )
      .join('.*')}$`,
  );
