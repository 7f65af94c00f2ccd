import { isArray, type Value } from '../../values/values.ts';
import { text } from '../builtin.ts';

/** The steps to a place in a document. */
export type Path = readonly Value[];

/** A JSON pointer (RFC 6901), its leading slash optional, or an array of steps, which may be any values. */
export function parsePath(path: Value): Path {
  if (isArray(path)) return path;
  if (text(path) === '') return [];
  return text(path)
    .replace(/^\/+/, '')
    .split('/')
    .map((segment) => segment.replaceAll('~1', '/').replaceAll('~0', '~'));
}
