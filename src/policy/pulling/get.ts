import http, { type IncomingHttpHeaders, type IncomingMessage } from 'node:http';
import https from 'node:https';
import { describe } from '../../errors.ts';
import { NotPulled } from './source.ts';

/** Of an archive, as it is sent. */
export const MAX_ARCHIVE_BYTES = 32 * 1024 * 1024;
/** From the connection to the last byte, beside what the server was asked to wait. In milliseconds. */
const WHOLE_MS = 120_000;
const MAX_WAIT_MS = 600_000;

export interface Asked {
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  /** For how long the server may hold the request. */
  readonly holdMs: number;
  readonly signal: AbortSignal;
  readonly ca?: string | undefined;
  readonly client?: { readonly cert: string; readonly key: string } | undefined;
}

/** A tag is sent back as it came, in a header. */
const TAG = /^(?:W\/)?"[\x21\x23-\x7e]{0,1000}"$/;

export interface Got {
  /** Undefined: what was named by its tag is still there (RFC 9110 section 15.4.5). */
  readonly body: Buffer | undefined;
  readonly etag: string | undefined;
  readonly headers: IncomingHttpHeaders;
}

/**
 * GETs an archive, within its bounds of size and time. Redirects are not followed: credentials, and the trust in what
 * answers, are for the one place that was configured. Rejects with `NotPulled`.
 */
export async function get(asked: Asked): Promise<Got> {
  const { url, holdMs, signal } = asked;
  const until = AbortSignal.any([signal, AbortSignal.timeout(WHOLE_MS + holdMs)]);
  try {
    const response = await answered(asked, until);
    const { statusCode: status = 0, headers } = response;
    const etag = headers.etag !== undefined && TAG.test(headers.etag) ? headers.etag : undefined;
    if (status === 304) {
      response.destroy();
      return { body: undefined, etag, headers };
    }
    if (status !== 200) {
      response.destroy();
      throw new NotPulled(`${url.origin} ${told(status, headers)}`, {
        waitMs: waitMsIn(headers['retry-after']),
      });
    }
    return { body: await bodyOf(response, url), etag, headers };
  } catch (cause) {
    if (cause instanceof NotPulled) throw cause;
    throw new NotPulled(`${url.origin} cannot be reached: ${describe(cause)}`, { cause });
  }
}

function answered({ url, headers, ca, client }: Asked, signal: AbortSignal): Promise<IncomingMessage> {
  const secured = { ...(ca === undefined ? {} : { ca }), ...client, minVersion: 'TLSv1.2' as const };
  const isSecure = url.protocol === 'https:';
  return new Promise((resolve, reject) => {
    const options = { headers, signal, agent: false, ...(isSecure ? secured : {}) };
    const request = (isSecure ? https : http).request(url, options, resolve);
    request.on('error', reject);
    request.end();
  });
}

async function bodyOf(response: IncomingMessage, url: URL): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of response) {
    size += (chunk as Buffer).length;
    if (size > MAX_ARCHIVE_BYTES) {
      response.destroy();
      throw new NotPulled(`${url.origin} sends more than ${MAX_ARCHIVE_BYTES} bytes`);
    }
    chunks.push(chunk as Buffer);
  }
  // Node ends the stream of a body that was cut off without an error where the length was not stated alone.
  if (!response.complete) throw new NotPulled(`${url.origin} broke off its answer`);
  return Buffer.concat(chunks, size);
}

function told(status: number, { location }: IncomingHttpHeaders): string {
  if (location !== undefined && status >= 300 && status < 400)
    return `answers ${status}, and redirects are not followed`;
  return `answers ${status}`;
}

/** RFC 9110 section 10.2.3, in seconds; dates are of their clock and not of ours. */
function waitMsIn(text: string | undefined): number | undefined {
  const seconds = /^\d{1,6}$/.test(text ?? '') ? Number(text) : undefined;
  return seconds === undefined ? undefined : Math.min(seconds * 1_000, MAX_WAIT_MS);
}
