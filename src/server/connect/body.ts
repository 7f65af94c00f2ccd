import { promisify } from 'node:util';
import { brotliDecompress, gunzip } from 'node:zlib';
import { toConnectError } from '../errors.ts';
import { lengthAt, MAX_MESSAGE_BYTES, PREFIX_BYTES, tooLarge } from '../grpc/frames.ts';
import { checkJson } from '../http/json.ts';
import { Gather } from '../intake/gather.ts';
import { Upload, type Uploads } from '../intake/uploads.ts';
import type { Exchange } from '../transport/exchange.ts';

/** How the messages of a body are packed. */
export interface Packing {
  /** Each with a prefix of its flags and length, as gRPC, gRPC-Web and Connect's streams send them. */
  readonly enveloped: boolean;
  readonly json: boolean;
  readonly encoding: string;
}

/** As the library tells it: what it takes for packed is unpacked here with the same tools, or not at all. */
export function packingOf(header: Headers): Packing {
  const type = header.get('content-type')?.split(';')[0]?.trim().toLowerCase() ?? '';
  const json = type.endsWith('json');
  const found = encodingHeaders.find(([prefix]) => type.startsWith(prefix));
  const encoding = header.get(found?.[1] ?? 'content-encoding') ?? 'identity';
  return { enveloped: found !== undefined, json, encoding };
}

const encodingHeaders = [
  ['application/grpc', 'grpc-encoding'],
  ['application/connect+', 'connect-content-encoding'],
] as const;

export interface Bounds {
  readonly uploads: Uploads;
  readonly maxBytes: number;
  /** The address that sends it. */
  readonly whom: string;
}

/**
 * A body as the Connect library is to read it: whole messages, gathered with bounds on size, pieces and time before
 * there is room made for any of them, and sound where they are text. Throws what the library passes on in its
 * protocol's form.
 */
export async function* boundedBody(
  exchange: Exchange,
  packing: Packing,
  { uploads, maxBytes, whom }: Bounds,
  where: string,
): AsyncGenerator<Uint8Array> {
  const upload = new Upload(exchange, uploads);
  const gather = new Gather(
    packing.enveloped ? PREFIX_BYTES + maxBytes : maxBytes,
    () => tooLarge(maxBytes),
    uploads.roomOf(whom),
  );
  try {
    if (!packing.enveloped) upload.begin();
    for (let chunk = await upload.next(); chunk !== undefined; chunk = await upload.next()) {
      if (!packing.enveloped) {
        gather.add(chunk);
        continue;
      }
      for (let rest = chunk; rest.length > 0; ) {
        if (gather.length === 0) upload.begin();
        rest = rest.subarray(taken(gather, rest));
        if (!isWhole(gather, maxBytes)) continue;
        // Between two messages of a stream there may be any time.
        upload.end();
        yield await sound(gather.take(), packing);
      }
    }
    // What ends within a message is the library's to refuse.
    if (packing.enveloped) yield gather.take();
    else yield await sound(gather.take(), packing);
  } catch (error) {
    throw toConnectError(error, where);
  } finally {
    upload.end();
    gather.take();
  }
}

/** Adds what belongs to the message that has begun; answers how much that was. */
function taken(gather: Gather, chunk: Uint8Array): number {
  const wanted =
    gather.length < PREFIX_BYTES
      ? PREFIX_BYTES - gather.length
      : PREFIX_BYTES + lengthAt(gather.bytes, 1) - gather.length;
  const count = Math.min(wanted, chunk.length);
  gather.add(chunk.subarray(0, count));
  return count;
}

function isWhole(gather: Gather, maxBytes: number): boolean {
  if (gather.length < PREFIX_BYTES) return false;
  const length = lengthAt(gather.bytes, 1);
  if (length > maxBytes) throw tooLarge(maxBytes);
  return gather.length === PREFIX_BYTES + length;
}

/** JSON that would be read otherwise than it was written is refused, whatever it is packed in. */
async function sound(bytes: Uint8Array, { enveloped, json, encoding }: Packing): Promise<Uint8Array> {
  if (!json || bytes.length === 0) return bytes;
  const message = enveloped ? bytes.subarray(PREFIX_BYTES) : bytes;
  const isPacked = enveloped ? ((bytes[0] ?? 0) & COMPRESSED) !== 0 : encoding !== 'identity';
  const plain = isPacked ? await unpacked(message, encoding) : message;
  if (plain) checkJson(plain);
  return bytes;
}

const COMPRESSED = 1;

const unpackers = new Map([
  ['gzip', promisify(gunzip)],
  ['br', promisify(brotliDecompress)],
]);

/** Undefined for what cannot be unpacked: the library, which will try it too, says so in its words. */
async function unpacked(bytes: Uint8Array, encoding: string): Promise<Uint8Array | undefined> {
  try {
    return await unpackers.get(encoding)?.(bytes, { maxOutputLength: MAX_MESSAGE_BYTES });
  } catch {
    return undefined;
  }
}
