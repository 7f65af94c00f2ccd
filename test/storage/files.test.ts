import fs from 'node:fs';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { makeMasterKey, readMasterKey } from '../../src/delegation/keys/master-key.ts';
import { systemRandom } from '../../src/effects.ts';
import { type Disk, makeDurably, makeFolder, writeDurably } from '../../src/storage/files.ts';
import { temporaryFolder } from './store.ts';

/**
 * What a power cut leaves: bytes that were not synced may be gone though their name is there, and a name may be gone
 * though the bytes are there, until its folder is synced. The real calls run, and the watch keeps what may be lost.
 */
class Watched {
  /** Names that a cut may find without their bytes, ever. */
  readonly torn: string[] = [];
  readonly #dirty = new Set<number>();
  readonly #names = new Map<number, string>();
  /** Names whose folder was not synced since. */
  readonly unsaved = new Set<string>();

  get disk(): Disk {
    return {
      openSync: (file: string, ...rest: [string, number?]) => {
        const at = fs.openSync(file, ...rest);
        this.#names.set(at, file);
        if (rest[0] === 'w') this.unsaved.add(file);
        return at;
      },
      writeSync: (at: number, bytes: Uint8Array, from: number) => {
        this.#dirty.add(at);
        // The system may take less than it is given.
        return fs.writeSync(at, bytes, from, Math.min(7, bytes.length - from));
      },
      fsyncSync: (at: number) => {
        fs.fsyncSync(at);
        this.#dirty.delete(at);
        const folder = this.#names.get(at) ?? '';
        for (const name of this.unsaved) if (path.dirname(name) === folder) this.unsaved.delete(name);
      },
      closeSync: (at: number) => fs.closeSync(at),
      renameSync: (from: string, to: string) => this.#named(from, to, () => fs.renameSync(from, to)),
      linkSync: (from: string, to: string) => this.#named(from, to, () => fs.linkSync(from, to)),
      unlinkSync: (file: string) => {
        fs.unlinkSync(file);
        this.unsaved.delete(file);
      },
      mkdirSync: (folder: string, options: fs.MakeDirectoryOptions & { recursive: true }) => {
        const first = fs.mkdirSync(folder, options);
        if (first === undefined) return first;
        for (let each = folder; each !== path.dirname(first); each = path.dirname(each))
          this.unsaved.add(each);
        return first;
      },
    } as unknown as Disk;
  }

  #named(from: string, to: string, act: () => void): void {
    const isSynced = ![...this.#dirty].some((at) => this.#names.get(at) === from);
    if (!isSynced) this.torn.push(to);
    act();
    this.unsaved.delete(from);
    this.unsaved.add(to);
  }
}

describe.each([
  ['writeDurably', writeDurably],
  ['makeDurably', makeDurably],
])('%s', (_name, write) => {
  test('a name never has less than its bytes, and both are on the disk when it returns', async () => {
    await using place = await temporaryFolder();
    const watched = new Watched();
    const file = path.join(place.folder, 'key');
    write(file, Buffer.from('thirty-two bytes that all matter'), watched.disk);
    expect(watched.torn).toEqual([]);
    expect([...watched.unsaved]).toEqual([]);
    expect(fs.readFileSync(file, 'utf8')).toBe('thirty-two bytes that all matter');
    expect(fs.statSync(file).mode & 0o777).toBe(0o600);
    expect(fs.readdirSync(place.folder)).toEqual(['key']);
  });

  test('what an earlier attempt left half written is no obstacle', async () => {
    await using place = await temporaryFolder();
    const file = path.join(place.folder, 'key');
    fs.writeFileSync(`${file}.${process.pid}.new`, 'half of it, and longer than the whole');
    write(file, Buffer.from('whole'));
    expect(fs.readFileSync(file, 'utf8')).toBe('whole');
  });
});

test('makeDurably leaves a file that is there as it is', async () => {
  await using place = await temporaryFolder();
  const file = path.join(place.folder, 'key');
  fs.writeFileSync(file, 'first');
  expect(() => makeDurably(file, Buffer.from('second'))).toThrow(/EEXIST/);
  expect(fs.readFileSync(file, 'utf8')).toBe('first');
  expect(fs.readdirSync(place.folder)).toEqual(['key']);
});

test('makeFolder makes the names of all that it makes durable', async () => {
  await using place = await temporaryFolder();
  const watched = new Watched();
  makeFolder(path.join(place.folder, 'a/b/c'), watched.disk);
  expect([...watched.unsaved]).toEqual([]);
  expect(fs.statSync(path.join(place.folder, 'a/b/c')).mode & 0o777).toBe(0o700);
});

test('a master key is made once, in a folder that need not be there', async () => {
  await using place = await temporaryFolder();
  const file = path.join(place.folder, 'keys/master.key');
  makeMasterKey(file, systemRandom);
  const sealed = readMasterKey(file).seal('text', 'bound', systemRandom(12));
  expect(() => makeMasterKey(file, systemRandom)).toThrow(/EEXIST/);
  expect(readMasterKey(file).unseal(sealed, 'bound')).toBe('text');
});
