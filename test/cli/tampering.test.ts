import { createHash, generateKeyPairSync } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { SignatureType, verifierKey } from '../../src/merkle/keys.ts';
import { signNote } from '../../src/merkle/note.ts';
import { leafOf, stated, treeOf } from '../e2e/log-by-hand.ts';
import { ruinPagesWith } from '../fault/damage.ts';
import {
  type AttackedLog,
  attacked,
  copyOf,
  type Left,
  leftStore,
  OLDER,
  renamed,
  SIZE,
} from './attacked.ts';
import { audit } from './within.ts';

/** What somebody may do to a stopped store who may write to its files, and what `mandate audit verify` says of it. */

let left: Left;
beforeAll(async () => {
  left = await leftStore();
});
afterAll(() => left[Symbol.asyncDispose]());

interface Said {
  readonly code: number;
  readonly entries: number;
  readonly proved: number;
  /** Of all logs that were looked at. */
  readonly faults: readonly string[];
}

async function verified(store: string, ...args: string[]): Promise<Said> {
  const [...trusted] = args.includes('--key') ? [] : ['--key', left.keys.acme, left.keys.globex];
  const { code, stdout } = await audit('verify', store, ...trusted, ...args, '--json');
  const said = JSON.parse(stdout) as {
    proved: boolean;
    logs: { origin: string; entries: number; proved: number; faults: string[] }[];
  };
  expect(said.proved).toBe(code === 0);
  const acme = said.logs.find(({ origin }) => /\bacme\b/.test(origin));
  return {
    code,
    entries: acme?.entries ?? 0,
    proved: acme?.proved ?? 0,
    faults: said.logs.flatMap(({ faults }) => faults),
  };
}

async function after(attack: (log: AttackedLog) => void, ...args: string[]): Promise<Said> {
  await using copy = await attacked(left.store, attack);
  return verified(copy.folder, ...args);
}

/** A file beside the copies, for `--checkpoint`. */
async function kept(name: 'older' | 'newest' | 'globex'): Promise<string[]> {
  const file = path.join(left.store, '..', `${name}.checkpoint`);
  await writeFile(file, left.checkpoints[name]);
  return ['--checkpoint', file];
}

const DISAGREES = `the first ${SIZE} entries are not those that its checkpoint states`;
const tile = (at: number): string => `entries ${at * 256} to ${at * 256 + 255} are not those of their tile`;
const all = { code: 0, entries: SIZE, proved: SIZE, faults: [] };
const refused = (...faults: string[]): Said => ({ code: 1, entries: SIZE, proved: 0, faults });

test('a store that nobody touched is proved, also where its runs were only laid out anew', async () => {
  expect(await verified(left.store)).toEqual(all);
  expect(await after((log) => log.put(log.entries()))).toEqual(all);
  expect(await verified(left.store, ...(await kept('older')))).toEqual(all);
});

