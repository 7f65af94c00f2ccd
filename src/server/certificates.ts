import { readFileSync, unwatchFile, watchFile } from 'node:fs';
import type { SecureContextOptions } from 'node:tls';
import { describe, ServiceError } from '../errors.ts';
import { errorChannel } from './errors.ts';
import type { Listener } from './listener.ts';

export interface CertificateFiles {
  readonly cert: string;
  readonly key: string;
  /** Callers may present certificates of these authorities. */
  readonly client_ca?: string | undefined;
}

/** A renewed certificate is two files; they are read when both have been still for this long. In milliseconds. */
const POLL_MS = 1_000;

/** Throws `config_invalid` for a file that is not there. */
export function readCertificates(files: CertificateFiles): SecureContextOptions & { requestCert: boolean } {
  try {
    const ca = files.client_ca === undefined ? {} : { ca: readFileSync(files.client_ca) };
    return {
      cert: readFileSync(files.cert),
      key: readFileSync(files.key),
      ...ca,
      requestCert: files.client_ca !== undefined,
    };
  } catch (cause) {
    throw new ServiceError('config_invalid', `tls: ${describe(cause)}`, { cause });
  }
}

/** Gives listeners new certificates when the files change. Files that do not fit together leave the old ones. */
export function watchCertificates(
  files: CertificateFiles,
  listeners: readonly Pick<Listener, 'renewCertificates'>[],
): Disposable {
  const paths = [files.cert, files.key, ...(files.client_ca === undefined ? [] : [files.client_ca])];
  const renew = (): void => {
    try {
      const options = readCertificates(files);
      for (const listener of listeners) listener.renewCertificates(options);
    } catch (cause) {
      const error = new ServiceError(
        'config_invalid',
        'the new certificates cannot be used; the old ones stay',
        { cause },
      );
      errorChannel.publish({ error, where: 'tls' });
    }
  };
  for (const path of paths) watchFile(path, { interval: POLL_MS, persistent: false }, renew);
  return {
    [Symbol.dispose]: () => {
      for (const path of paths) unwatchFile(path, renew);
    },
  };
}
