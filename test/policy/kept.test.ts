import { expect, test } from 'vitest';
import { bundleOf, sourcesBehind } from '../../src/policy/bundle.ts';
import { keptSources } from '../../src/policy/kept.ts';
import { read, withFolder } from './sources.ts';

/** The sources of what decides are at hand, whatever becomes of the folder. */

const files = {
  'a.rego': 'package authz\n\n# ħ日本\nallow := true\n',
  'a_test.rego': 'package authz_test\n\ntest_x if true\n',
  'deep/b.rego': 'package authz.b\n\nx := 1\n',
  'data.json': '{"table": [1, 2, 18446744073709551616]}',
};
const wasm = Uint8Array.from([0, 1, 2]);

test('they come back as they were, and make the same revision', async () => {
  const sources = await withFolder(files, (folder) => read(folder));
  const bundle = bundleOf(wasm, sources);
  const back = await sourcesBehind(bundle, 'acme');
  expect(back && { ...back, files: back.files.map(({ path, bytes }) => [path, Buffer.from(bytes)]) }).toEqual(
    {
      ...sources,
      files: sources.files.map(({ path, bytes }) => [path, Buffer.from(bytes)]),
    },
  );
  expect(back && bundleOf(wasm, back).revision).toBe(bundle.revision);
});

test('tenants on one revision share them; a bundle that came from elsewhere has none', async () => {
  const [one, other] = await Promise.all([0, 1].map(() => withFolder(files, (folder) => read(folder))));
  if (!one || !other) throw new Error('unread');
  const [first, second] = [bundleOf(wasm, one), bundleOf(wasm, other)];
  expect(keptSources(first.revision, one)).toBe(keptSources(second.revision, other));
  expect(await sourcesBehind({ ...first }, 'acme')).toBeUndefined();
});
