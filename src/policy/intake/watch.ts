import { type FSWatcher, lstatSync, watch } from 'node:fs';
import path from 'node:path';
import { describe, ServiceError } from '../../errors.ts';
import { isFolder, type Watched, watchedFrom } from './watched.ts';

/** An editor saves a file in several steps; they count as one. In milliseconds. */
const SETTLE_MS = 30;

const WATCHED = /\.(?:rego|yaml|yml|json)$/;

/**
 * Calls `changed` after files of the folder or below it changed, or a link by which they are reached, one call at a
 * time, never two for one save. A change that comes while a call runs causes one more.
 *
 * Each folder has a watch of its own: Node's recursive one holds on to files, and hears no more of a file once
 * another was renamed over it, which is how many editors save. It follows no links either.
 */
export function watchFolder(folder: string, changed: () => Promise<void>): Disposable {
  const watchers = new Map<string, FSWatcher>();
  let watched: Watched = new Map();
  let timer: NodeJS.Timeout | undefined;
  let running: Promise<void> | undefined;
  const settle = (): void => {
    timer = undefined;
    if (running) return schedule();
    // First the folders, then the files: what is written in between is seen by the one or by the other.
    follow();
    running = changed().finally(() => {
      running = undefined;
    });
  };
  const schedule = (): void => {
    clearTimeout(timer);
    timer = setTimeout(settle, SETTLE_MS);
  };
  const forget = (place: string): void => {
    for (const each of watchers.keys())
      if (each === place || each.startsWith(place + path.sep)) {
        watchers.get(each)?.close();
        watchers.delete(each);
      }
  };
  const isOfInterest = (place: string, name: string, file: string): boolean => {
    const known = watched.get(place);
    if (known === undefined || known.names.has(name)) return true;
    return known.isOwn && (WATCHED.test(name) || isFolder(file) || isLink(file));
  };
  const open = (place: string): void => {
    const watcher = watch(place, { persistent: false }, (event, name) => {
      const file = name === null ? place : path.join(place, name);
      // A folder that was moved or made again is another one, and so are those in it.
      if (event === 'rename' && watchers.has(file)) forget(file);
      else if (name !== null && !isOfInterest(place, name, file)) return;
      schedule();
    });
    watcher.on('error', () => forget(place));
    watchers.set(place, watcher);
  };
  const follow = (isFirst = false): void => {
    watched = watchedFrom(folder);
    for (const [place, watcher] of watchers)
      if (!watched.has(place)) {
        watcher.close();
        watchers.delete(place);
      }
    for (const [place, { isOwn }] of watched) {
      try {
        if (!watchers.has(place)) open(place);
      } catch (cause) {
        // Once it runs, one may be gone again already; and what lies around the tenant's need not be open to us.
        if (isFirst && isOwn) throw cannotWatch(folder, cause);
      }
    }
  };
  const isThere = lstatSync(folder, { throwIfNoEntry: false }) !== undefined;
  if (!isThere) throw cannotWatch(folder, new Error('it is not there'));
  follow(true);
  return {
    [Symbol.dispose]: () => {
      clearTimeout(timer);
      for (const watcher of watchers.values()) watcher.close();
      watchers.clear();
    },
  };
}

const isLink = (file: string): boolean =>
  lstatSync(file, { throwIfNoEntry: false })?.isSymbolicLink() === true;

const cannotWatch = (folder: string, cause: unknown): ServiceError =>
  new ServiceError('config_invalid', `cannot watch ${folder}: ${describe(cause)}`, { cause });
