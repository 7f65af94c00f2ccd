import { readFile } from 'node:fs/promises';
import path from 'node:path';
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { PolicyModule } from '../../src/policy/engine/module.ts';
import { buildWasm, context, limits } from './engine/opa.ts';

/** `guardrails.clear` spares a decision two sets: where it holds there must be nothing in them. */

const guardrails = await readFile(
  path.resolve(import.meta.dirname, '../../policies/platform/guardrails.rego'),
  'utf8',
);
const seen = `package seen

import data.mandate.guardrails

default clear := false

clear := guardrails.clear

result := {"clear": clear, "denied": count(guardrails.denials) + count(guardrails.acting_denials)}
`;
const actions = {
  read: { scope: 'docs.read', use: 'read' },
  suggest: { scope: 'docs.suggest', use: 'suggest' },
  act: {},
  odd: { use: 'whatever' },
};

const mostly = <T>(sound: fc.Arbitrary<T>, ...odd: readonly unknown[]): fc.Arbitrary<unknown> =>
  fc.oneof({ weight: 6, arbitrary: sound }, fc.constantFrom(...odd));

const status = mostly(fc.constant('active'), 'disabled', 'unknown', null, 1);
const subject = mostly(fc.record({ status }), {}, null, 'active');
const scope = fc.constantFrom('docs.read', 'docs.suggest', 'act', 'odd', 'none', '', 'undeclared');
const use = mostly(fc.constantFrom('read', 'suggest', 'act'), 'other', null);
const granted = fc.record(
  { scope: mostly(fc.array(scope, { maxLength: 7 }), {}, 'docs.read', null), use },
  { requiredKeys: ['scope'] },
);
const inputs = fc.record(
  {
    subject,
    actors: mostly(fc.array(subject, { maxLength: 2 }), null, {}, 'none'),
    action: fc.constantFrom('read', 'suggest', 'act', 'odd', 'undeclared').map((name) => ({ name })),
    grant: mostly(granted, null, 'grant', false, [], {}),
  },
  { requiredKeys: ['subject', 'action', 'grant'] },
);

test('where the guardrails are clear they deny nothing, and what a grant covers is clear', async () => {
  const module = PolicyModule.compile(await buildWasm([guardrails, seen], ['seen/result']));
  const instance = module.instantiate(JSON.stringify({ mandate: { tenant: { actions } } }), limits);
  const met = { clear: 0, denied: 0, granted: 0 };
  fc.assert(
    fc.property(inputs, (input) => {
      const { result } = instance.evaluate('seen/result', JSON.stringify(input), context);
      const { clear, denied } = result as { clear: boolean; denied: number };
      if (clear) met.clear += 1;
      if (clear && input.grant !== null) met.granted += 1;
      if (denied > 0) met.denied += 1;
      return !clear || denied === 0;
    }),
    { numRuns: 5_000 },
  );
  expect(Math.min(...Object.values(met))).toBeGreaterThan(50);
});
