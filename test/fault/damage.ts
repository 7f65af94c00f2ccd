import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';

const PAGE_BYTES = 8192;

/** Ruins the pages of a stopped store's database that hold a text; answers how many there were. */
export function ruinPagesWith(store: string, text: string): number {
  const file = path.join(store, 'mandate.db');
  const bytes = readFileSync(file);
  const pages = new Set<number>();
  for (let at = bytes.indexOf(text); at >= 0; at = bytes.indexOf(text, at + 1))
    pages.add(Math.floor(at / PAGE_BYTES));
  // The first page is the schema's: a store without it is no store.
  pages.delete(0);
  // No kind of page begins so.
  for (const page of pages) bytes.fill(0xff, page * PAGE_BYTES, page * PAGE_BYTES + 64);
  writeFileSync(file, bytes);
  return pages.size;
}