describe('entries', () => {
  test('a name changed in 52 of them and two deleted: each is named by its index', async () => {
    const changed = Array.from({ length: 52 }, (_, at) => 3 + at * 11);
    const deleted = [100, 400];
    const { faults, ...said } = await after((log) => {
      log.change(changed);
      log.put(log.entries().filter(({ index }) => !deleted.includes(index)));
    });
    expect(said).toEqual({ code: 1, entries: SIZE, proved: 0 });
    const named = faults.flatMap((fault) => /^entry (\d+) (was changed|is missing)/.exec(fault) ?? []);
    const each = named.flatMap((text, at) => (at % 3 === 1 ? [Number(text)] : []));
    expect(each).toEqual([...changed, ...deleted].toSorted((a, b) => a - b));
    for (const index of deleted) expect(faults).toContain(`entry ${index} is missing or cannot be read`);
  });

  test('neighbours are named together', async () => {
    const said = await after((log) => log.change([10, 11, 12, 600]));
    expect(said).toEqual(refused('entries 10 to 12: each was changed', 'entry 600 was changed'));
  });

  test('one changed in place, in the bytes of its run', async () => {
    const said = await after((log) => {
      log.put(log.entries());
      const bodies = `CAST(replace(CAST(bodies AS TEXT), '"d7"', '"d8"') AS BLOB)`;
      log.run(`UPDATE runs SET bodies = ${bodies} WHERE id = ?`, log.at(0));
    });
    expect(said.code).toBe(1);
    expect(said.faults.length).toBeGreaterThan(0);
    for (const fault of said.faults) expect(fault).toMatch(/^entry \d+ was changed$/);
  });

  test('one changed with its hash and the sum of its run: the tile is named', async () => {
    expect(await after((log) => log.forge([5]))).toEqual(refused(tile(0), DISAGREES));
    expect(await after((log) => log.forge([300]))).toEqual(refused(tile(1), DISAGREES));
    // No tile is full there.
    expect(await after((log) => log.forge([600]))).toEqual(refused(DISAGREES));
  });

  test('the same with the hash of its tile: the checkpoint still tells, and one kept elsewhere more', async () => {
    const attack = (log: AttackedLog): void => {
      log.forge([5]);
      log.rehash();
    };
    expect(await after(attack)).toEqual(refused(DISAGREES));
    const file = await kept('older');
    expect(await after(attack, ...file)).toEqual(
      refused(`the first ${OLDER} entries are not those that ${file[1]} states`, DISAGREES),
    );
  });

  test('two swapped, with their hashes or without', async () => {
    const swapped = (log: AttackedLog, isWhole: boolean): void => {
      const entries = log.entries();
      const [a, b] = [entries[20], entries[30]];
      if (!a || !b) throw new Error('there are too few');
      entries[20] = { ...(isWhole ? b : a), body: b.body, index: 20 };
      entries[30] = { ...(isWhole ? a : b), body: a.body, index: 30 };
      log.put(entries);
    };
    expect(await after((log) => swapped(log, true))).toEqual(refused(tile(0), DISAGREES));
    expect(await after((log) => swapped(log, false))).toEqual(
      refused('entry 20 was changed', 'entry 30 was changed'),
    );
  });

  test('one deleted, and those after it moved up', async () => {
    const { faults, ...said } = await after((log) => {
      log.put(
        log
          .entries()
          .filter(({ index }) => index !== 40)
          .map((entry, index) => ({ ...entry, index })),
      );
    });
    expect(said).toEqual({ code: 1, entries: SIZE - 1, proved: 0 });
    expect(faults).toEqual([
      `by its count it has ${SIZE} entries, but it ends with ${SIZE - 1}`,
      tile(0),
      tile(1),
      `its checkpoint is of ${SIZE} entries, but there are ${SIZE - 1}: 1 are gone`,
    ]);
  });

  test('the newest cut off, with their count', async () => {
    const cut = (log: AttackedLog): void => log.put(log.entries().filter(({ index }) => index < 512));
    const gone = `its checkpoint is of ${SIZE} entries, but there are 512: 100 are gone`;
    const count = `by its count it has ${SIZE} entries, but it ends with 512`;
    const said = { code: 1, entries: 512, proved: 0 };
    expect(await after(cut)).toEqual({ ...said, faults: [count, gone] });
    expect(
      await after((log) => {
        cut(log);
        log.count(512);
      }),
    ).toEqual({ ...said, faults: [gone] });
  });

  test('a count that says far too many holds nobody up', async () => {
    const said = await after((log) => log.count(2 ** 40));
    expect(said).toEqual(refused(`by its count it has ${2 ** 40} entries, but it ends with ${SIZE}`));
  });

  test('some appended are not called proved; without hashes, as no version leaves them, they are told', async () => {
    const more = (log: AttackedLog) => {
      const last = log.entries().at(-1);
      if (!last) throw new Error('there is none');
      const body = renamed(last.body);
      return { ...last, index: SIZE, body, leaf: leafOf(body) };
    };
    const appended = await after((log) => log.insert([more(log)]));
    expect(appended).toEqual({ code: 0, entries: SIZE + 1, proved: SIZE, faults: [] });
    const bare = await after((log) => {
      const { head, body } = more(log);
      head.writeUInt32LE(body.length, 12);
      log.run('INSERT INTO runs (id, heads, bodies) VALUES (?, ?, ?)', log.at(SIZE), head, body);
    });
    expect(bare).toEqual({
      ...refused(`entry ${SIZE} has no hash, but some before have`),
      entries: SIZE + 1,
    });
  });

  test('a second one in the place of one that stays, where queries would find it first', async () => {
    const said = await after((log) => {
      log.put(log.entries());
      const entry = log.entries()[50];
      if (!entry) throw new Error('there is none');
      const body = renamed(entry.body);
      log.insert([{ ...entry, body, leaf: leafOf(body) }]);
    });
    expect(said).toEqual(refused('entry 50 stands there twice'));
    const empty = await after((log) => {
      log.put(log.entries());
      log.run('INSERT INTO runs (id, heads, bodies) VALUES (?, ?, ?)', log.at(50), Buffer.of(), Buffer.of());
    });
    expect(empty.faults).toContain('entry 50 stands there twice');
    expect(empty.code).toBe(1);
  });

  test('pages that no longer can be read name what they held', async () => {
    await using copy = await copyOf(left.store);
    expect(ruinPagesWith(copy.folder, '"id":"d70"')).toBeGreaterThan(0);
    const { code, proved, faults } = await verified(copy.folder);
    expect({ code, proved }).toEqual({ code: 1, proved: 0 });
    expect(faults.join('\n')).toMatch(/^entr(?:y|ies) .* missing or cannot be read$/m);
  });
});

