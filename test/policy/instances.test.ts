import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import type { PolicyInstance } from '../../src/policy/engine/instance.ts';
import { PolicyModule } from '../../src/policy/engine/module.ts';
import { type Circle, Instances, type Warm } from '../../src/policy/instances.ts';
import type { Proven } from '../../src/policy/proof.ts';
import { buildWasm, context } from './engine/opa.ts';

const OF_A_REVISION = 8;
const limits = { fuel: 20_000_000, memoryPages: 1_024 };

/** Whatever of an input or of the data an author can have written somewhere, or changed, or kept. */
const ADVERSARY = `package t

kept[key] := value if some key, value in input.members

changed := object.union(data.vault, {"mine": input.own}) if input.does == "changes"

x := y if {
	input.does != "spins"
	swapped := replaced with data.vault as {"a": input.own}
	asked := echoed with input as {"own": input.own}
	y := {
		"vault": data.vault,
		"own": input.own,
		"text": sprintf("%v %s", [input, json.marshal(data.vault)]),
		"upper": [upper(word) | some word in split(input.own, "-")],
		"set": {value | some value in kept},
		"less": object.remove(data.vault, [input.own]),
		"found": regex.find_n("[a-z]+", input.own, -1),
		"swapped": swapped,
		"asked": asked,
		"number": to_number(input.number) + data.vault.count,
		"changed": [changed | true],
	}
}

x := count([i | some i in numbers.range(1, 10000000); i == -1]) if input.does == "spins"

replaced := data.vault

echoed := input
`;

const does = fc.constantFrom('asks', 'changes', 'spins', 'grows');
const steps = fc.array(
  fc.record({ who: fc.nat(11), does, size: fc.nat(400), number: fc.constantFrom('1', '1e400', '-0.5') }),
  { minLength: 20, maxLength: 40 },
);

const own = (who: number): string => `secret-of-tenant-${'abcdefghijkl'[who]}`;
const inputOf = ({
  who,
  does: what,
  size,
  number,
}: {
  who: number;
  does: string;
  size: number;
  number: string;
}) =>
  JSON.stringify({
    own: own(who),
    does: what,
    number,
    members: Object.fromEntries(
      Array.from({ length: what === 'grows' ? 3_000 : size }, (_, n) => [
        `${own(who)}-${n}`,
        `${own(who)} ${n}`,
      ]),
    ),
  });

const made = new WeakMap<PolicyInstance, WebAssembly.Memory>();
let shared: Proven;
let other: Proven;
let fresh: Buffer;

beforeAll(async () => {
  shared = proven(await buildWasm(ADVERSARY, ['t/x']), '{"vault":{"count":3,"list":["a",{"b":null}]}}');
  other = proven(await buildWasm('package t\n\nx := 1\n', ['t/x']), '{}');
  fresh = bytesOf(instantiated(shared));
});

describe('instances that tenants take turns in', () => {
  test('are a new memory to whoever is given one, byte for byte, whatever others evaluated in it', () => {
    fc.assert(
      fc.property(steps, (asked) => {
        const circle = new Instances(1_000).of(shared, limits);
        const holders = Array.from({ length: 12 }, () => ({}));
        const held = new Map<Warm, number>();
        for (const step of asked) {
          const warm = taken(circle, holders[step.who] as object);
          if (held.get(warm) !== step.who) expect(differing(bytesOf(warm.instance))).toBeLessThanOrEqual(1);
          held.set(warm, step.who);
          const input = inputOf(step);
          expect(answered(warm.instance, input)).toEqual(answered(instantiated(shared), input));
          for (const [each, who] of held)
            if (each !== warm) expect(bytesOf(each.instance).includes(own(step.who))).toBe(who === step.who);
          circle.giveBack(warm);
          if (warm.instance.poisoned) held.delete(warm);
        }
      }),
      { numRuns: 4, endOnFailure: true },
    );
  });

  test('are whole again for the next, whatever a fault of ours let one change', () => {
    const circle = new Instances(1).of(shared, limits);
    const [one, two] = [{}, {}];
    const { instance } = taken(circle, one);
    const memory = made.get(instance)?.buffer as ArrayBuffer;
    for (const at of [0, 70_000, shared.image.length - 1]) new Uint8Array(memory)[at] = 0x5a;
    expect(instance.whole).toBe(false);
    expect(circle.take(two).instance).toBe(instance);
    expect(instance.whole).toBe(true);
    expect(differing(bytesOf(instance))).toBe(0);
  });

  test('are not given to another after a failure, nor once they have grown', () => {
    const circle = new Instances(1).of(shared, limits);
    for (const what of ['spins', 'asks']) {
      const warm = circle.take({});
      answered(warm.instance, inputOf({ who: 1, does: what, size: 1, number: '1' }));
      Object.assign(warm, { giveUpBytes: what === 'asks' ? 1 : warm.giveUpBytes });
      circle.giveBack(warm);
      expect(circle.take({})).not.toBe(warm);
    }
  });
});

