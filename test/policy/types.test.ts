import { execFileSync } from 'node:child_process';
import { expect, test } from 'vitest';
import { readConfig } from '../../src/config.ts';
import { diagnosticsOf } from '../../src/policy/diagnostics.ts';
import { withFolder } from './sources.ts';

/** What types a mistake has and wants is written as the compiler writes it: its own text is the reference. */

const { opa } = readConfig({ MANDATE_OPA: process.env['MANDATE_OPA'] });

function check(folder: string, ...args: string[]): string {
  try {
    return execFileSync(opa, ['check', ...args, folder], { encoding: 'utf8', stdio: 'pipe' });
  } catch (error) {
    return (error as { stderr: string }).stderr;
  }
}

test.each([
  'startswith(input.action, 1)',
  'startswith([1], 1)',
  'count(3) == 2',
  'x := "a" + 1',
  'f("a", 2)',
  'sprintf("%s", 3)',
  'x := {"k": [1, null, true], "l": {1, 2}}; lower(x)',
  'x := [i | i := 3]; lower(x)',
  'x := {i: "a" | i := 3}; lower(x)',
  'object.get(1, 2, 3)',
  'concat(",", 3, x)',
  'x := [1, "a", {"a": {1, {"b": set()}}}]; upper(x)',
  'x := [1, 2]; count(x, 3, 4)',
  'x := json.patch({}, 3)',
  '1 == "a"',
  'lower(json.unmarshal(1))',
])('%s', async (body) => {
  await withFolder({ 'a.rego': `package a\n\nf(x, y) := x + y\n\nb if { ${body} }\n` }, async (folder) => {
    const [found] = diagnosticsOf(check(folder, '-f', 'json'));
    const text = check(folder)
      .split('\n')
      .filter((line) => line.startsWith('\t'))
      .map((line) => line.slice(1));
    expect(text.length).toBe(2);
    // On its own output it leaves out what is long.
    const told = text.map(
      (line) =>
        new RegExp(
          `^${line
            .split('...')
            .map((part) => RegExp.escape(part))
            .join('.+')}$`,
        ),
    );
    expect(found?.detail).toEqual(told.map((line) => expect.stringMatching(line) as string));
    expect(found).toMatchObject({ line: 5, column: expect.any(Number) as number });
  });
});
