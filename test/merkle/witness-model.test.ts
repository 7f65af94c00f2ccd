import fc from 'fast-check';
import { expect, test } from 'vitest';
import { noise, ReferenceTree } from './reference.ts';
import { bodyOf, witness } from './witnessed.ts';

/** C2SP tlog-witness: whatever is sent, and in whatever order, what a witness signed is one history. */

const MOST = 40;

/** Two logs of one key that have their first leaves in common. */
const forked = (common: number): readonly [ReferenceTree, ReferenceTree] => {
  const branch = (name: string): ReferenceTree =>
    new ReferenceTree(Array.from({ length: MOST }, (_, at) => noise(at < common ? at : `${name} ${at}`)));
  return [branch('left'), branch('right')];
};

test('a log that is only appended to has each of its checkpoints signed', () => {
  const steps = fc.array(fc.nat(7), { maxLength: 20 });
  fc.assert(
    fc.property(steps, (grown) => {
      const { add } = witness();
      const [honest] = forked(MOST);
      let old = 0;
      for (const more of grown) {
        const size = Math.min(MOST, old + more);
        expect(add(bodyOf(old, size, { of: honest })).status).toBe(200);
        old = size;
      }
    }),
  );
});

/** Something that is sent: `knows` the size that the witness signed last, or guesses it. */
const sent = fc.record({
  branch: fc.nat(1),
  size: fc.nat(MOST),
  old: fc.option(fc.nat(MOST), { nil: undefined, freq: 4 }),
  /** How the proof is forged: by the other branch, for other sizes, or not at all. */
  proof: fc.constantFrom('own', 'own', 'own', 'other', 'none', 'shifted', 'twice'),
});

test('of a fork only one side has ever been signed, and no size goes back', () => {
  fc.assert(
    fc.property(fc.nat(MOST - 1), fc.array(sent, { minLength: 1, maxLength: 30 }), (common, all) => {
      const { add } = witness();
      const branches = forked(common);
      let last = 0;
      const sides = new Set<number>();
      for (const { branch, size, old = last, proof } of all) {
        const [own, foreign] = branch === 0 ? branches : branches.toReversed();
        if (!own || !foreign) throw new Error('there are two');
        const isBetween = old > 0 && old < size;
        const proofs = {
          own: isBetween ? own.proof(old, size) : [],
          other: isBetween ? foreign.proof(old, size) : [own.mth(0, size)],
          none: [],
          shifted: isBetween && old > 1 ? own.proof(old - 1, size) : [noise('shifted')],
          twice: isBetween ? [...own.proof(old, size), ...own.proof(old, size)] : [],
        };
        const { status } = add(bodyOf(old, size, { of: own, proof: proofs[proof] }));
        if (old > size) expect(status).toBe(400);
        else if (old !== last) expect(status).toBe(409);
        if (status !== 200) continue;
        expect(size).toBeGreaterThanOrEqual(last);
        if (size > common) sides.add(branch);
        last = size;
      }
      expect(sides.size).toBeLessThan(2);
    }),
    { numRuns: 400 },
  );
});
