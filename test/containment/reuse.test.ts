import { expect, test } from 'vitest';
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
