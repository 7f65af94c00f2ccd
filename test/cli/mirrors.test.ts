import { readFileSync } from 'node:fs';
import { rm, writeFile } from 'node:fs/promises';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { stated } from '../e2e/log-by-hand.ts';
import { processorMs } from '../processor.ts';
import { copyOf, type Left, leftStore, OLDER, SIZE } from './attacked.ts';
import { audit } from './within.ts';

/** The files of a log, kept or served by somebody who is not to be trusted. */

let left: Left;
beforeAll(async () => {
  left = await leftStore();
});
afterAll(() => left[Symbol.asyncDispose]());

const LAST = SIZE - 512;
const DISAGREES = `the first ${SIZE} entries are not those that its checkpoint states`;

interface Said {
  readonly code: number;
  readonly entries: number;
  readonly proved: number;
  readonly faults: readonly string[];
}

const all: Said = { code: 0, entries: SIZE, proved: SIZE, faults: [] };
const refused = (...faults: string[]): Said => ({ code: 1, entries: SIZE, proved: 0, faults });

async function verified(what: string, ...args: string[]): Promise<Said> {
  const { code, stdout } = await audit('verify', what, '--key', left.keys.acme, ...args, '--json');
  const { proved, logs } = JSON.parse(stdout) as { proved: boolean; logs: Said[] };
  expect(proved).toBe(code === 0);
  const [log] = logs;
  return { code, entries: log?.entries ?? 0, proved: log?.proved ?? 0, faults: log?.faults ?? [] };
}

/** After these files were changed; undefined takes one away. */
async function after(
  changes: Readonly<Record<string, (bytes: Buffer) => Buffer | string | undefined>>,
  ...args: string[]
): Promise<Said> {
  await using copy = await copyOf(left.files);
  for (const [name, change] of Object.entries(changes)) {
    const file = path.join(copy.folder, name);
    const bytes = change(readFileSync(file));
    if (bytes === undefined) await rm(file);
    else await writeFile(file, bytes);
  }
  return await verified(copy.folder, ...args);
}

const flip =
  (place: number, bit = 0) =>
  (bytes: Buffer): Buffer => {
    bytes[place] = (bytes[place] ?? 0) ^ (1 << bit);
    return bytes;
  };
const gone = (): undefined => undefined;
const longer = (bytes: Buffer): Buffer => Buffer.concat([bytes, Buffer.of(0, 1, 2)]);
const shorter = (bytes: Buffer): Buffer => bytes.subarray(0, -1);

async function kept(name: 'older' | 'newest' | 'globex'): Promise<string[]> {
  const file = path.join(left.store, '..', `${name}.kept`);
  await writeFile(file, left.checkpoints[name]);
  return ['--checkpoint', file];
}

describe('a folder with the files of a log', () => {
  test('as they were served they are proved', async () => {
    expect(await verified(left.files)).toEqual(all);
    expect(await verified(left.files, ...(await kept('older')))).toEqual(all);
  });

  test('an entry that was changed is named, by the tile of its hash', async () => {
    expect(await after({ 'tile/entries/000': flip(20) })).toEqual(refused('entry 0 was changed'));
    // Without that tile, the one above tells.
    expect(await after({ 'tile/entries/000': flip(20), 'tile/0/000': gone })).toEqual(
      refused('entries 0 to 255 are not those of their tile', DISAGREES),
    );
    expect(await after({ [`tile/entries/002.p/${LAST}`]: flip(20), [`tile/0/002.p/${LAST}`]: gone })).toEqual(
      refused(DISAGREES),
    );
  });

  test('so is one whose hash was changed', async () => {
    const said = await after({ 'tile/0/001': flip(5 * 32) });
    expect(said).toEqual(
      refused('entry 261 was changed', 'entries 256 to 511 are not those of their tile', DISAGREES),
    );
  });

  test('a hash above them was changed, or the tile has not its width', async () => {
    expect(await after({ 'tile/1/000.p/2': flip(40) })).toEqual(
      refused('entries 256 to 511 are not those of their tile'),
    );
    expect(await after({ 'tile/1/000.p/2': shorter })).toMatchObject({ code: 1 });
    expect(await after({ 'tile/0/001': longer })).toEqual(refused('tile/0/001 is not of 256 hashes'));
    expect(await after({ 'tile/0/001': shorter })).toEqual(refused('tile/0/001 is not of 256 hashes'));
  });

  test('tiles of hashes that are not there do not matter: the entries are', async () => {
    expect(
      await after({
        'tile/0/000': gone,
        'tile/0/001': gone,
        [`tile/0/002.p/${LAST}`]: gone,
        'tile/1/000.p/2': gone,
      }),
    ).toEqual(all);
  });

  test('a bundle that is missing, cut off, or has something behind its end', async () => {
    expect(await after({ 'tile/entries/001': gone })).toEqual(
      refused('entries 256 to 511: each is missing or cannot be read'),
    );
    expect(await after({ [`tile/entries/002.p/${LAST}`]: shorter })).toEqual(
      refused(`entry ${SIZE - 1} is missing or cannot be read`),
    );
    for (const more of [Buffer.of(0), Buffer.of(0, 0), Buffer.of(0, 1, 0x7b), Buffer.of(0xff, 0xff, 1)])
      expect(await after({ 'tile/entries/001': (bytes) => Buffer.concat([bytes, more]) })).toEqual(
        refused('tile/entries/001 holds more than 256 entries'),
      );
    const { faults, code } = await after({ 'tile/entries/000': () => '' });
    expect({ code, faults }).toEqual({
      code: 1,
      faults: ['entries 0 to 255: each is missing or cannot be read'],
    });
  });

  test('a checkpoint that nobody signed does not say how far to read', async () => {
    const { newest } = left.checkpoints;
    const { origin } = stated(newest);
    const huge = newest.replace(`\n${SIZE}\n`, `\n${2 ** 52}\n`);
    const began = processorMs();
    const said = await after({ checkpoint: () => huge });
    expect(said).toEqual({
      code: 1,
      entries: 0,
      proved: 0,
      faults: [`its checkpoint proves nothing: the signature of ${origin} is not over this text`],
    });
    expect(processorMs() - began).toBeLessThan(2_000);
    // One that was kept does.
    const withOlder = await after(
      { checkpoint: () => huge, 'tile/entries/000': flip(20) },
      ...(await kept('older')),
    );
    expect(withOlder).toMatchObject({ code: 1, entries: OLDER, proved: 0 });
    expect(withOlder.faults).toContain('entry 0 was changed');
  });

  test('what is no checkpoint is no log that is proved', async () => {
    for (const text of ['', '\n', 'x', '\0'.repeat(2_000_000), left.checkpoints.newest.slice(0, 40)]) {
      const said = await after({ checkpoint: () => text });
      expect(said).toMatchObject({ code: 1, entries: 0, proved: 0 });
      expect(said.faults[0]).toMatch(/^its checkpoint proves nothing: the note /);
    }
  });

  test('a checkpoint that is older than one that was kept, or of another log', async () => {
    const { older, globex } = left.checkpoints;
    const newest = await kept('newest');
    const rolledBack = await after({ checkpoint: () => older }, ...newest);
    expect(rolledBack).toMatchObject({ code: 0, proved: SIZE });
    const other = await after({ checkpoint: () => globex });
    expect(other).toMatchObject({ code: 1, proved: 0 });
    const wrong = await kept('globex');
    const { origin } = stated(globex);
    expect(await verified(left.files, ...wrong)).toEqual(
      refused(`${wrong[1]} proves nothing: it is of the log ${origin}`),
    );
  });
});

