import { mkdir, mkdtemp, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { watchFolder } from '../../src/policy/intake/watch.ts';
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

  /** Puts a link in another's place at once, as Kubernetes and git-sync do. */
  const swapped = async (target: string, name: string): Promise<void> => {
    await symlink(target, at('new-link'));
    await rename(at('new-link'), at(name));
  };

  test('notices that the version of a volume is swapped, again and again', async () => {
    for (const version of ['..one', '..two', '..three']) {
      await mkdir(at(`${version}/authz`), { recursive: true });
      await writeFile(at(`${version}/b.rego`), version);
    }
    await symlink('..one', at('..data'));
    await noticed(() => symlink('..data/b.rego', at('b.rego')));
    await noticed(() => symlink('..data/authz', at('more')));
    for (const version of ['..two', '..three', '..one']) {
      await noticed(() => swapped(version, '..data'));
      await noticed(() => writeFile(at(`${version}/b.rego`), '2'));
      await noticed(() => writeFile(at(`${version}/authz/c.rego`), '2'));
    }
  });

  test('notices a change of what it links to, and of the link', async () => {
    await mkdir(at('kept/deep'), { recursive: true });
    await writeFile(at('kept/deep/plain'), '1');
    await noticed(() => symlink('../kept/deep/plain', at('authz/l.rego')));
    await noticed(() => writeFile(at('kept/deep/plain'), '2'));
    await noticed(() => swapped('kept/deep', 'authz/l.rego'));
    await noticed(() => rm(at('authz/l.rego')));
  });

  test('that is itself a link, or below one, is noticed when that is swapped', async () => {
    watching[Symbol.dispose]();
    for (const version of ['one', 'two', 'three']) {
      await mkdir(at(`git/${version}/acme`), { recursive: true });
      await writeFile(at(`git/${version}/acme/a.rego`), version);
    }
    await symlink('git/one', at('current'));
    for (const below of ['current/acme', 'current']) {
      using _ = watchFolder(at(below), async () => {
        calls += 1;
      });
      for (const version of ['two', 'three', 'one']) {
        await noticed(() => swapped(`git/${version}`, 'current'));
        await noticed(() => writeFile(at(`git/${version}/acme/a.rego`), '2'));
      }
    }
  });

  test('that is put in the place of another is noticed, with what is in it', async () => {
    watching[Symbol.dispose]();
    for (const name of ['acme', 'next']) await mkdir(at(`${name}/authz`), { recursive: true });
    using _ = watchFolder(at('acme'), async () => {
      calls += 1;
    });
    await rename(at('acme'), at('before'));
    await noticed(() => rename(at('next'), at('acme')));
    await noticed(() => writeFile(at('acme/authz/a.rego'), '1'));
    await noticed(() => rm(at('acme'), { recursive: true }));
    await noticed(() => mkdir(at('acme')));
    await noticed(() => writeFile(at('acme/a.rego'), '1'));
  });

  test('that is not there is refused', () => {
    expect(() => watchFolder(at('nowhere'), () => Promise.resolve())).toThrow(/cannot watch/);
  });
});
