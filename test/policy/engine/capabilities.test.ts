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
import { buildWasm, opaBinary } from './opa.ts';

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
});
