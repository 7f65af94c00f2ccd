import { type FSWatcher, watch } from 'node:fs';
import { describe, ServiceError } from '../errors.ts';

/** An editor saves a file in several steps; they count as one. In milliseconds. */
const SETTLE_MS = 30;

/**
 * Calls `changed` after files of the folder changed, one call at a time, never two for one save. A change that comes
 * while a call runs causes one more.
 */
export function watchFolder(folder: string, changed: () => Promise<void>): Disposable {
  let timer: NodeJS.Timeout | undefined;
  let running: Promise<void> | undefined;
  const settle = (): void => {
    timer = undefined;
    if (running) return schedule();
    running = changed().finally(() => {
      running = undefined;
    });
  };
  const schedule = (): void => {
    clearTimeout(timer);
    timer = setTimeout(settle, SETTLE_MS);
  };
  let watcher: FSWatcher;
  try {
    watcher = watch(folder, { recursive: true, persistent: false }, (_event, name) => {
      if (name === null || /\.(?:rego|yaml|json)$/.test(name)) schedule();
    });
    watcher.on('error', () => watcher.close());
  } catch (cause) {
    throw new ServiceError('config_invalid', `cannot watch ${folder}: ${describe(cause)}`, { cause });
  }
  return {
    [Symbol.dispose]: () => {
      clearTimeout(timer);
      watcher.close();
    },
  };
}
