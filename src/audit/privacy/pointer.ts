/** A JSON Pointer (RFC 6901) as its reference tokens; never that of the whole document. */
export type Pointer = readonly string[];

/** In characters and tokens: it is declared in a manifest, or made by a policy, and stands in records. */
export const MAX_POINTER = 512;
const MAX_TOKENS = 32;

/** Undefined for what is none: it begins with `/`, and `~` stands in it as `~0`, `/` in a name as `~1`. */
export function parsePointer(text: string): Pointer | undefined {
  if (text.length > MAX_POINTER || !text.startsWith('/') || /~(?![01])/.test(text)) return undefined;
  const tokens = text.slice(1).split('/');
  if (tokens.length > MAX_TOKENS) return undefined;
  return tokens.map((token) => token.replaceAll('~1', '/').replaceAll('~0', '~'));
}

export const pointerText = (pointer: Pointer): string =>
  pointer.map((token) => `/${token.replaceAll('~', '~0').replaceAll('/', '~1')}`).join('');

/** Whether what the first names lies in what the second names, or is it. */
export const isWithin = (inner: Pointer, outer: Pointer): boolean =>
  inner.length >= outer.length && outer.every((token, at) => inner[at] === token);

/** A member of a document that is there. */
export interface Place {
  readonly value: unknown;
  /** Puts something else in its place. */
  replace(value: unknown): void;
  /** Takes it out. An array's other items keep their places, so null stays there. */
  remove(): void;
}

/** Undefined where the document has no such member. */
export function placeOf(document: unknown, pointer: Pointer): Place | undefined {
  const holder = holderOf(document, pointer);
  const name = pointer.at(-1);
  if (holder === undefined || name === undefined || !has(holder, name)) return undefined;
  const replace = (value: unknown): void => put(holder, name, value);
  return {
    value: holder[name],
    replace,
    remove: () => {
      if (Array.isArray(holder)) replace(null);
      else delete holder[name];
    },
  };
}

export const valueAt = (document: unknown, pointer: Pointer): unknown => placeOf(document, pointer)?.value;

type Holder = Record<string, unknown>;

/** What a member of that name would stand in; undefined where there is no such object or array. */
export function holderOf(document: unknown, pointer: Pointer): Holder | undefined {
  let holder = document;
  for (const name of pointer.slice(0, -1)) {
    if (!isHolder(holder) || !has(holder, name)) return undefined;
    holder = holder[name];
  }
  return isHolder(holder) ? holder : undefined;
}

/** An own member, whatever it is called: `__proto__` is a name like any other in JSON. */
export function put(holder: Holder, name: string, value: unknown): void {
  Object.defineProperty(holder, name, { value, writable: true, enumerable: true, configurable: true });
}

const isHolder = (value: unknown): value is Holder => typeof value === 'object' && value !== null;

/** An item is named by its index as RFC 6901 section 4 writes it; an array's `length` is no member. */
const has = (holder: Holder, name: string): boolean =>
  (!Array.isArray(holder) || /^(?:0|[1-9][0-9]*)$/.test(name)) && Object.hasOwn(holder, name);
