import { MANIFEST } from '../manifest-invalid.ts';

/** What a folder's name, or a file's, may be made of. */

const MAX_NAME_LENGTH = 512;
/** Control characters, and those that turn the order of the ones around them on a screen. */
const UNSOUND = /[\p{Cc}\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]/u;
const DATA_DOCUMENTS: ReadonlySet<string> = new Set(['data.json', 'data.yaml', 'data.yml']);

/** Whether a file of this name, relative to the tenant's folder, is read. */
export const isRead = (name: string): boolean =>
  name === MANIFEST || name.endsWith('.rego') || isDataDocument(name) || isTable(name);

/** Whether it is a table of tests. */
export const isTable = (name: string): boolean => /_test\.ya?ml$/.test(name);

export const isDataDocument = (name: string): boolean =>
  DATA_DOCUMENTS.has(name.slice(name.lastIndexOf('/') + 1));

/**
 * Names that are left alone: what Kubernetes keeps its versions of a volume under, which the links beside lead to, and
 * what is git's.
 */
export const isLeftAlone = (base: string): boolean => base.startsWith('..') || base === '.git';

/** What is wrong with a name; undefined if nothing is. */
export function problemOf(name: string): string | undefined {
  if (name.includes('\ufffd')) return 'its name is not UTF-8';
  if (UNSOUND.test(name)) return 'its name holds a control character';
  return name.length > MAX_NAME_LENGTH ? `its name is longer than ${MAX_NAME_LENGTH} characters` : undefined;
}

/** A name as a line of a terminal can hold it. */
export const shown = (name: string): string =>
  name
    .replace(new RegExp(UNSOUND, 'gu'), (each) => `\\u${each.charCodeAt(0).toString(16).padStart(4, '0')}`)
    .slice(0, 600);
