import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect, test } from 'vitest';
import { systemClock } from '../../../src/effects.ts';
import { Arrivals } from '../../../src/policy/intake/arrivals.ts';
import { eventually } from '../../e2e/server.ts';

/** Folders that come and go while one of them cannot be taken, or takes its time. */

interface Look extends AsyncDisposable {
  readonly root: string;
  readonly seen: string[];
  readonly place: (name: string) => Promise<string>;
}

/** `does` is awaited with each that comes or goes, such as `came a`. */
async function looking(does: (what: string) => Promise<void>): Promise<Look> {
  const root = await mkdtemp(path.join(tmpdir(), 'mandate-arrivals-'));
  const known = new Set<string>();
  const seen: string[] = [];
  const tell = async (what: string, folder: string): Promise<void> => {
    seen.push(`${what} ${path.basename(folder)}`);
    await does(`${what} ${path.basename(folder)}`);
  };
  const arrivals = new Arrivals({
    clock: systemClock,
    roots: [root],
    isKnown: (folder) => known.has(folder),
    known: () => [...known],
    arrived: async ({ folder }) => {
      await tell('came', folder);
      known.add(folder);
    },
    gone: (folder) => {
      known.delete(folder);
      return tell('gone', folder);
    },
    failed: (error) => seen.push(`failed ${(error as Error).message}`),
  });
  arrivals.begin();
  const place = async (name: string): Promise<string> => {
    const folder = path.join(root, name);
    await mkdir(folder);
    await writeFile(path.join(folder, 'tenant.yaml'), `id: ${name}\n`);
    return folder;
  };
  return {
    root,
    seen,
    place,
    [Symbol.asyncDispose]: async () => {
      arrivals[Symbol.dispose]();
      await rm(root, { recursive: true, force: true });
    },
  };
}

const has = (look: Look, what: string): Promise<unknown> =>
  eventually(
    async () => look.seen,
    (seen) => seen.includes(what),
  );

test.concurrent('those whose going cannot be recorded keep no other one', async () => {
  await using look = await looking(async (what) => {
    if (what === 'gone a' || what === 'gone b') throw new Error('the disk is full');
  });
  const folders = [await look.place('a'), await look.place('b'), await look.place('c')];
  await look.place('d');
  await has(look, 'came d');
  for (const folder of folders) await rm(folder, { recursive: true });
  await has(look, 'gone c');
  expect(look.seen.filter((each) => each === 'failed the disk is full')).toHaveLength(2);
});

test.concurrent('one that cannot be taken keeps none from coming, is told of once, and comes once it can be', async () => {
  let tries = 0;
  await using look = await looking(async (what) => {
    if (what === 'came a' && ++tries < 3) throw new Error('it cannot be watched');
  });
  await look.place('a');
  await look.place('b');
  await has(look, 'came b');
  await eventually(
    async () => tries,
    (each) => each >= 3,
  );
  expect(look.seen.filter((each) => each === 'failed it cannot be watched')).toHaveLength(1);
});

test.concurrent('one that takes its time keeps none from coming or going', async () => {
  const { promise, resolve } = Promise.withResolvers<void>();
  await using look = await looking((what) => (what === 'came a' ? promise : Promise.resolve()));
  await look.place('a');
  const folder = await look.place('b');
  await look.place('c');
  await has(look, 'came c');
  await rm(folder, { recursive: true });
  await has(look, 'gone b');
  expect(look.seen.filter((each) => each === 'came a')).toHaveLength(1);
  resolve();
});
