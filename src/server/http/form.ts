import { ServiceError } from '../../errors.ts';
import type { HttpRequest } from './exchange.ts';

/** A form whose parameters stand once each, but for those that RFC 8693 lets repeat. */
export interface Form {
  /** Throws `invalid_request` if it is missing. */
  one(name: string): string;
  maybe(name: string): string | undefined;
  all(name: string): string[];
}

const REPEATABLE: ReadonlySet<string> = new Set(['audience', 'resource']);

const FORM = 'application/x-www-form-urlencoded';

/** Throws `unsupported_media_type`. */
export function checkFormType(request: HttpRequest): void {
  if (request.header('content-type')?.split(';')[0]?.trim().toLowerCase() !== FORM)
    throw new ServiceError('unsupported_media_type', `the content type is ${FORM}`);
}

/** Throws `invalid_request`. */
export function formIn(bytes: Uint8Array): Form {
  const fields = new Map<string, string[]>();
  for (const pair of Buffer.from(bytes).toString('latin1').split('&')) {
    if (pair === '') continue;
    const at = pair.indexOf('=');
    const name = decoded(at < 0 ? pair : pair.slice(0, at));
    const value = at < 0 ? '' : decoded(pair.slice(at + 1));
    const before = fields.get(name);
    if (before && !REPEATABLE.has(name))
      throw new ServiceError('invalid_request', `${name.slice(0, 64)} stands twice`);
    if (before) before.push(value);
    else fields.set(name, [value]);
  }
  const all = (name: string): string[] => (fields.get(name) ?? []).filter((value) => value !== '');
  const maybe = (name: string): string | undefined => fields.get(name)?.[0] || undefined;
  return {
    all,
    maybe,
    one: (name) => {
      const value = maybe(name);
      if (value === undefined) throw new ServiceError('invalid_request', `${name} is missing`);
      return value;
    },
  };
}

/** What is not UTF-8 would be read as something that nobody wrote. */
function decoded(text: string): string {
  try {
    // Bytes that stand for themselves are UTF-8 too.
    const escaped = text
      .replaceAll('+', ' ')
      .replace(/[\x80-\xff]/g, (byte) => `%${byte.charCodeAt(0).toString(16)}`);
    return decodeURIComponent(escaped);
  } catch (cause) {
    throw new ServiceError('invalid_request', 'the form is not UTF-8, percent-encoded', { cause });
  }
}
