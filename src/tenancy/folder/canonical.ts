import { readJson } from './data.ts';

/** U+2028 and U+2029, which Go escapes in JSON whatever it is told, and the language does not. */
const SEPARATORS = /[\u2028\u2029]/g;

/**
 * A JSON document in the form in which OPA hashes it for a bundle's signature: no white space, members in the order of
 * the bytes of their names, numbers as they are written. It is the same value. `without` names members of the document
 * itself that are left out. Throws SyntaxError, or RangeError where it is too deep.
 */
export function canonicalJson(text: string, without: readonly string[] = []): string {
  const value = readJson(text);
  if (isObject(value)) for (const name of without) delete value[name];
  return written(value);
}

/** The same, or what is wrong. */
export function canonicalAnswer(
  text: string,
  without: readonly string[],
): { readonly canonical: string } | { readonly problem: string } {
  try {
    return { canonical: canonicalJson(text, without) };
  } catch (error) {
    return { problem: error instanceof RangeError ? 'it is too deep' : (error as Error).message };
  }
}

function written(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(written).join(',')}]`;
  if (!isObject(value)) return escaped(JSON.stringify(value));
  const members = Object.keys(value)
    .map((name): readonly [string, Buffer] => [name, Buffer.from(name)])
    .sort(([, a], [, b]) => Buffer.compare(a, b))
    .map(([name]) => `${escaped(JSON.stringify(name))}:${written(value[name])}`);
  return `{${members.join(',')}}`;
}

const escaped = (json: string): string =>
  json.replace(SEPARATORS, (each) => `\\u${each.charCodeAt(0).toString(16)}`);

const { isRawJSON } = JSON as unknown as { isRawJSON: (value: unknown) => boolean };

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !isRawJSON(value);
