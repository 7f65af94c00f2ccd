import { describe, ServiceError } from '../../../errors.ts';
import { watchFolder } from '../../../policy/intake/watch.ts';
import { print, warn } from '../../terminal/output.ts';

/**
 * Calls `run` with a folder after something in it changed, one at a time, until the process is interrupted: then what
 * runs comes to its end. A second interrupt ends it at once.
 */
export async function again(
  folders: readonly string[],
  run: (folders: readonly string[]) => Promise<void>,
): Promise<void> {
  using stack = new DisposableStack();
  let last = Promise.resolve();
  for (const folder of folders)
    stack.use(
      watchFolder(folder, () => {
        last = last.then(() => once(folder, run));
        return last;
      }),
    );
  const { promise, resolve } = Promise.withResolvers<void>();
  // The watches themselves keep no process alive.
  const alive = setInterval(() => {}, 60_000);
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, resolve);
  warn('mandate: waiting for changes; end with Ctrl-C');
  await promise;
  clearInterval(alive);
  stack.dispose();
  await last;
}

/** A folder that cannot be read now may be the next moment. */
async function once(folder: string, run: (folders: readonly string[]) => Promise<void>): Promise<void> {
  print(`--- ${folder}`);
  try {
    await run([folder]);
  } catch (error) {
    if (!(error instanceof ServiceError)) throw error;
    warn(`mandate: ${error.code}: ${describe(error)}`);
  }
}
