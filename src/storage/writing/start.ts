import { Worker } from 'node:worker_threads';
import { ServiceError } from '../../errors.ts';
import type { StoreOptions } from '../database.ts';
import { Pulse } from '../watch/pulse.ts';
import type { WriterOptions } from './protocol.ts';

/**
 * Starts the thread that writes. Resolves when the store is open and its schema current. Throws `storage_unsupported`
 * and `config_invalid`.
 */
export async function startWriter(options: StoreOptions): Promise<{ thread: Worker; pulse: Pulse }> {
  const file = import.meta.url.endsWith('.ts') ? './thread.ts' : './thread.js';
  const pulse = new Pulse();
  const thread = new Worker(new URL(file, import.meta.url), {
    workerData: { ...options, pulse: pulse.shared } satisfies WriterOptions,
    name: 'mandate-writer',
  });
  await new Promise<void>((resolve, reject) => {
    thread.once('message', () => resolve());
    thread.once('error', (cause: Error & { code?: string }) => {
      const code = cause.code === 'storage_unsupported' ? 'storage_unsupported' : 'config_invalid';
      reject(
        new ServiceError(code, `cannot open the store in ${options.folder}: ${cause.message}`, { cause }),
      );
    });
  });
  thread.removeAllListeners('error');
  return { thread, pulse };
}
