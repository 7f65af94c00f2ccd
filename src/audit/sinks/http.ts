import { hash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import { systemClock } from '../../effects.ts';
import { describe } from '../../errors.ts';
import type { Outgoing } from './backlog.ts';
import type { Format } from './formats.ts';
import type { HttpTarget } from './settings.ts';
import { type Delivery, NotDelivered } from './sink.ts';

const ANSWER_MS = 30_000;
/** What is told of an answer that is none of success. */
const TOLD_CHARACTERS = 200;

const compressed = promisify(gzip);

/** A batch is a POST, gzip; any answer of 2xx takes it. */
export class HttpDelivery implements Delivery {
  readonly #target: HttpTarget;
  readonly #format: Format;

  constructor(target: HttpTarget, format: Format) {
    this.#target = target;
    this.#format = format;
  }

  async deliver(records: readonly Outgoing[], signal: AbortSignal): Promise<void> {
    const { url } = this.#target;
    const text = this.#format.batch(records);
    const headers: Record<string, string> = {
      'content-type': this.#format.contentType,
      'content-encoding': 'gzip',
      // The same for the same batch alone: one that was taken anew may hold more.
      'idempotency-key': hash('sha256', text, 'hex'),
    };
    const token = await this.#token();
    if (token !== undefined) headers['authorization'] = `Bearer ${token}`;
    const body = await compressed(text, { level: 1 });
    let response: Response;
    try {
      response = await fetch(url, {
        method: 'POST',
        headers,
        body,
        redirect: 'error',
        signal: AbortSignal.any([AbortSignal.timeout(ANSWER_MS), signal]),
      });
    } catch (cause) {
      throw new NotDelivered(
        `${this.#where} cannot be reached: ${describe((cause as Error).cause ?? cause)}`,
        {
          cause,
        },
      );
    }
    const said = await firstOf(response);
    if (response.ok) return;
    const waitMs = retryAfterMs(response.headers.get('retry-after'));
    throw new NotDelivered(`${this.#where} answers ${response.status}${said === '' ? '' : `: ${said}`}`, {
      isTooLarge: response.status === 413,
      waitMs,
    });
  }

  /** The path of a collector is often its secret. */
  get #where(): string {
    return new URL(this.#target.url).origin;
  }

  async #token(): Promise<string | undefined> {
    const { token_file: file } = this.#target;
    if (file === undefined) return undefined;
    try {
      return (await readFile(file, 'utf8')).trim();
    } catch (cause) {
      throw new NotDelivered(`${file} cannot be read: ${describe(cause)}`, { cause });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}

/** The rest of it is not read. */
async function firstOf(response: Response): Promise<string> {
  const reader = response.body?.getReader();
  const { value } = (await reader?.read().catch(() => undefined)) ?? {};
  await reader?.cancel().catch(() => undefined);
  return Buffer.from(value ?? [])
    .toString('utf8')
    .slice(0, TOLD_CHARACTERS)
    .replaceAll(/[\s\p{Cc}]+/gu, ' ')
    .trim();
}

/** RFC 9110 section 10.2.3. */
function retryAfterMs(value: string | null): number {
  if (value === null) return 0;
  const ms = /^\d{1,6}$/.test(value) ? Number(value) * 1_000 : Date.parse(value) - systemClock();
  return Number.isFinite(ms) ? Math.max(0, ms) : 0;
}
