import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, describe, test } from 'vitest';
import { eventually } from '../e2e/server.ts';
import { type ServeProcess, serveProcess } from '../fault/process.ts';

/** What `mandate serve` says on its console to the author who edits beside it. */

let server: ServeProcess;
let said = '';

beforeAll(async () => {
  server = await serveProcess();
  server.child.stdout.on('data', (chunk: Buffer) => {
    said += chunk.toString();
  });
});
afterAll(() => server[Symbol.asyncDispose]());

/** Changes a file of acme's, and back once `seen` is said of it. */
async function edited(file: string, edit: (text: string) => string, seen: RegExp): Promise<void> {
  const place = path.join(server.folder, 'tenants', 'acme', file);
  const good = await readFile(place, 'utf8');
  try {
    await writeFile(place, edit(good));
    await eventually(
      () => Promise.resolve(server.stderr()),
      (text) => seen.test(text),
    );
  } finally {
    await writeFile(place, good);
  }
}

const saidOnce = async (line: RegExp): Promise<void> =>
  void (await eventually(
    () => Promise.resolve(said),
    (text) => line.test(text),
  ));

describe('mandate serve, while files are edited', () => {
  test('says of a tenant.yaml that it was not taken, and of a mended one that it was', async () => {
    said = '';
    await edited(
      'tenant.yaml',
      (text) => `${text}\ntypo: 1\n`,
      /^mandate: acme: tenant\.yaml was not taken; the one before stays\n {2}tenant\.yaml:\d+: document: Unrecognized key: "typo"$/m,
    );
    await saidOnce(/^mandate: acme: the files on disk are taken again; it decides by sha256:\w{12}$/m);
  });

  test('says of Rego that it does not compile, and of the old text that it is taken again', async () => {
    said = '';
    await edited(
      'authz/documents.rego',
      (text) => `${text}\nallow if {\n`,
      /^mandate: acme: the policy on disk does not compile; sha256:\w{12} stays\n {2}authz\/documents\.rego:\d+: /m,
    );
    await saidOnce(/^mandate: acme: the files on disk are taken again; it decides by sha256:\w{12}$/m);
  });
});
