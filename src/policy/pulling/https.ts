import { readFile } from 'node:fs/promises';
import { describe } from '../../errors.ts';
import type { TenantId } from '../../ids.ts';
import { unpackedBundle } from './archive.ts';
import { get } from './get.ts';
import type { Verification } from './signatures.ts';
import { type BundleSource, NotPulled, type Pulled } from './source.ts';

export interface HttpsSettings {
  readonly url: string;
  /** A bearer token, or the file that holds one; read again each time. */
  readonly token?: string | undefined;
  readonly tokenFile?: string | undefined;
  /** Files in PEM, read again each time, as they are renewed. */
  readonly client?: { readonly cert: string; readonly key: string } | undefined;
  readonly ca?: string | undefined;
  /** For how long the server is asked to hold a request until there is something new; 0: not at all. */
  readonly holdMs: number;
}

/** What OPA's services answer with where they hold requests: its documentation of bundles, "HTTP Long Polling". */
const LONG_POLLING = 'application/vnd.openpolicyagent.bundles';

/** A bundle that some server has, as OPA pulls it. */
export class HttpsSource implements BundleSource {
  readonly name: string;
  readonly #tenant: TenantId;
  readonly #settings: HttpsSettings;
  readonly #verification: Verification | undefined;
  /** The server does what it is asked to, and holds requests. */
  #holds: boolean;

  constructor(tenant: TenantId, settings: HttpsSettings, verification: Verification | undefined) {
    this.#tenant = tenant;
    this.#settings = settings;
    this.#verification = verification;
    this.#holds = settings.holdMs > 0;
    const { origin, pathname } = new URL(settings.url);
    // A query may hold what is secret.
    this.name = `${origin}${pathname}`;
  }

  async pull(etag: string | undefined, signal: AbortSignal): Promise<Pulled> {
    const { url, holdMs } = this.#settings;
    const [token, ca, client] = await Promise.all([this.#token(), this.#ca(), this.#client()]);
    const isHeld = this.#holds && etag !== undefined;
    const seconds = Math.round(holdMs / 1_000);
    const headers = {
      accept: `${LONG_POLLING}, application/gzip, */*`,
      'user-agent': 'mandate',
      prefer: isHeld ? `modes=snapshot;wait=${seconds}` : 'modes=snapshot',
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
      ...(etag === undefined ? {} : { 'if-none-match': etag }),
    };
    const began = performance.now();
    const asked = { url: new URL(url), headers, holdMs: isHeld ? holdMs : 0, signal, ca, client };
    const got = await get(asked);
    this.#holds = holdMs > 0 && (got.headers['content-type'] ?? '').startsWith(LONG_POLLING);
    if (!got.body) {
      // What says that it holds requests and does not would be asked without an end.
      const waited = isHeld && this.#holds && performance.now() - began > holdMs / 2;
      return { files: undefined, waited };
    }
    const unpacked = await unpackedBundle(got.body, this.#tenant, this.#verification);
    return { ...unpacked, etag: got.etag, waited: this.#holds };
  }

  async #token(): Promise<string | undefined> {
    const { token, tokenFile } = this.#settings;
    if (tokenFile === undefined) return token;
    const read = (await this.#file(tokenFile)).trim();
    // RFC 6750 section 2.1.
    if (/^[\x21-\x7e]{1,16384}$/.test(read)) return read;
    throw new NotPulled(`${tokenFile} holds no token`);
  }

  async #ca(): Promise<string | undefined> {
    const { ca } = this.#settings;
    return ca === undefined ? undefined : this.#file(ca);
  }

  async #client(): Promise<{ cert: string; key: string } | undefined> {
    const { client } = this.#settings;
    return client && { cert: await this.#file(client.cert), key: await this.#file(client.key) };
  }

  #file(name: string): Promise<string> {
    return readFile(name, 'utf8').catch((cause: unknown) => {
      throw new NotPulled(`${name} cannot be read: ${describe(cause)}`, { cause });
    });
  }
}
