import { rmSync, statSync } from 'node:fs';
import net, { type AddressInfo } from 'node:net';
import { ServiceError } from '../../errors.ts';

/** Resolves with the port, 0 for a path. Rejects with `config_invalid` where the address cannot be had. */
export function bind(server: net.Server, where: net.ListenOptions): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) => {
      const place = where.path ?? `${where.host}:${where.port}`;
      const why = cause.code === 'EADDRINUSE' ? 'it is in use; is Mandate running already?' : cause.message;
      reject(new ServiceError('config_invalid', `cannot listen on ${place}: ${why}`, { cause }));
    });
    server.listen(where, () => resolve((server.address() as AddressInfo | string as AddressInfo).port ?? 0));
  });
}

/**
 * A port that threads share (SO_REUSEPORT) would be shared with another process of the same user too, without a word.
 * Rejects with `config_invalid` where somebody has it.
 */
export async function checkFree(host: string, port: number): Promise<void> {
  if (port === 0) return;
  const alone = net.createServer();
  await bind(alone, { host, port });
  await new Promise((closed) => alone.close(closed));
}

/** A socket file that a dead process left would be in the way; any other file there is not ours to remove. */
export async function removeStaleSocket(path: string): Promise<void> {
  if (!statSync(path, { throwIfNoEntry: false })?.isSocket()) return;
  const isStale = await new Promise<boolean>((resolve) => {
    const probe = net.connect(path, () => resolve(false));
    probe.on('error', (error: NodeJS.ErrnoException) => resolve(error.code === 'ECONNREFUSED'));
    probe.on('connect', () => probe.destroy());
  });
  if (isStale) rmSync(path);
}
