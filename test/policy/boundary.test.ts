import { describe, expect, test } from 'vitest';
import { diagnosed } from './sources.ts';

/** A tenant's Rego stays within its own packages and the platform's library, however it spells a reference. */

const module = (body: string, imports = ''): string => `package authz.own\n\n${imports}\n\n${body}\n`;

const refused: Record<string, string> = {
  'declares package mandate.guardrails': 'package mandate.guardrails\n\nx := 1\n',
  'declares package mandate': 'package mandate\n\ndecision := {"outcome": "allow"}\n',
  'declares package mandate.lib': 'package mandate.lib\n\nx := 1\n',
  'declares a package below the platform': 'package mandate.decide.own\n\nx := 1\n',
  'declares a package in brackets': 'package mandate["decide"]\n\nx := 1\n',
  'declares a package of its own making': 'package other\n\nx := 1\n',
  'declares a package that begins like its own': 'package authzother\n\nx := 1\n',
  'imports a package of the platform': module('x := guardrails.denials', 'import data.mandate.guardrails'),
  'imports it under another name': module('x := g.denials', 'import data.mandate.guardrails as g'),
  'imports the whole platform': module('x := mandate.tenant', 'import data.mandate'),
  'imports it in brackets': module('x := g', 'import data["mandate"]["guardrails"] as g'),
  'imports it and does not use it': module('x := 1', 'import data.mandate.decide'),
  'imports data itself': module('x := d.mandate', 'import data as d'),
  'names it with dots': module('x := data.mandate.guardrails.denials'),
  'names it in brackets': module('x := data["mandate"]["guardrails"].denials'),
  'names it in a raw string': module('x := data[`mandate`].guardrails.denials'),
  'names it half in brackets': module('x := data.mandate["tenant"].actions'),
  'names it with an escape': module('x := data["\\u006dandate"].tenant'),
  'reads whatever is under the platform': module('x contains y if {\n\tsome n\n\ty := data.mandate[n]\n}'),
  'reads data by a variable': module('x := data[n] if n := "mandate"'),
  'reads data by an argument': module('f(n) := data[n]\n\nx := f("mandate")'),
  'reads data by the input': module('x := data[input.action.name]'),
  'reads data by a call': module('x := data[concat("", ["man", "date"])]'),
  'reads all of data': module('x := data'),
  'counts data': module('x := count(data)'),
  'walks data': module('x contains p if walk(data, [p, _])'),
  'iterates over data': module('x contains n if some n, _ in data'),
  'takes data as a default argument of object.get': module('x := object.get(data, ["mandate", "tenant"], 0)'),
  'hides data in an array': module('x := [data][0].mandate'),
  'hides it in an object': module('x := {"d": data}.d.mandate'),
  'hides it in a comprehension': module('x := [v | v := data.mandate.tenant]'),
  'hides it in a set': module('x := {data.mandate.tenant}'),
  'hides it in a condition': module('x if not data.mandate.guardrails.denials'),
  'hides it in every': module('x if every v in [1] { data.mandate.tenant.actions[v] }'),
  'hides it in else': module('x := 1 if false\n\nelse := data.mandate.tenant'),
  'hides it in a head': module('x[data.mandate.tenant.actions] := 1 if true'),
  'hides it in an index': module('x := input.context[data.mandate.tenant.actions]'),
  'hides it in an argument of a function': module('f(x) := x\n\ny := f(data.mandate.tenant)'),
  'hides it in a template string': module('x := $"{data.mandate.tenant.actions}"'),
  'replaces a guardrail with "with"': module(
    'x if data.authz.allow with data.mandate.guardrails.denials as set()',
  ),
  'replaces it in brackets': module('x if data.authz.allow with data["mandate"].guardrails as {}'),
  'replaces all of data': module('x if data.authz.allow with data as {}'),
  'replaces something by it': module('x if data.authz.allow with input as data.mandate.tenant'),
};

const accepted: Record<string, string> = {
  'reads the library of the platform': module('x if lib.delegated', 'import data.mandate.lib'),
  'reads it by its full name': module('x if data.mandate.lib.has_role("reader")'),
  'reads it in brackets': module('x if data["mandate"]["lib"].delegated'),
  'reads its own packages': module('x := data.authz.allow\n\ny := data.delegation.allow'),
  'reads its own data by name': module('x := data.departments.sales'),
  'has a field that is called data or mandate': module(
    'x := input.context.data.mandate\n\ny := {"mandate": 1}',
  ),
  'declares a package below its own': 'package delegation.limits.hours\n\nx := 1\n',
};

describe('a module of a tenant is refused that', () => {
  test.concurrent.each(Object.keys(refused))('%s', async (name) => {
    const found = await diagnosed({ 'attack.rego': refused[name] ?? '' });
    expect(found.length).toBeGreaterThan(0);
    for (const { file, message } of found) {
      expect(file).toBe('attack.rego');
      // OPA itself says so where what is read holds what reads it.
      expect(message).toMatch(
        /is the platform's|by its full name|a tenant's package is|rego_recursion_error/,
      );
    }
  });
});

describe('a module of a tenant is accepted that', () => {
  test.concurrent.each(Object.keys(accepted))('%s', async (name) => {
    expect(await diagnosed({ 'own.rego': accepted[name] ?? '' })).toEqual([]);
  });
});

describe('what a decision must not depend on does not compile:', () => {
  test.concurrent.each([
    'http.send({"method": "get", "url": "http://127.0.0.1"})',
    'net.lookup_ip_addr("localhost")',
    'opa.runtime()',
    'rego.parse_module("a", "package a")',
    'internal.test_case(["a"])',
  ])('%s', async (call) => {
    const found = await diagnosed({ 'own.rego': module(`x := ${call}`) });
    const name = call.slice(0, call.indexOf('('));
    expect(found).toContainEqual(
      expect.objectContaining({
        file: 'own.rego',
        line: 5,
        message: expect.stringMatching(new RegExp(`^rego_type_error: ${name} is not there: .{20}`)) as string,
      }),
    );
  });
});
