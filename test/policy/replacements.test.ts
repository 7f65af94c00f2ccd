import { describe, expect, test } from 'vitest';
import { diagnosed } from './sources.ts';

/** OPA's compiler to WebAssembly gives a value to the wrong document where a function is replaced before it. */

const own =
  'package authz.own\n\nimport data.authz.more as m\n\nf(x) := x\n\nd := data.roles\n\na if f(input.now)\n';
const more = 'package authz.more\n\ng.h(x) := x\n\ndoc := 1\n';

const found = async (line: string): Promise<(string | number)[]> =>
  (await diagnosed({ 'more.rego': more, 'own.rego': `${own}\n${line}\n` })).flatMap(
    ({ file, line: at, message }) => [file, at, /^with (\S+) stands before/.exec(message)?.[1] ?? message],
  );

describe('what decides is refused where it replaces a function before a document:', () => {
  test.concurrent.each([
    ['its own', 'x if a with f as 1 with input.now as 2', 'f'],
    ['by its full name', 'x if a with data.authz.own.f as 1 with input.now as 2', 'data.authz.own.f'],
    ['by an import', 'x if a with m.g.h as 1 with data.roles as 2', 'm.g.h'],
    ['a built-in', 'x if a with count as 1 with d as 2', 'count'],
    ['a built-in with a dot', 'x if a with json.is_valid as true with input as {}', 'json.is_valid'],
    [
      'the platform’s',
      'x if a with data.mandate.lib.has_role as true with input.now as 1',
      'data.mandate.lib.has_role',
    ],
    ['between two', 'x if a with input.now as 1 with f as 1 with data.roles as 2', 'f'],
    ['in a comprehension', 'x := [y | y := a with f as 1 with input.now as 2]', 'f'],
    ['before a rule of another package', 'x if a with f as 1 with m.doc as 2', 'f'],
  ])('%s', async (_name, rule, misplaced) => {
    expect(await found(rule)).toEqual(['own.rego', 11, misplaced]);
  });

  test.concurrent.each([
    ['behind', 'x if a with input.now as 2 with f as 1'],
    ['without any', 'x if a with f as 1 with m.g.h as 2'],
    ['after documents that are named like one', 'x if a with data.roles.f as 1 with input.context.f as 2'],
    ['in another expression', 'x if { a with f as 1; a with input.now as 2 }'],
  ])('and not %s', async (_name, rule) => {
    expect(await found(rule)).toEqual([]);
  });
});
