import { constants, copyFile, link, mkdir, readdir } from 'node:fs/promises';
import path from 'node:path';

/**
 * What tests compiled before, so that each server does not compile the same policies again. An entry of the cache is named by
 * all that it was made from and says its own hash: a server takes it as one that it left itself.
 */
const SHARED = path.resolve(import.meta.dirname, '../../.cache/test-modules');
/** More than the policies that most tests begin with; a test with a policy of its own compiles it. */
const MOST = 24;

const namesIn = (folder: string): Promise<string[]> => readdir(folder).catch(() => []);

/** Into the store of a server that has never run, or out of it. */
async function linked(from: string, to: string, most: number): Promise<void> {
  for (const form of await namesIn(from))
    for (const tenant of await namesIn(path.join(from, form))) {
      const place = path.join(to, form, tenant);
      await mkdir(place, { recursive: true, mode: 0o700 });
      const there = new Set(await namesIn(place));
      for (const name of await namesIn(path.join(from, form, tenant)))
        if (!there.has(name) && !name.endsWith('.tmp') && there.size < most) {
          there.add(name);
          await given(path.join(from, form, tenant, name), path.join(place, name));
        }
    }
}

/** Somebody else may have been first, and it may be another disk. One that is half there when it is read is not taken. */
const given = (file: string, as: string): Promise<void> =>
  link(file, as).catch(() => copyFile(file, as, constants.COPYFILE_EXCL).catch(() => undefined));

export const takeModules = (data: string): Promise<void> =>
  linked(SHARED, path.join(data, 'policy-cache'), MOST);

export const leaveModules = (data: string): Promise<void> =>
  linked(path.join(data, 'policy-cache'), SHARED, MOST);
