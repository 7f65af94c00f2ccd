import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect, test } from 'vitest';
import { Shadows } from '../../src/decision/replay/shadows.ts';
import { Trials } from '../../src/decision/replay/trials.ts';
import type { Tenant } from '../../src/tenancy/tenants.ts';

/** There is room for so many shadows. What is refused for it is not written: after a restart it would be one. */

test('a shadow beyond the bound is refused before it is written, also where two come at once', async () => {
  const folder = await mkdtemp(path.join(tmpdir(), 'mandate-shadows-'));
  await using shadows = new Shadows({
    folder,
    clock: () => 0,
    isServed: () => true,
    sizeOf: () => 0,
    record: () => undefined,
    most: 1,
  });
  const written: string[] = [];
  const trials = new Trials({
    store: {
      policy: () => ({ active: '', folder: '', shadow: '', staged: '', share: '' }),
    } as never,
    shadows,
    withPackage: () => Promise.reject(new Error('none')),
    bundleOf: async (_tenant, revision) => ({ revision, wasm: new Uint8Array(), data: '{}' }),
    activeOf: () => undefined,
    stage: () => undefined,
    limitsOf: () => ({ fuel: 1_000_000, memoryPages: 64 }),
    write: async ({ id }) => written.push(id) > 0,
  });
  const tenant = (id: string, no: number): Tenant => ({ id, no }) as unknown as Tenant;
  const [one, two] = [tenant('one', 1), tenant('two', 2)];
  const outcomes = await Promise.allSettled([
    trials.shadow(one, 'root', 'sha256:a', ''),
    trials.shadow(two, 'root', 'sha256:a', ''),
  ]);
  expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected']);
  expect(outcomes[1]).toMatchObject({ reason: { code: 'resource_exhausted' } });
  expect(written).toEqual(['one']);
  // Whoever gave its place back leaves room, and to end one takes none.
  await trials.shadow(two, 'root', 'sha256:a', '');
  await trials.shadow(one, 'root', '', '');
  expect(written).toEqual(['one', 'two', 'one']);
  await rm(folder, { recursive: true });
});
