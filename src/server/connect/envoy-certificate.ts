import { hash } from 'node:crypto';
import { ServiceError } from '../../errors.ts';
import type { AttributeContext } from '../../gen/envoy/service/auth/v3/external_auth_pb.ts';
import type { EnvoyHeaders } from './envoy-headers.ts';

/**
 * The certificate of the client that Envoy asks about, where Envoy's own configuration says that, and where, it tells of
 * it (`context_extensions.certificate`): anything else in a request is the client's own word.
 */

const CERTIFICATE_HEADER = 'x-forwarded-client-cert';
const MAX_CERTIFICATE = 16_384;

/** By what the configuration calls it. */
const places: Readonly<
  Record<string, (attributes: AttributeContext, headers: EnvoyHeaders) => string | undefined>
> = {
  source: ({ source }) => thumbprintOf(source?.certificate ?? ''),
  [CERTIFICATE_HEADER]: (_attributes, headers) => hashIn(headers.only(CERTIFICATE_HEADER) ?? ''),
};

/**
 * Its thumbprint (RFC 8705 section 3.1); undefined where Envoy tells of none, or not in the one form it has. Throws
 * `invalid_request` for a place that there is not.
 */
export function certificateOf(attributes: AttributeContext, headers: EnvoyHeaders): string | undefined {
  const { certificate: place = '' } = attributes.contextExtensions;
  if (place === '') return undefined;
  const find = Object.hasOwn(places, place) ? places[place] : undefined;
  if (!find)
    throw new ServiceError(
      'invalid_request',
      `context_extensions.certificate is one of ${Object.keys(places).join(', ')}`,
    );
  return find(attributes, headers);
}

const PEM = /^-----BEGIN CERTIFICATE-----\n([A-Za-z0-9+/=\n]+)\n-----END CERTIFICATE-----\n?$/;

/** Of `source.certificate`: one certificate, as PEM in the encoding of URLs. */
function thumbprintOf(text: string): string | undefined {
  if (text === '' || text.length > MAX_CERTIFICATE) return undefined;
  const base64 = PEM.exec(decoded(text))?.[1]?.replaceAll('\n', '');
  if (base64 === undefined) return undefined;
  const der = Buffer.from(base64, 'base64');
  return der.toString('base64') === base64 ? hash('sha256', der, 'base64url') : undefined;
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return '';
  }
}

/** `Key=value` or `Key="value"`, where a quotation mark in the value has a backslash before it. */
const PAIR = /([A-Za-z]+)=(?:"((?:[^"\\]|\\.)*)"|([^",;=]*))(;|$)/y;
const HASH = /^[0-9a-f]{64}$/;

/**
 * Of the header: the one element, with one `Hash`, that the Envoy which ended the client's connection has set. Where there
 * are more, one of them may be what a client wrote, and none is believed.
 */
function hashIn(text: string): string | undefined {
  if (text === '' || text.length > MAX_CERTIFICATE) return undefined;
  const hashes: string[] = [];
  let at = 0;
  while (at < text.length) {
    PAIR.lastIndex = at;
    const [pair, key = '', quoted, plain = '', end] = PAIR.exec(text) ?? [];
    if (pair === undefined) return undefined;
    if (key.toLowerCase() === 'hash') hashes.push(quoted ?? plain);
    at += pair.length;
    if (end === ';' && at === text.length) return undefined;
  }
  const [only = '', ...others] = hashes;
  return others.length === 0 && HASH.test(only) ? Buffer.from(only, 'hex').toString('base64url') : undefined;
}
