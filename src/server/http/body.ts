import { promisify } from 'node:util';
import { gunzip } from 'node:zlib';
import { ServiceError } from '../../errors.ts';
import { Gather } from '../intake/gather.ts';
import { Upload, type Uploads } from '../intake/uploads.ts';
import type { Exchange } from '../transport/exchange.ts';

/** The whole body of a plain route's request. Throws as `HttpRequest.body` says. */
export async function readBody(
  exchange: Exchange,
  maxBytes: number,
  uploads: Uploads,
  whom: string,
): Promise<Uint8Array> {
  const tooLarge = (): ServiceError =>
    new ServiceError('payload_too_large', `a body is at most ${maxBytes} bytes`);
  if (Number(exchange.headers['content-length'] ?? 0) > maxBytes) throw tooLarge();
  const unpack = unpackerOf(exchange.headers['content-encoding']);
  const gather = new Gather(maxBytes, tooLarge, uploads.roomOf(whom));
  const upload = new Upload(exchange, uploads);
  try {
    upload.begin();
    for (let chunk = await upload.next(); chunk !== undefined; chunk = await upload.next()) gather.add(chunk);
    return await unpack(gather.take(), maxBytes, tooLarge);
  } finally {
    upload.end();
    gather.take();
  }
}

type Unpack = (
  bytes: Uint8Array,
  maxBytes: number,
  tooLarge: () => ServiceError,
) => Uint8Array | Promise<Uint8Array>;

const asItIs: Unpack = (bytes) => bytes;

const gunzipped: Unpack = async (bytes, maxBytes, tooLarge) => {
  if (bytes.length === 0) return bytes;
  try {
    return await promisify(gunzip)(bytes, { maxOutputLength: maxBytes });
  } catch (cause) {
    if ((cause as { code?: string }).code === 'ERR_BUFFER_TOO_LARGE') throw tooLarge();
    throw new ServiceError('invalid_request', 'the body is not gzip', { cause });
  }
};

/** RFC 9110 section 8.4.1: names without regard to case, `x-gzip` being another of gzip's. */
const unpackers: ReadonlyMap<string, Unpack> = new Map([
  ['', asItIs],
  ['identity', asItIs],
  ['gzip', gunzipped],
  ['x-gzip', gunzipped],
]);

function unpackerOf(encoding: string | string[] | undefined): Unpack {
  const unpack = unpackers.get(
    String(encoding ?? '')
      .trim()
      .toLowerCase(),
  );
  if (!unpack) throw new ServiceError('unsupported_media_type', 'the content encoding is gzip or identity');
  return unpack;
}
