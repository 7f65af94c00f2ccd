import type { AttributeContext_HttpRequest as HttpRequest } from '../../gen/envoy/service/auth/v3/external_auth_pb.ts';

/** Headers that carry credentials; they are no policy's business and in no record. */
const SECRET_HEADERS: ReadonlySet<string> = new Set([
  'authorization',
  'cookie',
  'dpop',
  'proxy-authorization',
  'x-api-key',
]);

export const isSecret = (name: string): boolean => SECRET_HEADERS.has(name.toLowerCase());

/**
 * The headers of the request that Envoy asks about, in whichever form it sends them: `headers`, or with
 * `encode_raw_headers` a `header_map` of bytes. Names without regard to case.
 */
export class EnvoyHeaders {
  /** The values of each in order; undefined for bytes that are no UTF-8. */
  readonly #values = new Map<string, (string | undefined)[]>();

  constructor(http: HttpRequest) {
    for (const [name, value] of Object.entries(http.headers)) this.#add(name, value);
    const once = new Map(this.#values);
    this.#values.clear();
    for (const { key, value, rawValue } of http.headerMap?.headers ?? []) {
      if (rawValue.length > 0) this.#add(key, textOf(rawValue));
      // A value in both forms is one if they say the same.
      if (rawValue.length === 0 || (value !== '' && value !== textOf(rawValue))) this.#add(key, value);
    }
    for (const [name, values] of once)
      if (this.#values.get(name)?.join(',') !== values.join(','))
        for (const value of values) this.#add(name, value);
  }

  /** Whether every value can be read. */
  get isText(): boolean {
    return [...this.#values.values()].every((values) => !values.includes(undefined));
  }

  has(name: string): boolean {
    return this.#values.has(name);
  }

  /** The one value of a header; undefined if it has none, several, or one that cannot be read. */
  only(name: string): string | undefined {
    const values = this.#values.get(name);
    return values?.length === 1 ? values[0] : undefined;
  }

  /** For the policy, without credentials; several values in one, as Envoy joins them. */
  get shown(): Record<string, string> {
    return Object.fromEntries(
      [...this.#values]
        .filter(([name]) => !SECRET_HEADERS.has(name))
        .map(([name, values]) => [name, values.join(',')]),
    );
  }

  #add(name: string, value: string | undefined): void {
    const key = name.toLowerCase();
    const before = this.#values.get(key);
    if (before) before.push(value);
    else this.#values.set(key, [value]);
  }
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

function textOf(bytes: Uint8Array): string | undefined {
  try {
    return utf8.decode(bytes);
  } catch {
    return undefined;
  }
}
