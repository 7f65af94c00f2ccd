import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { hostBuiltins } from '../../../src/policy/engine/builtins/index.ts';
import {
  capabilitiesFor,
  deniedBuiltins,
  type OpaCapabilities,
} from '../../../src/policy/engine/capabilities.ts';
import { PolicyModule } from '../../../src/policy/engine/module.ts';
import { buildWasm, context, limits, opaBinary } from './opa.ts';

const current = JSON.parse(
  execFileSync(opaBinary, ['capabilities', '--current'], { encoding: 'utf8' }),
) as OpaCapabilities;
const available = capabilitiesFor(current);
const folder = mkdtempSync(join(tmpdir(), 'mandate-capabilities-'));
const file = join(folder, 'capabilities.json');
writeFileSync(file, JSON.stringify(available));
afterAll(() => rmSync(folder, { recursive: true }));

describe('capabilitiesFor', () => {
  test('allows no network and none of the denied built-ins', () => {
    expect(available.allow_net).toEqual([]);
    const names = available.builtins.map(({ name }) => name);
    for (const denied of deniedBuiltins) expect(names.filter((name) => name === denied)).toEqual([]);
  });

  test('names only built-ins that the compiler has', () => {
    const names = new Set(current.builtins.map(({ name }) => name));
    expect([...hostBuiltins.keys()].filter((name) => !names.has(name))).toEqual([]);
  });

  test.each([
    'http.send({"method": "get", "url": "x"})',
    'net.lookup_ip_addr("x")',
    'opa.runtime()',
    'rego.parse_module("a", "package a")',
  ])('fails to compile %s with the compiler’s own message', async (expression) => {
    const build = buildWasm(`package test\n\np := ${expression}\n`, ['test/p'], ['--capabilities', file]);
    await expect(build).rejects.toThrow(/undefined function/);
  });

  test('compiles what is available, print included', async () => {
    const module = 'package test\n\np if {\n  print("hello")\n  sprintf("%d", [1]) == "1"\n}\n';
    expect((await buildWasm(module, ['test/p'], ['--capabilities', file])).length).toBeGreaterThan(0);
  });

  /** The keywords of Rego v2, which a policy imports. */
  test('`and`, `or` and the new `not` decide as OPA says', async () => {
    const rules = [
      'p if input.a and input.b',
      'q if input.a or input.b',
      'r if (input.a and input.n == 2) or input.b',
      's if input.a or input.b and input.missing',
      't if not input.missing',
      'u if not (input.a and input.b)',
      'v if { input.missing or input.n > 1; not input.a == input.b }',
    ];
    const source = `package test\n\nimport rego.v2\n\n${rules.join('\n')}\n`;
    const module = PolicyModule.compile(await buildWasm(source, ['test'], ['--capabilities', file]));
    const policy = join(folder, 'keywords.rego');
    writeFileSync(policy, source);
    const seen = new Set<string>();
    for (const input of [
      {},
      { a: true },
      { b: true, n: 2 },
      { a: true, b: true, n: 1 },
      { a: false, b: true, n: 2 },
      { a: true, n: 2 },
    ]) {
      const inputFile = join(folder, 'keywords.json');
      writeFileSync(inputFile, JSON.stringify(input));
      const answer = execFileSync(
        opaBinary,
        ['eval', '-f', 'raw', '-d', policy, '-i', inputFile, 'data.test'],
        {
          encoding: 'utf8',
        },
      );
      const { result } = module.instantiate('{}', limits).evaluate('test', JSON.stringify(input), context);
      expect([input, result]).toEqual([input, JSON.parse(answer)]);
      seen.add(answer);
    }
    expect(seen.size).toBeGreaterThan(3);
  });
});
