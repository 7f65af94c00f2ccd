import { type FSWatcher, readdirSync, statSync, watch } from 'node:fs';
import path from 'node:path';
import { describe, ServiceError } from '../errors.ts';

/** An editor saves a file in several steps; they count as one. In milliseconds. */
const SETTLE_MS = 30;

const WATCHED = /\.(?:rego|yaml|json)$/;

/**
 * Calls `changed` after files of the folder or below it changed, one call at a time, never two for one save. A change
 * that comes while a call runs causes one more.
 *
 * Each folder has a watch of its own: Node's recursive one holds on to files, and hears no more of a file once
 * another was renamed over it, which is how many editors save.
 */
export function watchFolder(folder: string, changed: () => Promise<void>): Disposable {
  const watchers = new Map<string, FSWatcher>();
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
    watchers.get(place)?.close();
    watchers.delete(place);
  };
  const open = (place: string): void => {
    const watcher = watch(place, { persistent: false }, (event, name) => {
      const file = name === null ? place : path.join(place, name);
      // A folder that was moved or made again is another one.
      if (event === 'rename' && watchers.has(file)) forget(file);
      else if (name !== null && !WATCHED.test(name) && !isFolder(file)) return;
      schedule();
    });
    watcher.on('error', () => forget(place));
    watchers.set(place, watcher);
  };
  const follow = (): void => {
    const places = new Set(foldersFrom(folder));
    for (const place of watchers.keys()) if (!places.has(place)) forget(place);
    for (const place of places) {
      try {
        if (!watchers.has(place)) open(place);
      } catch (cause) {
        // One below may be gone again already.
        if (place === folder && watchers.size === 0)
          throw new ServiceError('config_invalid', `cannot watch ${folder}: ${describe(cause)}`, { cause });
      }
    }
  };
  follow();
  return {
    [Symbol.dispose]: () => {
      clearTimeout(timer);
      for (const place of watchers.keys()) forget(place);
    },
  };
}

const isFolder = (file: string): boolean => statSync(file, { throwIfNoEntry: false })?.isDirectory() === true;

/** The folder and all below it. */
function foldersFrom(folder: string): string[] {
  try {
    const below = readdirSync(folder, { recursive: true, withFileTypes: true });
    return [
      folder,
      ...below.filter((entry) => entry.isDirectory()).map((entry) => path.join(entry.parentPath, entry.name)),
    ];
  } catch {
    return [folder];
  }
}
