import { ServiceError } from '../errors.ts';
import type { GlobalOptions } from './terminal/output.ts';

export type Plane = 'data' | 'admin';

/**
 * Where a plane is. Throws `invalid_request` where it is no URL: looked at when it is used, as a wrong one in the
 * environment is nothing to `mandate serve`.
 */
export function addressOf(plane: Plane, options: GlobalOptions): string {
  const address = options[plane];
  const url = URL.parse(address);
  if ((url?.protocol === 'http:' || url?.protocol === 'https:') && url.hostname !== '') return address;
  throw new ServiceError(
    'invalid_request',
    `--${plane} (MANDATE_${plane.toUpperCase()}_URL) is http://host:port or https://host:port, not "${address}"`,
  );
}
