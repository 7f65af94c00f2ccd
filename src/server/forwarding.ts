import http2 from 'node:http2';
import { errorCodes, ServiceError } from '../errors.ts';
import type { Callers } from '../tenancy/callers.ts';
import { ERROR_CODE_HEADER } from './errors.ts';
import { lengthAt, MAX_MESSAGE_BYTES, PREFIX_BYTES, tooLarge } from './grpc/frames.ts';
import { headerOf, MAX_STRANGERS_BYTES } from './http/exchange.ts';
import { Gather } from './intake/gather.ts';
import { Places } from './intake/places.ts';
import { Upload, type Uploads } from './intake/uploads.ts';
import { presentedBy } from './peer.ts';
import type { Exchange } from './transport/exchange.ts';

/** Where what is not decided here is decided. */
export interface ForwardingOptions {
  /** Of one plane, asked in turn until one takes the connection. */
  readonly origins: readonly URL[];
  /** PEM. */
  readonly ca: string | undefined;
  readonly cert: string | undefined;
  readonly key: string | undefined;
  readonly callers: Callers;
}

/** Says that a request was passed on. */
export const PASSED_ON = 'mandate-passed-on';

/** Two sidecars that name each other would pass it on for ever. */
export const passedBefore = (): ServiceError =>
  new ServiceError(
    'unavailable',
    'it was passed on before: authority names a sidecar, which passes on itself',
  );

/** RFC 9110 section 7.6.1, and what this hop makes itself. */
const HOP_BY_HOP: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'transfer-encoding',
  'upgrade',
  'host',
  'content-length',
  'http2-settings',
]);

/** Requests of nobody that is known, under way. */
const STRANGERS = { total: 64, each: 16, full: 'too many whom nobody knows are asking' };

const CONNECT_MS = 3_000;
/** How long the other side may say nothing. */
const SILENT_MS = 60_000;

/**
 * Passes requests on to an authority as they came, with the caller's own credential, and its answers back. A body is read
 * whole, bounded as everywhere, and for whom nobody knows it is a small one.
 */
export class Forwarding implements Disposable {
  readonly #options: ForwardingOptions;
  #session: http2.ClientHttp2Session | undefined;
  #at = 0;
  readonly #strangers = new Places(STRANGERS);

  constructor(options: ForwardingOptions) {
    this.#options = options;
  }

  /** Answers it. Rejects where there is no answer yet that says what went wrong. */
  async pass(exchange: Exchange, uploads: Uploads): Promise<void> {
    const isKnown = await this.#isKnown(exchange);
    // Who is not told by a header may be told by a form, and is refused by the authority, which makes the record of it.
    using _place = isKnown ? undefined : this.#strangers.take(exchange.peer.address ?? '');
    const maxBytes = isKnown ? MAX_MESSAGE_BYTES + PREFIX_BYTES : MAX_STRANGERS_BYTES;
    exchange.peer.welcome?.();
    const body = await gathered(exchange, uploads, maxBytes);
    const headers: http2.OutgoingHttpHeaders = {};
    for (const [name, value] of Object.entries(exchange.headers))
      if (!name.startsWith(':') && !HOP_BY_HOP.has(name)) headers[name] = value;
    const stream = await this.#request({
      ...headers,
      ':method': exchange.method,
      ':path': exchange.url,
      [PASSED_ON]: '1',
    });
    exchange.onClosed(() => stream.close(http2.constants.NGHTTP2_CANCEL));
    stream.end(body);
    await answered(stream, exchange);
  }

  async #isKnown(exchange: Exchange): Promise<boolean> {
    const presented = presentedBy(headerOf(exchange, 'authorization'), exchange.peer);
    try {
      await this.#options.callers.greet(presented);
      return true;
    } catch {
      return false;
    }
  }

  /** The message of a gRPC call of one message, and that of its answer. Rejects with what the authority says. */
  async unary(
    path: string,
    authorization: string | undefined,
    message: Uint8Array,
    timeoutMs: number,
  ): Promise<Uint8Array> {
    const stream = await this.#request({
      ':method': 'POST',
      ':path': path,
      'content-type': 'application/grpc+proto',
      te: 'trailers',
      'grpc-timeout': `${Math.max(1, Math.min(Math.floor(timeoutMs), 99_999_999))}m`,
      ...(authorization !== undefined && { authorization }),
      [PASSED_ON]: '1',
    });
    const prefix = Buffer.alloc(PREFIX_BYTES);
    prefix.writeUInt32BE(message.length, 1);
    stream.end(Buffer.concat([prefix, message]));
    const { head, chunks, trailers } = await whole(stream);
    const of = (name: string): string => String(trailers[name] ?? head[name] ?? '');
    const frame = Buffer.concat(chunks);
    if (
      of('grpc-status') !== '0' ||
      frame.length < PREFIX_BYTES ||
      lengthAt(frame, 1) !== frame.length - PREFIX_BYTES
    )
      throw refusalOf(of(ERROR_CODE_HEADER), of('grpc-message'), of('grpc-status'));
    return frame.subarray(PREFIX_BYTES);
  }

  async #request(headers: http2.OutgoingHttpHeaders): Promise<http2.ClientHttp2Stream> {
    const session = await this.#connected();
    const stream = session.request(headers);
    stream.setTimeout(SILENT_MS, () => stream.close(http2.constants.NGHTTP2_CANCEL));
    return stream;
  }

  async #connected(): Promise<http2.ClientHttp2Session> {
    const { origins } = this.#options;
    let why: unknown;
    for (let tried = 0; tried < origins.length; tried += 1) {
      const open = this.#session;
      if (open && !open.closed && !open.destroyed) return open;
      const origin = origins[this.#at % origins.length];
      if (!origin) break;
      try {
        this.#session = await connected(origin, this.#options);
        return this.#session;
      } catch (error) {
        why = error;
        this.#at += 1;
      }
    }
    throw new ServiceError('unavailable', 'no authority can be reached, and this is for one to decide', {
      cause: why,
      retryAfterMs: 1_000,
    });
  }

  [Symbol.dispose](): void {
    this.#session?.destroy();
  }
}