describe('checkpoints and keys', () => {
  test('the checkpoint deleted: nothing is proved', async () => {
    const said = await after((log) => log.run('DELETE FROM checkpoints WHERE tenant_no = ?', log.no));
    expect(said).toEqual(refused('it has no checkpoint, so nothing is proved'));
  });

  test('the checkpoint changed, in any of its parts', async () => {
    const { newest } = left.checkpoints;
    const { origin, root, text } = stated(newest);
    const other = Buffer.alloc(32, 1).toString('base64');
    const table: [string, RegExp][] = [
      [newest.replace(`\n${SIZE}\n`, `\n${SIZE - 1}\n`), /the signature of \S+ is not over this text/],
      [newest.replace(root.toString('base64'), other), /the signature of \S+ is not over this text/],
      [newest.replace(origin, `${origin}x`), /it is of the log \S+x$/],
      [`${text}\n— ${origin} ${Buffer.alloc(68).toString('base64')}\n`, /has not signed it by a known key/],
      [text, /the note has no signatures/],
      ['', /the note has no signatures/],
      [newest.trimEnd(), /the note has no signatures/],
      [newest.replaceAll('\n', '\r\n'), /the note has characters that none has/],
    ];
    for (const [note, fault] of table) {
      const { code, proved, faults } = await after((log) => log.state(note));
      expect({ code, proved }).toEqual({ code: 1, proved: 0 });
      expect(faults.join('\n')).toMatch(/its checkpoint proves nothing: /);
      expect(faults.join('\n')).toMatch(fault);
    }
  });

  test('replaced by an older one and the rest cut off: only one that was kept elsewhere tells', async () => {
    const rolledBack = (log: AttackedLog): void => {
      log.put(log.entries().filter(({ index }) => index < OLDER));
      log.count(OLDER);
      log.rehash();
      log.run('UPDATE checkpoints SET size = ? WHERE tenant_no = ?', OLDER, log.no);
      log.state(left.checkpoints.older);
    };
    expect(await after(rolledBack)).toEqual({ code: 0, entries: OLDER, proved: OLDER, faults: [] });
    const file = await kept('newest');
    expect(await after(rolledBack, ...file)).toEqual({
      code: 1,
      entries: OLDER,
      proved: 0,
      faults: [`${file[1]} is of ${SIZE} entries, but there are ${OLDER}: ${SIZE - OLDER} are gone`],
    });
    // The newer one proves what the older one does not, too.
    const behind = (log: AttackedLog): void => {
      log.run('UPDATE checkpoints SET size = ? WHERE tenant_no = ?', OLDER, log.no);
      log.state(left.checkpoints.older);
    };
    expect(await after(behind)).toEqual({ ...all, proved: OLDER });
    expect(await after(behind, ...file)).toEqual(all);
  });

  test('a size of its row that is not its own, by which no newer one would be taken', async () => {
    const said = await after((log) =>
      log.run('UPDATE checkpoints SET size = ? WHERE tenant_no = ?', 10_000, log.no),
    );
    expect(said).toEqual(refused('its checkpoint stands as one of 10000 entries'));
  });

  test('another log signed, and with a key of the attacker', async () => {
    const { origin } = stated(left.checkpoints.newest);
    const { privateKey, publicKey } = generateKeyPairSync('ed25519');
    const signer = { ...verifierKey(origin, SignatureType.ED25519, publicKey), privateKey };
    const { faults, ...said } = await after((log) => {
      log.forge([5, 400]);
      log.rehash();
      const root = treeOf(log.entries().map(({ leaf }) => leaf)).toString('base64');
      log.state(signNote(`${origin}\n${SIZE}\n${root}\n`, signer));
      const raw = Buffer.from(publicKey.export({ format: 'jwk' }).x ?? '', 'base64url');
      log.run('UPDATE log_keys SET public = ? WHERE tenant_no = ?', raw, log.no);
    });
    expect(said).toEqual({ code: 1, entries: SIZE, proved: 0 });
    expect(faults).toContain(
      `its checkpoint proves nothing: the log ${origin} has not signed it by a known key`,
    );
  });

  test('the key of the log taken away, renamed, or replaced without signing anew', async () => {
    const { origin } = stated(left.checkpoints.newest);
    const deleted = await after((log) => log.run('DELETE FROM log_keys WHERE tenant_no = ?', log.no));
    expect(deleted).toMatchObject({ code: 1, proved: 0 });
    expect(deleted.faults).toContain('the store has no log of this name');
    const rename = (log: AttackedLog): void =>
      log.run('UPDATE log_keys SET origin = ? WHERE tenant_no = ?', `${origin}-2`, log.no);
    expect(await after(rename)).toMatchObject({ code: 1, proved: 0 });
    // Of one tenant nothing else is looked at.
    expect(await after(rename, '-t', 'acme', '--key', left.keys.acme)).toMatchObject({ code: 1, proved: 0 });
    const replaced = await after((log) =>
      log.run('UPDATE log_keys SET public = ? WHERE tenant_no = ?', Buffer.alloc(32, 7), log.no),
    );
    expect(replaced).toEqual(refused('its key in the store is none that was given'));
  });

  test('the checkpoint of another tenant', async () => {
    const said = await after((log) => log.state(left.checkpoints.globex));
    const { origin } = stated(left.checkpoints.globex);
    expect(said).toMatchObject({ code: 1, proved: 0 });
    expect(said.faults[0]).toBe(`its checkpoint proves nothing: it is of the log ${origin}`);
  });

  test('a log that is gone altogether, while another stands', async () => {
    const gone = (log: AttackedLog): void => {
      const [first, end] = [log.at(0), log.at(2 ** 36)];
      log.run('DELETE FROM runs WHERE id >= ? AND id < ?', first, end);
      for (const table of ['logs', 'checkpoints', 'tiles'])
        log.run(`DELETE FROM ${table} WHERE tenant_no = ?`, log.no);
    };
    const trusted = ['--key', left.keys.globex];
    expect(await after(gone)).toMatchObject({ code: 1, proved: 0 });
    expect(await after(gone, ...trusted, ...(await kept('newest')))).toMatchObject({ code: 1, proved: 0 });
  });

  test('a checkpoint that was kept is compared with some log, or told', async () => {
    const file = await kept('globex');
    const said = await verified(left.store, '-t', 'acme', ...file);
    expect(said).toMatchObject({ code: 1 });
    expect(said.faults).toEqual([`${file[1]} was compared with nothing: no log here is called so`]);
    expect(await verified(left.store, ...file)).toEqual(all);
  });
});

