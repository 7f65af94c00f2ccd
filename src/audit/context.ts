import { isDeepStrictEqual } from 'node:util';
import { ServiceError } from '../errors.ts';
import type { AuditRecord } from './read.ts';

/** A member of the context by its path, and what is to stand there. */
export interface ContextMember {
  /** A JSON Pointer (RFC 6901) into the context. */
  readonly path: string;
  /** JSON text, or plain text: `7` finds the number and the text, `"7"` the text alone. */
  readonly value: string;
}

const MOST_MEMBERS = 8;
const MOST_NAMES = 32;
const MOST_CHARACTERS = 1_024;

/** Whether a record's context is as asked. */
export type ContextTest = (record: AuditRecord) => boolean;

/** `partOf`: what stands beside a record, by its SHA-256, as JSON text. Throws `invalid_request`. */
export function contextTest(
  members: readonly ContextMember[],
  partOf: (digest: string) => string | undefined,
): ContextTest {
  if (members.length > MOST_MEMBERS)
    throw new ServiceError('invalid_request', `at most ${MOST_MEMBERS} members of the context`);
  const wanted = members.map(({ path, value }) => ({ names: namesIn(path), values: valuesIn(value) }));
  const parts = new Map<string, unknown>();
  const contextOf = ({ context, contextSha256: digest }: AuditRecord): unknown => {
    if (digest === undefined) return context;
    // Those of a batch have it in common, and stand together.
    if (!parts.has(digest)) {
      parts.clear();
      parts.set(digest, parsed(soundPart(partOf, digest) ?? ''));
    }
    return parts.get(digest);
  };
  return (record) => {
    if (wanted.length === 0) return true;
    const context = contextOf(record);
    return wanted.every(({ names, values }) => {
      const found = at(context, names);
      return values.some((value) => isDeepStrictEqual(found, value));
    });
  };
}

/** One that is damaged was reported where it was found, and what is damaged is left out. */
function soundPart(partOf: (digest: string) => string | undefined, digest: string): string | undefined {
  try {
    return partOf(digest);
  } catch (error) {
    if (!(error instanceof ServiceError)) throw error;
    return undefined;
  }
}

/** RFC 6901 sections 3 and 4. Throws `invalid_request`. */
function namesIn(path: string): string[] {
  const names = path.split('/').slice(1);
  const isPointer = path.startsWith('/') && path.length <= MOST_CHARACTERS && names.length <= MOST_NAMES;
  if (!isPointer || /~(?![01])/.test(path))
    throw new ServiceError(
      'invalid_request',
      `context: a path is a JSON Pointer such as /ticket, of ${MOST_NAMES} names and ${MOST_CHARACTERS} characters at most`,
    );
  return names.map((name) => name.replaceAll('~1', '/').replaceAll('~0', '~'));
}

/** Throws `invalid_request`. */
function valuesIn(value: string): unknown[] {
  if (value.length > MOST_CHARACTERS)
    throw new ServiceError('invalid_request', `context: a value is at most ${MOST_CHARACTERS} characters`);
  const json = parsed(value);
  return json === undefined ? [value] : [value, json];
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

/** What stands at a path; undefined if nothing does. */
function at(context: unknown, names: readonly string[]): unknown {
  let value = context;
  for (const name of names) {
    if (typeof value !== 'object' || value === null) return undefined;
    if (Array.isArray(value) && !/^(0|[1-9][0-9]*)$/.test(name)) return undefined;
    if (!Object.hasOwn(value, name)) return undefined;
    value = (value as Record<string, unknown>)[name];
  }
  return value;
}
