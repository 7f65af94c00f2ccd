import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import { ServiceError } from '../../../src/errors.ts';
import { fuelExport, meter } from '../../../src/policy/engine/metering/fuel.ts';
import { PolicyModule } from '../../../src/policy/engine/module.ts';
import { wasm as wasmApi } from '../../../src/policy/engine/webassembly.ts';
import { buildWasm, context, limits } from './opa.ts';

const authz = `package test

default allow := false

allow if {
  some role in input.roles
  some permission in data.roles[role]
  permission.action == input.action
  startswith(input.path, permission.prefix)
}

names := {upper(name) | some name in input.roles}

pairs := [[a, b] | some a in input.roles; some b in input.roles; a != b]

text := sprintf("%v of %d", [input, count(input.roles)])

matched if regex.match("^/[a-z]+$", input.path)
`;

const endless = `package test

p := count([1 |
  some a in numbers.range(1, 1000)
  some b in numbers.range(1, 1000)
  some c in numbers.range(1, 1000)
  a + b == c + input.x
])
`;

const data = JSON.stringify({
  roles: { reader: [{ action: 'read', prefix: '/' }], writer: [{ action: 'write', prefix: '/a' }] },
});

/** The header of a module and sections written by hand. */
function wasmOf(...sections: readonly number[][]): Uint8Array {
  return Uint8Array.from([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0, ...sections.flat()]);
}

/** One function without arguments, of these instructions. */
function functionOf(...body: readonly number[]): Uint8Array {
  const code = [0, ...body];
  return wasmOf(
    [1, 4, 1, 0x60, 0, 0],
    [3, 2, 1, 0],
    [7, 5, 1, 1, 0x66, 0, 0],
    [10, code.length + 2, 1, code.length, ...code],
  );
}

