import { gzipSync } from 'node:zlib';
import { packTar } from 'modern-tar';
import { describe, expect, test } from 'vitest';
import { moduleIn } from '../../src/policy/bundle.ts';

/** What the compiler made is made from what was laid out, and from nothing else. */

const bundle = async (...names: string[]): Promise<Uint8Array> =>
  gzipSync(
    await packTar(names.map((name) => ({ header: { name, size: 1, type: 'file' as const }, body: 'x' }))),
  );

describe("the compiler's bundle", () => {
  test('gives its module where it has read each file', async () => {
    const long = `tenant/${'n'.repeat(300)}.rego`;
    const archive = await bundle('/data.json', '/platform/a.rego', `/${long}`, '/policy.wasm', '/.manifest');
    expect(Buffer.from(await moduleIn(archive, ['platform/a.rego', long])).toString()).toBe('x');
  });

  test('is refused where a file was left out, or one was read that was not laid out', async () => {
    const archive = await bundle('/platform/a.rego', '/policy.wasm');
    await expect(moduleIn(archive, ['platform/a.rego', 'tenant/deny.rego'])).rejects.toThrow(
      'the compiler left out tenant/deny.rego',
    );
    await expect(moduleIn(archive, [])).rejects.toThrow('the compiler read platform/a.rego too');
  });

  test('is refused without a module', async () => {
    await expect(moduleIn(await bundle('/platform/a.rego'), ['platform/a.rego'])).rejects.toMatchObject({
      code: 'policy_invalid',
    });
  });
});