describe('an address', () => {
  /** Serves the folder, but for what `answer` says. */
  async function serving(answer: (name: string, response: http.ServerResponse) => boolean) {
    const shown: (string | undefined)[] = [];
    const server = http.createServer(({ url = '', headers }, response) => {
      shown.push(headers.authorization);
      const name = url.replace(/^\/log\//, '');
      if (!answer(name, response)) response.end(readFileSync(path.join(left.files, name)));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    return {
      address: `http://127.0.0.1:${port}/log`,
      shown,
      [Symbol.dispose]: () => {
        server.close();
        server.closeAllConnections();
      },
    };
  }

  test('that serves all files is as good as the folder', async () => {
    using served = await serving(() => false);
    expect(await verified(served.address)).toEqual(all);
  });

  test('is shown the credential of the environment only if it is the server it is for', async () => {
    vi.stubEnv('MANDATE_CREDENTIAL', 'mdt_secret');
    using _restored = { [Symbol.dispose]: () => vi.unstubAllEnvs() };
    using served = await serving(() => false);
    expect((await verified(served.address)).code).toBe(0);
    expect(new Set(served.shown.splice(0))).toEqual(new Set([undefined]));
    await verified(served.address, '--admin', new URL(served.address).origin);
    expect(new Set(served.shown.splice(0))).toEqual(new Set(['Bearer mdt_secret']));
    await verified(served.address, '--credential', 'mdt_given');
    expect(new Set(served.shown)).toEqual(new Set(['Bearer mdt_given']));
  });

  test('that has not all of them, or serves none that is damaged', async () => {
    for (const status of [404, 503]) {
      using served = await serving((name, response) => {
        if (name !== 'tile/entries/001') return false;
        response.writeHead(status).end('no');
        return true;
      });
      expect(await verified(served.address)).toEqual(
        refused('entries 256 to 511: each is missing or cannot be read'),
      );
    }
  });

  test('that hangs up, refuses or sends elsewhere could not be looked at', async () => {
    const table: [(response: http.ServerResponse) => unknown, RegExp][] = [
      [(response) => response.destroy(), /^unavailable: |fetch failed/],
      [(response) => response.writeHead(401).end(), /^unavailable: \S+\/tile\/entries\/001 answers 401$/],
      [(response) => response.writeHead(302, { location: '/log/checkpoint' }).end(), /fetch failed/],
    ];
    for (const [answer, why] of table) {
      using served = await serving((name, response) => {
        if (name !== 'tile/entries/001') return false;
        answer(response);
        return true;
      });
      const { code, stdout, stderr } = await audit('verify', served.address, '--key', left.keys.acme);
      expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
      expect(stderr).toMatch(why);
    }
  });

  test('that never stops sending is given up, whatever memory there is', async () => {
    let sent = 0;
    using served = await serving((name, response) => {
      if (name !== 'tile/entries/001') return false;
      const more = (): void => {
        while (!response.destroyed && response.write(Buffer.alloc(1_048_576))) sent += 1;
        sent += 1;
      };
      response.on('drain', more);
      more();
      return true;
    });
    const { code, stderr } = await audit('verify', served.address, '--key', left.keys.acme);
    expect(code).toBe(2);
    expect(stderr).toMatch(/answered more than 16777472 bytes/);
    expect(sent).toBeLessThan(64);
  });

  test('that never answers is given up', async () => {
    using served = await serving((name) => name === 'tile/entries/001');
    const { code, stderr } = await audit('verify', served.address, '--key', left.keys.acme, '--timeout', '1');
    expect(code).toBe(2);
    expect(stderr).toMatch(/^deadline_exceeded: /);
  });
});