describe('a bit', () => {
  /** Tables that say something of a log, and what of a row. */
  const columns: [string, string, (log: AttackedLog) => number][] = [
    ['runs', 'heads', (log) => log.at(0)],
    ['runs', 'bodies', (log) => log.at(0)],
    ['tiles', 'hash', (log) => log.no],
    ['checkpoints', 'note', (log) => log.no],
    ['log_keys', 'public', (log) => log.no],
    ['log_keys', 'origin', (log) => log.no],
    ['parts', 'body', (log) => log.no],
    ['parts', 'digest', (log) => log.no],
  ];
  test.each(columns)('of %s.%s', async (table, column, of) => {
    for (const place of [0, 17, 31])
      for (const bit of [0, 6]) {
        const said = await after((log) => {
          const key = table === 'runs' ? 'id' : 'tenant_no';
          const where = `FROM ${table} WHERE ${key} = ? LIMIT 1`;
          const value = log.db.prepare<[number], Buffer | string>(`SELECT ${column} ${where}`).pluck();
          const before = value.get(of(log)) ?? '';
          const bytes = Buffer.from(before as Buffer);
          const at = Math.min(place, bytes.length - 1);
          bytes[at] = (bytes[at] ?? 0) ^ (1 << bit);
          const changed = typeof before === 'string' ? bytes.toString('latin1') : bytes;
          log.run(
            `UPDATE ${table} SET ${column} = ? WHERE ${key} = ? AND ${column} = ?`,
            changed,
            of(log),
            before,
          );
        });
        expect({ place, bit, ...said }).toMatchObject({ code: 1 });
        expect(said.faults).not.toEqual([]);
      }
  });

  test('of a part names it, and so does one that is missing', async () => {
    const digestIn = (log: AttackedLog): string =>
      log.db.prepare<[number], string>('SELECT digest FROM parts WHERE tenant_no = ?').pluck().get(log.no) ??
      '';
    let digest = '';
    const changed = await after((log) => {
      digest = digestIn(log);
      log.run("UPDATE parts SET body = replace(body, 'xx', 'xy') WHERE tenant_no = ?", log.no);
    });
    expect(changed).toEqual(refused(`what entries have in common under ${digest} was changed`));
    const missing = await after((log) => log.run('DELETE FROM parts WHERE tenant_no = ?', log.no));
    expect(missing.faults).toHaveLength(6);
    expect(missing.faults[0]).toBe(`what entry 600 has in common with others, under ${digest}, is missing`);
    const swapped = await after((log) => {
      const body = '{"text":"y"}';
      const other = createHash('sha256').update(body).digest('hex');
      log.run('UPDATE parts SET body = ?, digest = ? WHERE tenant_no = ?', body, other, log.no);
    });
    expect(swapped.faults).toHaveLength(6);
  });

  test('a hash of the tree more, or less', async () => {
    const less = await after((log) => log.run('DELETE FROM tiles WHERE tenant_no = ? AND at = 1', log.no));
    expect(less).toEqual(refused('its tree has 1 hashes above its leaves, and not 2', tile(1)));
    const more = await after((log) =>
      log.run('INSERT INTO tiles VALUES (?, 1, 2, ?)', log.no, Buffer.alloc(32)),
    );
    expect(more).toEqual(refused('its tree has 3 hashes above its leaves, and not 2'));
  });
});
