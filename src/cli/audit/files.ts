import { GONE, type ReadFile } from '../../audit/proof/verify-tiles.ts';
import { boundedBody } from '../../bounded-body.ts';
import { ServiceError } from '../../errors.ts';
import { explained } from '../terminal/explain.ts';

/** The largest there is: a bundle of 256 entries, each of 65,535 bytes after its length (C2SP tlog-tiles). */
const MOST_BYTES = 256 * (2 + 65_535);

/** The files of a log that is served at an address (C2SP tlog-tiles), which is shown the credential, if there is one. */
export function filesAt(address: string, options: { credential?: string; timeout: number }): ReadFile {
  const headers = options.credential ? { authorization: `Bearer ${options.credential}` } : {};
  const base = address.replace(/\/$/, '');
  return async (name) => {
    const signal = AbortSignal.timeout(options.timeout * 1_000);
    try {
      const response = await fetch(`${base}/${name}`, { headers, signal, redirect: 'error' });
      if (response.ok) return await boundedBody(response, MOST_BYTES);
      if (response.status === 410) return GONE;
      // What is damaged is not served.
      if (name !== 'checkpoint' && (response.status === 404 || response.status === 503)) return undefined;
      throw new ServiceError('unavailable', `${base}/${name} answers ${response.status}`);
    } catch (error) {
      throw explained(error, base);
    }
  };
}

/** Throws `unavailable`, and `gone` of entries that were archived or removed. */
export async function needed(read: ReadFile, name: string): Promise<Uint8Array> {
  const bytes = await found(read, name);
  if (bytes !== GONE) return bytes;
  throw new ServiceError('gone', `${name} is not there any more`);
}

/** Throws `unavailable`. */
export async function found(read: ReadFile, name: string): Promise<Uint8Array | typeof GONE> {
  const bytes = await read(name);
  if (!bytes)
    throw new ServiceError(
      'unavailable',
      `${name} is damaged in the store, or missing; \`mandate audit verify\` names what`,
    );
  return bytes;
}
