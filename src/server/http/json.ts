import { ServiceError } from '../../errors.ts';
import type { HttpRequest } from './exchange.ts';

/** How deep a JSON body may nest: the request's own members and MAX_DEPTH of free-form ones below them. */
const MAX_JSON_DEPTH = 40;

/** Reads a JSON object. Throws `unsupported_media_type`, `payload_too_large` or `invalid_request`. */
export async function readJson(request: HttpRequest, maxBytes?: number): Promise<Record<string, unknown>> {
  if (request.header('content-type')?.split(';')[0]?.trim().toLowerCase() !== 'application/json')
    throw new ServiceError('unsupported_media_type', 'the content type is application/json');
  const value = parseJson(await request.body(maxBytes));
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new ServiceError('invalid_request', 'the body is a JSON object');
  return value as Record<string, unknown>;
}

/**
 * Bytes to a value: valid UTF-8, not too deep, JSON, and nothing in it that a value would hold otherwise than it was
 * written. Throws `invalid_request`.
 */
export function parseJson(bytes: Uint8Array): unknown {
  const text = textOf(bytes);
  return DOUBTFUL.test(text) ? parsed(text, sound) : parsed(text);
}

/** The same for bytes that somebody else will parse. Throws `invalid_request` for what is unsound. */
export function checkJson(bytes: Uint8Array): void {
  const text = textOf(bytes);
  if (DOUBTFUL.test(text)) parsed(text, sound);
}

function textOf(bytes: Uint8Array): string {
  let text: string;
  try {
    text = strict.decode(bytes);
  } catch {
    throw new ServiceError('invalid_request', 'the body is not UTF-8');
  }
  if (deeperThan(text, MAX_JSON_DEPTH))
    throw new ServiceError('invalid_request', `the body nests deeper than ${MAX_JSON_DEPTH}`);
  return text;
}

const strict = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

function parsed(text: string, reviver?: typeof sound): unknown {
  try {
    return JSON.parse(text, reviver);
  } catch (cause) {
    if (cause instanceof ServiceError) throw cause;
    throw new ServiceError('invalid_request', 'the body is not JSON', { cause });
  }
}

/** Where there may be a number with more digits or a larger exponent than a double has, or half a surrogate pair. */
const DOUBTFUL = /[\d.]{16}|[eE][+-]?\d{3}|\\u[dD][89a-fA-F]/;

/** Two ids that differ in their last digit would be equal to a policy, and half a character is none in Unicode. */
function sound(name: string, value: unknown, { source }: { source?: string } = {}): unknown {
  const isText = name.isWellFormed() && (typeof value !== 'string' || value.isWellFormed());
  if (!isText) throw new ServiceError('invalid_request', 'the body holds half of a surrogate pair');
  if (typeof value === 'number' && source !== undefined && !isHeld(source, value))
    throw new ServiceError('invalid_request', 'the body holds a number that a double does not');
  return value;
}

/** Whether the double has every digit that was written. 15 always survive. */
function isHeld(source: string, value: number): boolean {
  const digits = significant(source);
  if (!Number.isFinite(value) || (value === 0 && digits !== '')) return false;
  return (
    digits.length <= 15 || (digits.length <= 100 && significant(value.toPrecision(digits.length)) === digits)
  );
}

const significant = (number: string): string =>
  number
    .replace(/[eE].*$/, '')
    .replace(/[-.]/g, '')
    .replace(/^0+|0+$/g, '');

/** Counts brackets outside strings, before anything is built from them. */
export function deeperThan(text: string, max: number): boolean {
  let depth = 0;
  let inString = false;
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    if (inString) {
      if (code === 0x5c) at += 1;
      else if (code === 0x22) inString = false;
    } else if (code === 0x22) inString = true;
    else if (code === 0x7b || code === 0x5b) {
      depth += 1;
      if (depth > max) return true;
    } else if (code === 0x7d || code === 0x5d) depth -= 1;
  }
  return false;
}
