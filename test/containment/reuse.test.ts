import { expect, test } from 'vitest';
import { emptyHash, hashed } from '../../src/policy/engine/memory/layout.ts';
import { PolicyModule } from '../../src/policy/engine/module.ts';
import { check } from '../e2e/requests.ts';
import { buildWasm, context, limits } from '../policy/engine/opa.ts';
import { asks, serve } from './tenants.ts';

const ECHO = 'package authz\n\nallow := true\n\nobligations contains {"heard": input.context}\n';

test('tenants that take turns in one instance get what they would get in their own, at the same cost', async () => {
  const tenants = ['red', 'green', 'blue'].map((id) => ({ id, rego: ECHO }));
  await using roomy = await serve(tenants);
  await using tight = await serve(tenants, { max_instances: 1 });
  for (let round = 0; round < 30; round += 1) {
    const { id } = tenants[round % 3] ?? { id: '' };
    const question = asks(id, 'read', { own: `${id}-${round}`, pad: 'x'.repeat((round * 977) % 5_000) });
    const [own, shared] = await Promise.all([check(roomy.data, question), check(tight.data, question)]);
    expect(shared.body.obligations).toEqual(own.body.obligations);
    expect(shared.body.cost).toBe(own.body.cost);
  }
});

test('no byte of an evaluation is left in an instance that was restored', async () => {
  const rego = 'package t\n\nx := concat("-", [input.secret, sprintf("%v", [input])])\n';
  const module = PolicyModule.compile(await buildWasm(rego, ['t/x']));
  const image = module.instantiate('{}', limits).image();
  const memories = watchMemories();
  const instance = module.instantiate('{}', limits);
  const [memory] = memories.stop();
  const holds = (text: string): boolean => Buffer.from(memory?.buffer ?? new ArrayBuffer()).includes(text);

  const before = instance.evaluate('t/x', '{"secret":"a"}', context);
  instance.evaluate('t/x', `{"secret":"${'tell-nobody'.repeat(500)}"}`, context);
  expect(holds('tell-nobody')).toBe(true);
  expect(instance.restore(image)).toBe(true);
  expect(holds('tell-nobody')).toBe(false);
  expect(instance.evaluate('t/x', '{"secret":"a"}', context)).toEqual(before);
});

test('after a restore the whole memory is as it was, whatever was evaluated', async () => {
  const rego = `package t

same := {"list": input.list, "text": input.text}

x := [y |
	y := [
		sprintf("%v %d", [same, count(input.list)]),
		json.marshal(same),
		regex.replace(input.text, "[a-z]+", "-"),
		{z: 1 | some z in input.list},
		[upper(w) | some w in split(input.text, " ")],
		object.union(same, {"more": input.list}),
		glob.match("*.{a,b}", ["."], input.text),
	][_]
]
`;
  const module = PolicyModule.compile(await buildWasm(rego, ['t/x']));
  const image = module.instantiate('{}', limits).image();
  const memories = watchMemories();
  const instance = module.instantiate('{}', limits);
  const [memory] = memories.stop();
  const bytes = (): Buffer => Buffer.from(memory?.buffer ?? new ArrayBuffer());
  const fresh = Buffer.from(bytes());
  // Large and small, as text and as a value, and values given up behind a long list, for names that share a bucket.
  const inputs = [6_000, 10, 900, 1].flatMap((size) => {
    const value = {
      list: Array.from({ length: size / 10 }, (_, at) => `item-${at}`),
      text: 'ab '.repeat(size / 3),
    };
    const odd = { ...value, names: size > 100 ? crowd : {} };
    return [value, odd].flatMap((each) => [
      JSON.stringify(each),
      { json: JSON.stringify(each), value: each },
    ]);
  });
  for (const input of inputs) {
    instance.evaluate('t/x', input, context, 2_000_000_000);
    expect(instance.restore(image)).toBe(true);
    const after = bytes();
    const same = after.length === fresh.length ? after.equals(fresh) : differing(after, fresh) <= 1;
    expect(same).toBe(true);
  }
});

/** Names whose hashes have the same low bits: the host leaves such an object to the module's own parser. */
const crowd = Object.fromEntries(
  Array.from({ length: 100_000 }, (_, at) => `n${at}`)
    .filter((name) => ([...Buffer.from(name)].reduce(hashed, emptyHash) & 0xfff) === 0)
    .map((name) => [name, 1]),
);

/** How many words differ; what one memory has more must be zeros. One may: the allocator's copy of the size. */
function differing(larger: Buffer, smaller: Buffer): number {
  let count = 0;
  for (let at = 0; at < larger.length; at += 4)
    if (larger.readUInt32LE(at) !== (at < smaller.length ? smaller.readUInt32LE(at) : 0)) count += 1;
  return count;
}

/** Sees the memories that are made meanwhile, as nobody else can. */
function watchMemories(): { stop: () => WebAssembly.Memory[] } {
  const made: WebAssembly.Memory[] = [];
  const original = WebAssembly.Memory;
  WebAssembly.Memory = class extends original {
    constructor(size: WebAssembly.MemoryDescriptor) {
      super(size);
      made.push(this);
    }
  };
  return {
    stop: () => {
      WebAssembly.Memory = original;
      return made;
    },
  };
}
