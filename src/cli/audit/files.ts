import type { ReadFile } from '../../audit/proof/verify-tiles.ts';
import { ServiceError } from '../../errors.ts';
import { explained } from '../terminal/explain.ts';

/** The files of a log that is served at an address (C2SP tlog-tiles), which is shown the credential, if there is one. */
export function filesAt(address: string, options: { credential?: string; timeout: number }): ReadFile {
  const headers = options.credential ? { authorization: `Bearer ${options.credential}` } : {};
  const base = address.replace(/\/$/, '');
  return async (name: string): Promise<Uint8Array | undefined> => {
    const signal = AbortSignal.timeout(options.timeout * 1_000);
    try {
      const response = await fetch(`${base}/${name}`, { headers, signal, redirect: 'error' });
      if (response.ok) return new Uint8Array(await response.arrayBuffer());
      // What is damaged is not served.
      if (name !== 'checkpoint' && (response.status === 404 || response.status === 503)) return undefined;
      throw new ServiceError('unavailable', `${base}/${name} answers ${response.status}`);
    } catch (error) {
      throw explained(error, base);
    }
  };
}
