import { describe, expect, test } from 'vitest';
import { hostBuiltins } from '../../../../src/policy/engine/builtins/index.ts';
import type { Value } from '../../../../src/policy/engine/values/values.ts';
import { catalog } from './catalog.ts';
import { pairs } from './certificates.ts';
import { answerOf, answersOfOpa, type Call, isKnown, panic, settled, textOf } from './compare.ts';
import { Draw, value } from './draw.ts';
import { verifications, verified } from './signatures.ts';
import { joint } from './times.ts';

/** Not compared, and why. */
const excluded: Readonly<Record<string, string>> = {
  'rand.intn': 'random; a function of the decision here',
  'uuid.rfc4122': 'random; a function of the decision here',
  'time.now_ns': 'the time of the decision',
  'internal.template_string':
    'what is no part of a template ends an evaluation of OPA; edges.test.ts has the rest',
};

/** Arguments that belong together. */
const together: Readonly<Record<string, (draw: Draw) => readonly Value[]>> = {
  'crypto.x509.parse_keypair': pairs,
  'io.jwt.decode_verify': verified,
};

/** A long hunt: MANDATE_DIFFERENTIAL_CALLS=1000000 MANDATE_DIFFERENTIAL_SEED=7 */
const total = Number(process.env['MANDATE_DIFFERENTIAL_CALLS'] ?? 5_000);
const seed = Number(process.env['MANDATE_DIFFERENTIAL_SEED'] ?? Date.now() % 1_000_000);
const batchSize = 1_000;
/** No other arguments for these: OPA would make lists of as many elements as it is told, and bits; yaml.ts has its own. */
const bounded = /range|lsh|yaml\.[iu]/;

function callsOf(draw: Draw, names: readonly string[], length: number): Call[] {
  return Array.from({ length }, () => {
    const builtin = draw.one(names);
    const both = joint[builtin] ?? verifications[builtin] ?? together[builtin];
    if (both && draw.chance(2)) return { builtin, args: both(draw) };
    const generators = catalog[builtin] ?? [];
    const args = generators.map((make) =>
      draw.chance(15) && !bounded.test(builtin) ? value(draw) : make(draw),
    );
    return { builtin, args };
  });
}

describe('the built-ins of the engine and of OPA', () => {
  test('all are compared, or it is said why not', () => {
    const compared = [...Object.keys(catalog), ...Object.keys(excluded)];
    expect([...hostBuiltins.keys()].filter((name) => !compared.includes(name))).toEqual([]);
    expect(compared.filter((name) => !hostBuiltins.has(name))).toEqual([]);
  });

  test('answer alike to random calls', { timeout: 60_000 + total * 10 }, async () => {
    console.log(`${total} calls of seed ${seed}`);
    const draw = new Draw(seed);
    const names = Object.keys(catalog);
    for (let done = 0; done < total; done += batchSize) {
      const calls = callsOf(draw, names, Math.min(batchSize, total - done));
      const theirs = await answersOfOpa(calls);
      const different = calls.flatMap((call, index) => {
        const ours = answerOf(call);
        return settled(call, ours) === settled(call, theirs[index] ?? '') ||
          theirs[index] === panic ||
          isKnown(call)
          ? []
          : [{ call: textOf(call), ours, theirs: theirs[index] }];
      });
      expect(different).toEqual([]);
      expect(theirs.filter((answer) => answer === panic).length).toBeLessThan(10);
    }
  });
});
