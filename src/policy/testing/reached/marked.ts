import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import type { Bench } from '../../compiler.ts';
import { PolicyInvalid } from '../../diagnostics.ts';
import type { RunOpa } from '../../opa/child.ts';
import type { PolicySources } from '../../sources.ts';
import { layOut } from '../compilation.ts';
import { type Edit, Source, type Span } from '../source.ts';
import { parseAll, type Syntax } from '../syntax.ts';
import { type Marked, Marker } from './marks.ts';
import { isSame } from './proof.ts';

/** A file of what decides, with marks in it. */
export interface MarkedFile {
  readonly source: Source;
  readonly marked: Marked;
  /** The text with marks: of a file that cannot be marked, the author's. */
  readonly target: Source;
}

/** Nothing in the policy may mean something else by the name of the built-in. */
export function nameNotIn({ modules, tests }: PolicySources): string {
  let name = 'mandate_covered';
  while ([...modules.values(), ...tests.values()].some((text) => text.includes(name))) name += '_';
  return name;
}

/**
 * Marks every file of what decides, and lays it out in `folder`. What OPA's parser does not read as the author's text
 * but for the marks stays without any, and all in it is left out of the count; so does what is compiled in another form
 * (`texts`).
 */
export async function markAll(
  bench: Bench,
  { modules }: PolicySources,
  texts: ReadonlyMap<string, string>,
  builtin: string,
  folder: string,
): Promise<ReadonlyMap<string, MarkedFile>> {
  const written = await parseAll(placesOf(modules, 'tenant'), bench.run);
  const files = new Map<string, MarkedFile>();
  for (const [file, text] of modules) {
    const source = new Source(text);
    const marked = new Marker(file, source, builtin).mark(written.get(`tenant/${file}`) ?? NOTHING);
    files.set(file, { source, marked, target: new Source(source.edited(marked.edits)) });
  }
  const place = path.join(bench.folder, folder);
  await mkdir(place);
  await layOut(place, textsOf(files));
  const read = await readBack(placesOf(modules, folder), bench.run);
  for (const [file, { source, marked }] of files) {
    const [own, syntax] = [written.get(`tenant/${file}`), read.get(`${folder}/${file}`)];
    if (own && syntax && isSame(own, syntax, builtin) && !texts.has(file)) continue;
    const target = new Source(texts.get(file) ?? source.text);
    files.set(file, { source, target, marked: withoutMarks(marked) });
    await writeFile(path.join(place, file), target.text);
  }
  return files;
}

const NOTHING: Syntax = { package: { path: [] } };

const placesOf = (files: ReadonlyMap<string, unknown>, folder: string): string[] =>
  [...files.keys()].map((file) => `${folder}/${file}`);

function* textsOf(files: ReadonlyMap<string, MarkedFile>): Generator<readonly [string, string]> {
  for (const [file, { target }] of files) yield [file, target.text];
}

/** Without those that do not parse. */
async function readBack(files: readonly string[], run: RunOpa): Promise<ReadonlyMap<string, Syntax>> {
  try {
    return await parseAll(files, run);
  } catch (cause) {
    if (!(cause instanceof PolicyInvalid)) throw cause;
    if (files.length === 1) return new Map();
  }
  const halves = [files.slice(0, files.length >> 1), files.slice(files.length >> 1)];
  const [one, other] = await Promise.all(halves.map((half) => readBack(half, run)));
  return new Map([...(one ?? []), ...(other ?? [])]);
}

const withoutMarks = ({ marks, fallbacks, unmarked }: Marked): Marked => ({
  marks: [],
  edits: [],
  fallbacks: [],
  bodies: new Map(),
  unmarked: [...unmarked, ...[...marks, ...fallbacks].map(({ span }) => span)],
});

/** Where a stretch of the author's text is in the marked one: marks at its begin stand before it, at its end behind. */
export const moved = ({ start, end }: Span, edits: readonly Edit[]): Span => ({
  start: start + inserted(edits, (at) => at <= start),
  end: end + inserted(edits, (at) => at < end),
});

const inserted = (edits: readonly Edit[], is: (at: number) => boolean): number =>
  edits.reduce((sum, edit) => sum + (is(edit.start) ? edit.text.length : 0), 0);
