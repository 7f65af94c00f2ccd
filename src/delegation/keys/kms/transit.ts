import { boundedBody } from '../../../bounded-body.ts';
import { describe, ServiceError } from '../../../errors.ts';
import { KEY_BYTES, type Kms, type Unwrapped, type Wrapped } from './kms.ts';
import { credentialIn, isToken, type Login, loginRequest } from './login.ts';

export interface TransitSettings {
  /** Of the server, without a path: https://bao.example.com:8200. */
  readonly url: string;
  /** Of the secrets engine. */
  readonly mount: string;
  /** The name of an AEAD key in it, such as `aes256-gcm96`. */
  readonly key: string;
  readonly namespace?: string | undefined;
  readonly login: Login;
}

const ANSWER_MS = 10_000;
/** 200 keys take some 60 KiB. */
const MOST_BYTES = 1_048_576;
const CIPHERTEXT = /^vault:v[1-9]\d{0,9}:[A-Za-z0-9+/]{1,2048}={0,2}$/;

interface Reply {
  readonly status: number;
  readonly body: unknown;
}

/**
 * The transit engine of OpenBao or Vault: `encrypt` and `decrypt` of its HTTP API, many at a time. What is wrapped is bound
 * to its tenant there too, as associated data. What the server says is never repeated: it was told a token.
 */
export class Transit implements Kms {
  readonly name: string;
  readonly place: string;
  readonly #settings: TransitSettings;
  readonly #answerMs: number;
  /** Of a login; a token in a file is read each time. */
  #token: string | undefined;

  constructor(settings: TransitSettings, answerMs = ANSWER_MS) {
    this.#settings = settings;
    this.#answerMs = answerMs;
    this.name = `transit/${settings.mount}/${settings.key}`;
    this.place = new URL(settings.url).origin;
  }

  async wrap(keys: readonly Unwrapped[]): Promise<readonly string[]> {
    const results = await this.#batch(
      'encrypt',
      keys.map(({ key, binding }) => ({ plaintext: base64(key), associated_data: base64(binding) })),
    );
    return results.map(({ ciphertext }) => {
      if (typeof ciphertext === 'string' && CIPHERTEXT.test(ciphertext)) return ciphertext;
      throw this.#failure('answers encrypt with what is no ciphertext');
    });
  }

  async unwrap(keys: readonly Wrapped[]): Promise<readonly (Uint8Array | Error)[]> {
    const results = await this.#batch(
      'decrypt',
      keys.map(({ wrapped, binding }) => ({ ciphertext: wrapped, associated_data: base64(binding) })),
    );
    return results.map(({ plaintext, error }) => {
      if (error !== undefined && error !== '') return new Error(`${this.name} does not open it`);
      const key = Buffer.from(typeof plaintext === 'string' ? plaintext : '', 'base64');
      if (key.length === KEY_BYTES && key.toString('base64') === plaintext) return key;
      return new Error(`${this.name} answers what is no key`);
    });
  }

  versionOf(wrapped: string): string {
    return wrapped.split(':')[1] ?? '';
  }

  async #batch(what: 'encrypt' | 'decrypt', items: readonly object[]): Promise<Record<string, unknown>[]> {
    const { mount, key } = this.#settings;
    const path = `${mount}/${what}/${encodeURIComponent(key)}`;
    const { status, body } = await this.#asked(path, { batch_input: items });
    const results = memberOf(memberOf(body, 'data'), 'batch_results');
    // 400 where one of them failed; each then says so.
    if ((status !== 200 && status !== 400) || !Array.isArray(results)) throw this.#refusal(status);
    if (results.length !== items.length || !results.every(isObject))
      throw this.#failure(`answers ${what} with another number of keys`);
    return results;
  }

  /** A login is done anew once, where the token of the last one has ended. */
  async #asked(path: string, body: object): Promise<Reply> {
    const { login } = this.#settings;
    if (login.by === 'token') return this.#send(path, body, await credentialIn(login.file));
    if (this.#token !== undefined) {
      const reply = await this.#send(path, body, this.#token);
      if (reply.status !== 403) return reply;
    }
    this.#token = await this.#loggedIn(login);
    return this.#send(path, body, this.#token);
  }

  async #loggedIn(login: Exclude<Login, { by: 'token' }>): Promise<string> {
    const request = await loginRequest(login);
    const { status, body } = await this.#send(request.path, request.body);
    const token = memberOf(memberOf(body, 'auth'), 'client_token');
    if (status !== 200 || !isToken(token)) throw this.#failure(`refuses the login (${status})`);
    return token;
  }

  async #send(path: string, body: object, token?: string): Promise<Reply> {
    const { url, namespace } = this.#settings;
    const signal = AbortSignal.timeout(this.#answerMs);
    const headers: Record<string, string> = { 'content-type': 'application/json', 'x-vault-request': 'true' };
    if (token !== undefined) headers['x-vault-token'] = token;
    if (namespace !== undefined) headers['x-vault-namespace'] = namespace;
    let text: string;
    let status: number;
    try {
      // Whoever answers with a redirect would have the token and the keys sent on.
      const response = await fetch(new URL(`/v1/${path}`, url), {
        method: 'POST',
        headers,
        body: JSON.stringify(body),
        redirect: 'error',
        signal,
      });
      ({ status } = response);
      text = (await boundedBody(response, MOST_BYTES)).toString('utf8');
    } catch (cause) {
      const why = signal.aborted
        ? `gave no answer in ${this.#answerMs / 1_000} seconds`
        : `cannot be reached: ${describe((cause as Error).cause ?? cause)}`;
      throw this.#failure(why);
    }
    try {
      return { status, body: text === '' ? {} : JSON.parse(text) };
    } catch {
      throw this.#failure(`answers ${status} with what is no JSON`);
    }
  }

  #refusal(status: number): ServiceError {
    const why: Readonly<Record<number, string>> = {
      403: 'refuses the token, or the key to it (403)',
      404: `has no engine ${this.#settings.mount} (404)`,
      503: 'is sealed (503)',
    };
    return this.#failure(why[status] ?? `answers ${status}`);
  }

  #failure(why: string): ServiceError {
    return new ServiceError('unavailable', 'the KMS does not answer as it should', {
      detail: `${this.name} at ${this.place} ${why}`,
    });
  }
}

const base64 = (bytes: Uint8Array | string): string => Buffer.from(bytes).toString('base64');

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const memberOf = (value: unknown, name: string): unknown => (isObject(value) ? value[name] : undefined);
