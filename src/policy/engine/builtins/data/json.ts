import { compareValues, isArray, isNumber, numberText, RegoSet, type Value } from '../../values/values.ts';

interface Layout {
  readonly prefix: string;
  readonly indent: string;
}

/** Go's json.Marshal of what OPA makes of a value: sets are arrays, keys are texts and sorted, HTML is escaped. */
export function marshalJson(value: Value, layout?: Layout, depth = 0): string {
  if (value === null || typeof value === 'boolean') return String(value);
  if (typeof value === 'string') return quote(value);
  if (isNumber(value)) return numberText(value);
  const colon = layout ? ': ' : ':';
  if (isArray(value) || value instanceof RegoSet) {
    const elements = isArray(value) ? value : value.sorted();
    return wrap(
      '[]',
      elements.map((element) => marshalJson(element, layout, depth + 1)),
      layout,
      depth,
    );
  }
  const entries = value.entries();
  const named = Array.from(entries, ([key, inner]) => [keyText(key), inner] as const);
  named.sort(([a], [b]) => compareValues(a, b));
  const members = named.map(([key, inner]) => quote(key) + colon + marshalJson(inner, layout, depth + 1));
  return wrap('{}', members, layout, depth);
}

export function keyText(key: Value): string {
  return typeof key === 'string' ? key : marshalJson(key);
}

function wrap(brackets: string, parts: readonly string[], layout: Layout | undefined, depth: number): string {
  const [open, close] = [brackets.slice(0, 1), brackets.slice(1)];
  if (!layout || parts.length === 0) return open + parts.join(',') + close;
  const line = (level: number) => `\n${layout.prefix}${layout.indent.repeat(level)}`;
  return open + parts.map((part) => line(depth + 1) + part).join(',') + line(depth) + close;
}

function quote(value: string): string {
  return JSON.stringify(value.toWellFormed()).replace(
    /[<>&\u2028\u2029]/g,
    (mark) => `\\u${mark.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}