describe('fuel', () => {
  let wasm: Uint8Array;
  let module: PolicyModule;
  beforeAll(async () => {
    wasm = await buildWasm(authz, ['test']);
    module = PolicyModule.compile(wasm);
  });

  test('stops an evaluation that would take minutes', async () => {
    const instance = PolicyModule.compile(await buildWasm(endless, ['test/p'])).instantiate('{}', {
      ...limits,
      memoryPages: 4_096,
    });
    expect(() => instance.evaluate('test/p', '{"x": 1}', context)).toThrow(
      expect.objectContaining({ code: 'deadline_exceeded' }),
    );
    expect(instance.poisoned).toBe(true);
  });

  test('costs the same for the same input, again and in a fresh instance', () => {
    const input = JSON.stringify({ roles: ['reader', 'writer'], action: 'write', path: '/abc' });
    const instance = module.instantiate(data, limits);
    const first = instance.evaluate('test', input, context);
    // The regular expression sets static variables up, and the input grows the memory.
    instance.evaluate(
      'test',
      JSON.stringify({ roles: ['a', 'b', 'c'], path: 'é'.repeat(900_000) }),
      context,
      2 ** 31 - 1,
    );
    expect(instance.evaluate('test', input, context)).toEqual(first);
    expect(module.instantiate(data, limits).evaluate('test', input, context)).toEqual(first);
    expect(first.cost).toBeGreaterThan(0);
  });

  test('is enough when it is exactly the cost, and not when it is one less', () => {
    const input = JSON.stringify({ roles: ['reader'], action: 'read', path: '/abc' });
    const { cost } = module.instantiate(data, limits).evaluate('test', input, context);
    expect(module.instantiate(data, limits).evaluate('test', input, context, cost).cost).toBe(cost);
    expect(() => module.instantiate(data, limits).evaluate('test', input, context, cost - 1)).toThrow(
      expect.objectContaining({ code: 'deadline_exceeded' }),
    );
  });

  test('does not change the results', () => {
    const metered = module.instantiate(data, limits);
    const plain = PolicyModule.compileUnmetered(wasm).instantiate(data, limits);
    const word = fc.constantFrom('reader', 'writer', 'read', 'write', '/a', '/abc', 'ü', '');
    const input = fc.record({ roles: fc.array(word), action: word, path: word, other: fc.jsonValue() });
    fc.assert(
      fc.property(input, (value) => {
        const json = JSON.stringify(value);
        expect(metered.evaluateToJson('test', json, context).result).toBe(
          plain.evaluateToJson('test', json, context).result,
        );
      }),
    );
  });

  test('gives equal bytes for equal bytes, and leaves the original alone', () => {
    const copy = Uint8Array.from(wasm);
    expect(meter(wasm)).toEqual(meter(wasm));
    expect(wasm).toEqual(copy);
  });

  test('charges a loop for each iteration', () => {
    const forever = functionOf(0x03, 0x40, 0x0c, 0x00, 0x0b, 0x0b);
    const instance = new wasmApi.Instance(new wasmApi.Module(meter(forever)), {});
    const { f, [fuelExport]: fuel } = instance.exports as unknown as {
      f: () => void;
      [fuelExport]: { value: number };
    };
    fuel.value = 1_000;
    expect(f).toThrow(/unreachable/);
    expect(fuel.value).toBeLessThan(0);
  });

  test('charges functions that call each other in a circle, however short', () => {
    const [callOther, callSelf] = [
      [0, 0x10, 1, 0x0b],
      [0, 0x10, 0, 0x0b],
    ];
    const code = [2, callOther.length, ...callOther, callSelf.length, ...callSelf];
    const circle = wasmOf(
      [1, 4, 1, 0x60, 0, 0],
      [3, 3, 2, 0, 0],
      [7, 5, 1, 1, 0x66, 0, 0],
      [10, code.length, ...code],
    );
    const instance = new wasmApi.Instance(new wasmApi.Module(meter(circle)), {});
    const { f, [fuelExport]: fuel } = instance.exports as unknown as {
      f: () => void;
      [fuelExport]: { value: number };
    };
    fuel.value = 1_000;
    expect(f).toThrow(/unreachable/);
    expect(fuel.value).toBeLessThan(0);
  });

  test('leaves what is left in the global after another trap', () => {
    const instance = new wasmApi.Instance(new wasmApi.Module(meter(functionOf(0x00, 0x0b))), {});
    const { f, [fuelExport]: fuel } = instance.exports as unknown as {
      f: () => void;
      [fuelExport]: { value: number };
    };
    fuel.value = 1_000;
    expect(f).toThrow(/unreachable/);
    expect(fuel.value).toBeGreaterThanOrEqual(0);
  });

  test.each([
    ['no bytes', Uint8Array.of()],
    ['another format', Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8)],
    ['a section that ends late', wasmOf([1, 200, 1])],
    ['sections out of order', wasmOf([3, 1, 0], [1, 1, 0])],
    ['a section twice', wasmOf([1, 1, 0], [1, 1, 0])],
    ['an unknown section', wasmOf([99, 1, 0])],
    ['an integer of too many bytes', wasmOf([1, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00])],
    ['an integer with bits beyond the 32nd', wasmOf([1, 0xff, 0xff, 0xff, 0xff, 0x7f])],
    ['an unknown opcode', functionOf(0x06, 0x40, 0x0b, 0x0b)],
    ['bulk memory, which no constant covers', functionOf(0xfc, 0x0b, 0x00, 0x0b)],
    ['a constant that is no i32', functionOf(0x41, 0xff, 0xff, 0xff, 0xff, 0x1f, 0x1a, 0x0b)],
    ['code behind the end of a function', functionOf(0x0b, 0x01)],
    ['the global that the fuel takes', functionOf(0x23, 0x00, 0x1a, 0x0b)],
    ['an export of that name', meter(functionOf(0x0b))],
  ])('refuses %s', (_, bytes) => {
    expect(() => meter(bytes)).toThrow(expect.objectContaining({ code: 'policy_invalid' }));
  });

  test('refuses every truncation of a module, with a code', () => {
    const ends = fc.integer({ min: 0, max: wasm.length - 1 });
    fc.assert(
      fc.property(ends, (end) => {
        try {
          // A cut between two sections leaves a shorter module.
          meter(wasm.subarray(0, end));
        } catch (error) {
          expect(error).toBeInstanceOf(ServiceError);
        }
      }),
    );
  });
});
