import { type NamedRef, namedIn } from '../../ids.ts';
import { parsePointer, valueAt } from './pointer.ts';

interface Input {
  readonly subject?: unknown;
  readonly actors?: readonly unknown[];
  readonly resource?: { readonly type?: unknown; readonly id?: unknown };
}

/** As long as what a request may name. */
const MAX_NAME = 256;
const MAX_ID = 1_024;

/** Whose a sealed member is, by what the manifest says of it; undefined where the input names nobody there. */
export function aboutIn(input: Input, about: string): NamedRef | undefined {
  switch (about) {
    case 'subject':
      return namedBy(input.subject);
    case 'actor':
      return namedBy(input.actors?.[0]) ?? namedBy(input.subject);
    case 'resource':
      return namedAs(input.resource?.type, input.resource?.id);
    default:
      return namedBy(valueAt(input, parsePointer(about) ?? []));
  }
}

/** `class:id`, or an object that has both. */
function namedBy(value: unknown): NamedRef | undefined {
  if (typeof value === 'string') {
    const { class: cls, id } = namedIn(value) ?? {};
    return namedAs(cls, id);
  }
  if (typeof value !== 'object' || value === null) return undefined;
  const { class: cls, type, id } = value as { class?: unknown; type?: unknown; id?: unknown };
  return namedAs(cls ?? type, id);
}

/** Undefined for what names nobody. */
export const namedAs = (cls: unknown, id: unknown): NamedRef | undefined =>
  isName(cls, MAX_NAME) && isName(id, MAX_ID) ? { class: cls, id } : undefined;

const isName = (value: unknown, most: number): value is string =>
  typeof value === 'string' && value !== '' && value.length <= most;
