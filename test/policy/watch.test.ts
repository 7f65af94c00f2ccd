import { mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { watchFolder } from '../../src/policy/watch.ts';
import { eventually } from '../e2e/server.ts';

let folder: string;
let calls: number;
let watching: Disposable;

beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'mandate-watch-'));
  await mkdir(path.join(folder, 'authz'));
  await writeFile(at('authz/a.rego'), '1');
  calls = 0;
  watching = watchFolder(folder, async () => {
    calls += 1;
  });
});

afterEach(async () => {
  watching[Symbol.dispose]();
  await rm(folder, { recursive: true, force: true });
});

const at = (name: string): string => path.join(folder, name);

/** Does something and waits until it was noticed. */
async function noticed(change: () => Promise<unknown>): Promise<void> {
  const before = calls;
  await change();
  await eventually(
    () => Promise.resolve(calls),
    (count) => count > before,
  );
}

const renamedOver = async (name: string): Promise<void> => {
  await writeFile(at(`${name}.swp`), '2');
  await rename(at(`${name}.swp`), at(name));
};

describe('a watched folder', () => {
  test('notices a file that is saved, again and again, in place and by renaming', async () => {
    for (let round = 0; round < 3; round += 1) {
      await noticed(() => writeFile(at('authz/a.rego'), `${round}`));
      await noticed(() => renamedOver('authz/a.rego'));
      await noticed(() => writeFile(at('authz/a.rego'), `${round}`));
    }
  });

  test('notices a file that comes, goes and comes back', async () => {
    for (const name of ['tenant.yaml', 'data.json', 'authz/b.rego']) {
      await noticed(() => writeFile(at(name), '1'));
      await noticed(() => rm(at(name)));
      await noticed(() => writeFile(at(name), '1'));
    }
  });

  test('notices what is in a folder that comes, goes, comes back or is moved', async () => {
    await noticed(async () => {
      await mkdir(at('x/y/z'), { recursive: true });
      await writeFile(at('x/y/z/a.rego'), '1');
    });
    await noticed(() => writeFile(at('x/y/z/a.rego'), '2'));
    await noticed(() => rename(at('x/y'), at('x/w')));
    await noticed(() => writeFile(at('x/w/z/a.rego'), '3'));
    await noticed(() => rm(at('x'), { recursive: true }));
    await noticed(async () => {
      await mkdir(at('x'));
      await writeFile(at('x/a.rego'), '1');
    });
    await noticed(() => writeFile(at('x/a.rego'), '2'));
  });

  test('runs one call at a time, and one more for what changed meanwhile', async () => {
    watching[Symbol.dispose]();
    let running = 0;
    let most = 0;
    let ended = 0;
    const gate = Promise.withResolvers<void>();
    using _ = watchFolder(folder, async () => {
      running += 1;
      most = Math.max(most, running);
      await gate.promise;
      running -= 1;
      ended += 1;
    });
    await writeFile(at('authz/a.rego'), '2');
    await eventually(
      () => Promise.resolve(running),
      (count) => count === 1,
    );
    await writeFile(at('authz/a.rego'), '3');
    gate.resolve();
    await eventually(
      () => Promise.resolve(ended),
      (count) => count === 2,
    );
    expect(most).toBe(1);
  });

  test('that is not there is refused', () => {
    expect(() => watchFolder(at('nowhere'), () => Promise.resolve())).toThrow(/cannot watch/);
  });
});
