import { readJson } from '../../../tenancy/folder/data.ts';
import { pairsIn, textOf, Unreadable } from './escaped.ts';
import { boundaryIn, partsIn } from './multipart.ts';

/** Of a body that is parsed; Envoy's own bound (`max_request_bytes`) is mostly far less. */
const MAX_BODY = 1024 * 1024;

export interface Body {
  /** Null where there is none, or none that is read. */
  readonly parsed_body: unknown;
  readonly truncated_body: boolean;
}

const NONE: Body = { parsed_body: null, truncated_body: false };
const TRUNCATED: Body = { parsed_body: null, truncated_body: true };

interface Sent {
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  readonly rawBody: Uint8Array;
}

/** What the plugin tells by the content type, in its order: the first whose name is part of it. */
const READERS: readonly (readonly [string, (text: string, contentType: string) => unknown])[] = [
  ['application/json', (text) => jsonIn(text)],
  // Without descriptors nobody can read it.
  ['application/grpc', () => undefined],
  ['application/x-www-form-urlencoded', (text) => pairsIn(text, 'the form')],
  ['multipart/form-data', formIn],
];

/** A body as opa-envoy-plugin parses it (`getParsedBody`). Throws `Unreadable`. */
export function bodyOf({ headers, body, rawBody }: Sent): Body {
  const own = (name: string): string | undefined =>
    Object.hasOwn(headers, name) ? headers[name] : undefined;
  if (own('x-envoy-auth-partial-body') === 'true') return TRUNCATED;
  const type = own('content-type');
  const read = READERS.find(([name]) => type?.includes(name))?.[1];
  if (type === undefined || !read) return NONE;
  if (body === '' && rawBody.length === 0) return NONE;
  if (body.length > MAX_BODY || rawBody.length > MAX_BODY)
    throw new Unreadable(`the body is more than ${MAX_BODY} bytes`);
  const text = body === '' ? textOf(rawBody, 'the body') : body;
  if (type.includes('application/json') || !type.includes('application/grpc')) {
    const stated = own('content-length');
    if (stated !== undefined && isCut(stated, Buffer.byteLength(text))) return TRUNCATED;
  }
  return { parsed_body: read(text, type) ?? null, truncated_body: false };
}

function isCut(stated: string, length: number): boolean {
  if (!/^[+-]?\d{1,18}$/.test(stated)) throw new Unreadable('content-length is no number');
  return Number(stated) > length;
}

function jsonIn(text: string): unknown {
  try {
    return readJson(text);
  } catch {
    throw new Unreadable('the body is no JSON');
  }
}

function formIn(text: string, contentType: string): unknown {
  const boundary = boundaryIn(contentType);
  if (boundary === undefined) return undefined;
  const values = Object.create(null) as Record<string, unknown[]>;
  for (const part of partsIn(text, boundary)) {
    const value = part.contentType.includes('application/json') ? jsonIn(part.text) : part.text;
    (values[part.name] ??= []).push(value);
  }
  return values;
}
