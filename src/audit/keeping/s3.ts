import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import http, { type IncomingHttpHeaders, type IncomingMessage } from 'node:http';
import https from 'node:https';
import { pipeline } from 'node:stream/promises';
import { AwsClient } from 'aws4fetch';
import type { Archive } from './archive.ts';

export interface S3Settings {
  /** Of the service, without the bucket: https://s3.eu-central-1.amazonaws.com. */
  readonly endpoint: string;
  readonly region: string;
  readonly bucket: string;
  /** Before each key; empty, or ends with `/`. */
  readonly prefix: string;
}

/** From the environment, by the names that all of AWS's tools have for them. */
export interface S3Credentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string | undefined;
}

/** A volume is a few hundred MiB at most. */
const PUT_MS = 600_000;
const HEAD_MS = 30_000;
/** Of an answer that says why not. */
const MOST_CHARACTERS = 65_536;

/**
 * A bucket of an S3-compatible store. What is sent is bound to its SHA-256 by the signature, and the store is asked for
 * what it has before it counts as archived. Keys are signed and sent in the form of AWS Signature Version 4.
 */
export class S3Archive implements Archive {
  readonly name: string;
  readonly #settings: S3Settings;
  readonly #client: AwsClient;

  constructor(settings: S3Settings, credentials: S3Credentials) {
    this.#settings = settings;
    this.name = `s3://${settings.bucket}/${settings.prefix}`;
    this.#client = new AwsClient({
      accessKeyId: credentials.accessKeyId,
      secretAccessKey: credentials.secretAccessKey,
      ...(credentials.sessionToken === undefined ? {} : { sessionToken: credentials.sessionToken }),
      service: 's3',
      region: settings.region,
    });
  }

  async put(file: string, key: string, sha256: string): Promise<string> {
    const checksum = Buffer.from(sha256, 'hex').toString('base64');
    const { size } = await stat(file);
    const put = await this.#send('PUT', key, PUT_MS, file, {
      'content-length': String(size),
      'x-amz-content-sha256': sha256,
      'x-amz-checksum-sha256': checksum,
    }).catch((error: unknown) => this.#explained(error, key));
    if (put.status !== 200) throw new Error(`PUT is answered ${put.status}: ${reasonIn(put.body)}`);
    const head = await this.#send('HEAD', key, HEAD_MS, undefined, { 'x-amz-checksum-mode': 'ENABLED' });
    if (head.status !== 200) throw new Error(`HEAD of what was put is answered ${head.status}`);
    const found = Number(head.headers['content-length'] ?? 0);
    const kept = head.headers['x-amz-checksum-sha256'];
    // Older stores keep no checksums; all of them keep the length.
    if (found !== size || (kept !== undefined && kept !== checksum))
      throw new Error(`it holds ${found} bytes of ${size}, or others than were put`);
    return `${this.name}${key}`;
  }

  /** Some stores refuse a file by breaking it off, and what they say is lost then: of this they answer the status. */
  async #explained(error: unknown, key: string): Promise<never> {
    const why = (error as Error).message;
    const head = await this.#send('HEAD', key, HEAD_MS, undefined, {}).catch(() => undefined);
    throw new Error(head ? `PUT was broken off (${why}); HEAD is answered ${head.status}` : why);
  }

  /** A file is sent only once the store has said that it takes it: who refuses does not wait for it, and says why. */
  async #send(
    method: 'PUT' | 'HEAD',
    key: string,
    timeoutMs: number,
    file: string | undefined,
    headers: Readonly<Record<string, string>>,
  ): Promise<Answer> {
    const { endpoint, bucket, prefix } = this.#settings;
    const path = `${prefix}${key}`.split('/').map(escaped).join('/');
    const signed = await this.#client.sign(`${endpoint.replace(/\/$/, '')}/${bucket}/${path}`, {
      method,
      headers,
    });
    const url = new URL(signed.url);
    const request = (url.protocol === 'https:' ? https : http).request(url, {
      method,
      headers: {
        ...Object.fromEntries(signed.headers),
        ...(file === undefined ? {} : { ...headers, expect: '100-continue' }),
      },
      signal: AbortSignal.timeout(timeoutMs),
    });
    return new Promise<Answer>((resolve, reject) => {
      request.on('error', reject);
      request.on('response', (response) => {
        answerOf(response).then(resolve, reject);
      });
      if (file === undefined) return request.end();
      request.on('continue', () => {
        pipeline(createReadStream(file), request).catch(reject);
      });
      request.flushHeaders();
    });
  }
}

interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

/** A redirect is an answer too: what is signed is for one place. */
async function answerOf(response: IncomingMessage): Promise<Answer> {
  const { statusCode: status = 0, headers } = response;
  let body = '';
  for await (const chunk of response.setEncoding('utf8')) {
    body += chunk as string;
    if (body.length > MOST_CHARACTERS) break;
  }
  return { status, headers, body };
}

/** RFC 3986 section 2.3: all but what is unreserved, as AWS has paths signed. */
export const escaped = (name: string): string =>
  encodeURIComponent(name).replace(
    /[!'()*]/g,
    (letter) => `%${letter.charCodeAt(0).toString(16).toUpperCase()}`,
  );

/** What the store says, in a line. */
function reasonIn(text: string): string {
  const [, code = ''] = /<Code>([A-Za-z0-9]{1,64})<\/Code>/.exec(text) ?? [];
  const [, message = ''] = /<Message>([^<]{1,300})<\/Message>/.exec(text) ?? [];
  return `${code} ${message}`.trim() || 'no reason is given';
}
