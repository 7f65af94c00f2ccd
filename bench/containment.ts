import { PolicyModule } from '../src/policy/engine/module.ts';
import { adversaries, inputOf } from '../test/policy/engine/adversaries.ts';
import { buildWasm, context } from '../test/policy/engine/opa.ts';

/**
 * `node bench/containment.ts [names...]`: how long the host's built-ins hold a thread until the budget is gone, slowest
 * first. Wanted: 20 ms. A figure of one run in a process is some 10 ms higher than of the tenth.
 */
const limits = { fuel: 20_000_000, memoryPages: 1_024 };
const rounds = 5;

const names = process.argv.slice(2);
const chosen = adversaries.filter(
  ({ builtin }) => names.length === 0 || names.some((name) => builtin.startsWith(name)),
);
const rules = chosen.map(
  ({ call }, index) => `r${index} := count([1 | some i in ns; some j in ns; x := ${call}])`,
);
const source = `package test\n\nns := numbers.range(1, 2000)\n${rules.join('\n')}\n`;
const module = PolicyModule.compile(
  await buildWasm(
    source,
    chosen.map((_, index) => `test/r${index}`),
  ),
);

function run(entrypoint: string, input: string): { ms: number; cost: number } {
  const instance = module.instantiate('{}', limits);
  const began = performance.now();
  let cost = limits.fuel;
  try {
    ({ cost } = instance.evaluate(entrypoint, input, context));
  } catch (error) {
    if (!String((error as { code?: unknown }).code).startsWith('deadline')) throw error;
  }
  return { ms: performance.now() - began, cost };
}

const rows = chosen.map(({ call }, index) => {
  const runs = Array.from({ length: rounds }, () => run(`test/r${index}`, inputOf(call)));
  const { ms = 0, cost = 1 } = runs.toSorted((a, b) => a.ms - b.ms)[rounds >> 1] ?? {};
  return { call, ms, cost };
});
for (const { call, ms, cost } of rows.toSorted((a, b) => b.ms - a.ms))
  console.log(
    `${ms.toFixed(1).padStart(8)} ms ${String(cost).padStart(9)} units ${((ms * 1e6) / cost).toFixed(2)} ns/unit  ${call.slice(0, 90)}`,
  );