describe('how many there are', () => {
  test('each has its own while they are few, and keeps it', () => {
    const circle = new Instances(1_000).of(shared, limits);
    const holders = Array.from({ length: OF_A_REVISION }, () => ({}));
    const first = holders.map((holder) => circle.take(holder));
    expect(new Set(first).size).toBe(OF_A_REVISION);
    for (let round = 0; round < 3; round += 1)
      expect(holders.map((holder) => circle.take(holder))).toEqual(first);
  });

  test('of a revision there are no more, however many ask; who asks often keeps its own', () => {
    const circle = new Instances(1_000).of(shared, limits);
    const [busy, ...rest] = Array.from({ length: 200 }, () => ({}));
    const kept = circle.take(busy as object);
    const seen = new Set<Warm>();
    for (const holder of rest) {
      seen.add(circle.take(holder));
      expect(circle.take(busy as object)).toBe(kept);
    }
    expect(seen.size).toBe(OF_A_REVISION - 1);
  });

  test('one that nobody asked for long is for who does', () => {
    const circle = new Instances(1_000).of(shared, limits);
    const idle = Array.from({ length: OF_A_REVISION }, () => circle.take({}));
    const pair = [{}, {}];
    const given = Array.from({ length: 2_000 }, (_, n) => circle.take(pair[n % 2] as object)).slice(-4);
    expect(new Set(given).size).toBe(2);
    expect(given[0]).toBe(given[2]);
    expect(idle).toContain(given[0]);
  });

  test('of all revisions there are no more than may be; the one not asked for longest gives way', () => {
    const all = new Instances(2);
    const [a, b] = [all.of(shared, limits), all.of(other, limits)];
    const [one, two, three] = [{}, {}, {}];
    const [first, second] = [a.take(one), a.take(two)];
    a.take(one);
    const third = b.take(three);
    expect(a.take(one)).toBe(first);
    // Its own gave way, and it takes its turn in what is left.
    expect(a.take(two)).toBe(first);
    expect(a.take(two)).not.toBe(second);
    expect(b.take(three)).toBe(third);
  });

  test('of who is served no more none is kept', () => {
    const all = new Instances(1_000);
    const circle = all.of(shared, limits);
    const holder = {};
    const warm = circle.take(holder);
    circle.leave(holder);
    expect(circle.take(holder)).not.toBe(warm);
    expect(all.of(shared, limits)).toBe(circle);
    expect(all.of(shared, { ...limits, memoryPages: 512 })).not.toBe(circle);
  });
});

function proven(wasm: Uint8Array, data: string): Proven {
  const module = PolicyModule.compile(wasm);
  const image = module.instantiate(data, limits).image();
  return { revision: 'sha256:0', module, data, image, memoryPages: limits.memoryPages };
}

/** The value or the code of the failure, and the cost. */
function answered(instance: PolicyInstance, input: string): unknown {
  try {
    return instance.evaluateToJson('t/x', input, context);
  } catch (error) {
    return { code: (error as { code?: string }).code, spent: instance.spent };
  }
}

const instantiated = ({ module, data }: Proven): PolicyInstance =>
  watching(() => module.instantiate(data, limits));

const taken = (circle: Circle, holder: object): Warm => watching(() => circle.take(holder));

const bytesOf = (instance: PolicyInstance): Buffer =>
  Buffer.from(made.get(instance)?.buffer ?? new ArrayBuffer());

/** How many words are not those of a new memory; what one that grew has more must be zeros. One may: its size. */
function differing(bytes: Buffer): number {
  if (bytes.equals(fresh)) return 0;
  let count = 0;
  for (let at = 0; at < bytes.length; at += 4)
    if (bytes.readUInt32LE(at) !== (at < fresh.length ? fresh.readUInt32LE(at) : 0)) count += 1;
  return count;
}

/** Remembers the memory of an instance that is made meanwhile, as nobody else can. */
function watching<T extends PolicyInstance | Warm>(make: () => T): T {
  const memories: WebAssembly.Memory[] = [];
  const original = WebAssembly.Memory;
  WebAssembly.Memory = class extends original {
    constructor(size: WebAssembly.MemoryDescriptor) {
      super(size);
      memories.push(this);
    }
  };
  try {
    const of = make();
    const [memory] = memories;
    if (memory) made.set('instance' in of ? of.instance : of, memory);
    return of;
  } finally {
    WebAssembly.Memory = original;
  }
}
