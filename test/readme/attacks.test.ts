import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { expect, test } from 'vitest';

/** docs/attacks.md says which test plays an attack: each is there, under that name. */

const docs = path.resolve(import.meta.dirname, '../../docs');
const page = await readFile(path.join(docs, 'attacks.md'), 'utf8');
const rows = [...page.matchAll(/^\| ([^|]+) \| \[[^\]]+\]\(([^)]+)\) \| ([^|]+) \|$/gm)].map(
  ([, attack = '', file = '', title = '']) => ({ attack, file, title }),
);

test('the page has a row for each attack', () => {
  expect(rows.length).toBe(page.split('\n').filter((line) => line.startsWith('| ')).length - 1);
  expect(rows.length).toBeGreaterThan(40);
});

test.each(rows)('$attack', async ({ file, title }) => {
  const source = await readFile(path.join(docs, file), 'utf8');
  expect(source.replaceAll("\\'", "'")).toMatch(new RegExp(`['"\`]${RegExp.escape(title)}['"\`]`, 'u'));
});
