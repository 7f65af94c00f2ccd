import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  isPublished,
  JWKS_MAX_AGE,
  KEPT_MS,
  type KeyFacts,
  LEAD_MS,
  nextStep,
} from '../../../src/delegation/keys/lifecycle.ts';
import type { KeysDeclared } from '../../../src/tenancy/keys-declared.ts';

const DAY = 86_400_000;
const declared: KeysDeclared = { algorithm: 'ES256', rotate_days: 30 };

/** Takes the steps that are due, as the store does. */
class Ring {
  keys: KeyFacts[] = [];
  /** When each was first published, and when it last signed. */
  readonly published = new Map<string, number>();
  readonly signed = new Map<string, number>();
  #made = 0;

  use(now: number, wanted: KeysDeclared): void {
    for (let steps = 0; steps < 10; steps += 1) {
      const step = nextStep(this.keys, wanted, now);
      if (!step) break;
      if (step.do === 'create') this.#add(step.state, step.algorithm, now);
      else if (step.do === 'remove') this.#move(step.kid, 'gone', now);
      else {
        for (const { kid } of this.keys.filter(({ state }) => state === 'active'))
          this.#move(kid, 'retiring', now);
        this.#move(step.kid, 'active', now);
      }
    }
    expect(nextStep(this.keys, wanted, now)).toBeUndefined();
    const signer = this.keys.find(({ state }) => state === 'active');
    if (signer) this.signed.set(signer.kid, now);
  }

  #add(state: 'active' | 'next', alg: string, now: number): void {
    const kid = `k${(this.#made += 1)}`;
    this.keys.push({ kid, alg, state, stateAt: now });
    this.published.set(kid, now);
  }

  #move(kid: string, state: KeyFacts['state'], now: number): void {
    this.keys = this.keys.map((key) => (key.kid === kid ? { ...key, state, stateAt: now } : key));
  }
}

describe('keys of a tenant that is used at any times', () => {
  const uses = fc.array(
    fc.record({
      after: fc.oneof(fc.nat(2 * LEAD_MS), fc.nat(3 * DAY), fc.nat(60 * DAY)),
      algorithm: fc.constantFrom('ES256', 'ES256', 'ES256', 'EdDSA', 'RS256'),
    }),
    { maxLength: 40 },
  ) as fc.Arbitrary<{ after: number; algorithm: KeysDeclared['algorithm'] }[]>;

  test('none signs before a cache lifetime in the JWKS, or goes while what it signed is good', () => {
    fc.assert(
      fc.property(uses, (all) => {
        const ring = new Ring();
        let now = 0;
        for (const { after, algorithm } of all) {
          now += after;
          ring.use(now, { algorithm, rotate_days: 30 });
          const active = ring.keys.filter(({ state }) => state === 'active');
          expect(active).toHaveLength(1);
          expect(ring.keys.filter(({ state }) => state === 'next').length).toBeLessThanOrEqual(1);
          const [signer] = active;
          const since = ring.published.get(signer?.kid ?? '') ?? 0;
          // The first key of all has nobody who could know another one.
          if (signer?.kid !== 'k1') expect(now - since).toBeGreaterThanOrEqual(2 * JWKS_MAX_AGE * 1_000);
          const tokenLifetime = 300_000 + 30_000;
          for (const key of ring.keys)
            if (now <= (ring.signed.get(key.kid) ?? Number.NEGATIVE_INFINITY) + tokenLifetime)
              expect(isPublished(key, now), key.kid).toBe(true);
        }
      }),
    );
  });

  test('none signs much longer than it may, where there is use enough', () => {
    const ring = new Ring();
    const signers = new Map<string, number>();
    for (let now = 0; now < 200 * DAY; now += DAY / 4) {
      ring.use(now, declared);
      const signer = ring.keys.find(({ state }) => state === 'active');
      const since = signers.get(signer?.kid ?? '') ?? now;
      signers.set(signer?.kid ?? '', since);
      expect(now - since).toBeLessThanOrEqual(30.5 * DAY);
    }
    expect(signers.size).toBe(7);
    expect(ring.keys.filter(({ state }) => state !== 'gone').length).toBeLessThanOrEqual(2);
  });
});

test('a clock that is set back keeps the key that signs', () => {
  const ring = new Ring();
  ring.use(40 * DAY, declared);
  ring.use(70 * DAY, declared);
  expect(ring.keys.map(({ state }) => state)).toEqual(['active', 'next']);
  ring.use(10 * DAY, declared);
  expect(ring.keys.map(({ state }) => state)).toEqual(['active', 'next']);
});

test('what is retired verifies for an hour, and no longer, whoever says so', () => {
  const key = { kid: 'k', alg: 'ES256', state: 'retiring', stateAt: 1_000 } as const;
  expect(isPublished(key, 1_000 + KEPT_MS - 1)).toBe(true);
  expect(isPublished(key, 1_000 + KEPT_MS)).toBe(false);
});