function connected(
  origin: URL,
  { ca, cert, key }: Pick<ForwardingOptions, 'ca' | 'cert' | 'key'>,
): Promise<http2.ClientHttp2Session> {
  return new Promise((resolve, reject) => {
    const session = http2.connect(origin.origin, {
      ...(ca !== undefined && { ca }),
      ...(cert !== undefined && { cert, key }),
    });
    const late = setTimeout(() => session.destroy(new Error('it does not answer in time')), CONNECT_MS);
    // Also of one that fails later: its streams tell whoever waits.
    session.on('error', reject);
    session.once('close', () => reject(new Error('the connection was closed')));
    session.once('connect', () => {
      clearTimeout(late);
      session.unref();
      resolve(session);
    });
    session.once('close', () => clearTimeout(late));
  });
}

async function gathered(exchange: Exchange, uploads: Uploads, maxBytes: number): Promise<Uint8Array> {
  const upload = new Upload(exchange, uploads);
  const gather = new Gather(maxBytes, () => tooLarge(maxBytes), uploads.roomOf(exchange.peer.address ?? ''));
  upload.begin();
  try {
    for (let chunk = await upload.next(); chunk !== undefined; chunk = await upload.next()) gather.add(chunk);
    return gather.take();
  } finally {
    upload.end();
  }
}

/** What the authority says of why not, as it says it. */
function refusalOf(code: string, message: string, status: string): ServiceError {
  const known = errorCodes.find((each) => each === code);
  const text = message.replaceAll(/%[0-9a-fA-F]{2}/g, (byte) =>
    String.fromCharCode(Number.parseInt(byte.slice(1), 16)),
  );
  // It begins with the code, for those who see nothing else.
  if (known) return new ServiceError(known, text.replace(`${code}: `, '').slice(0, 1_024));
  return new ServiceError('unavailable', 'the authority did not decide it', {
    detail: `grpc-status ${status || 'missing'}: ${text.slice(0, 1_024)}`,
    retryAfterMs: 1_000,
  });
}

const unanswered = (cause?: unknown): ServiceError =>
  new ServiceError('unavailable', 'the authority gave no answer', { cause, retryAfterMs: 1_000 });

/** Its answer, part by part as it comes. */
async function answered(stream: http2.ClientHttp2Stream, exchange: Exchange): Promise<void> {
  const head = await headOf(stream);
  exchange.respond(Number(head[':status']), headersIn(head));
  let trailers: http2.IncomingHttpHeaders = {};
  stream.once('trailers', (fields) => {
    trailers = fields;
  });
  for await (const chunk of stream) await exchange.write(chunk as Uint8Array);
  exchange.end(headersIn(trailers));
}

function headOf(stream: http2.ClientHttp2Stream): Promise<http2.IncomingHttpHeaders> {
  return new Promise((resolve, reject) => {
    stream.once('response', resolve);
    stream.once('error', (error) => reject(unanswered(error)));
    stream.once('close', () => reject(unanswered()));
  });
}

async function whole(stream: http2.ClientHttp2Stream): Promise<{
  head: http2.IncomingHttpHeaders;
  chunks: Buffer[];
  trailers: http2.IncomingHttpHeaders;
}> {
  let trailers: http2.IncomingHttpHeaders = {};
  stream.once('trailers', (fields) => {
    trailers = fields;
  });
  const head = await headOf(stream);
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of stream) {
    bytes += (chunk as Buffer).length;
    if (bytes > MAX_MESSAGE_BYTES + PREFIX_BYTES) throw unanswered(new Error('it is too large'));
    chunks.push(chunk as Buffer);
  }
  return { head, chunks, trailers };
}

function headersIn(fields: http2.IncomingHttpHeaders): Headers {
  const headers = new Headers();
  for (const [name, value] of Object.entries(fields))
    if (!name.startsWith(':') && !HOP_BY_HOP.has(name))
      for (const each of [value ?? ''].flat()) headers.append(name, each);
  return headers;
}
