import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { leafOf } from '../e2e/log-by-hand.ts';
import { ruinPagesWith } from '../fault/damage.ts';
import { type AttackedLog, BEGUN, copyOf, type Left, leftStore, OLDER, renamed, SIZE } from './attacked.ts';
import { all, DISAGREES, Examiner, refused, tile } from './examiner.ts';

/** What somebody may do to the entries of a stopped store who may write to its files, and what verify says of it. */

let left: Left;
let examiner: Examiner;
beforeAll(async () => {
  left = await leftStore();
  examiner = new Examiner(left);
});
afterAll(() => left[Symbol.asyncDispose]());

test('a store that nobody touched is proved, also where its runs were only laid out anew', async () => {
  expect(await examiner.verified(left.store)).toEqual(all);
  expect(await examiner.after((log) => log.put(log.entries()))).toEqual(all);
  expect(await examiner.verified(left.store, ...(await examiner.kept('older')))).toEqual(all);
});

describe('entries', () => {
  test('a name changed in 52 of them and two deleted: each is named by its index', async () => {
    const changed = Array.from({ length: 52 }, (_, at) => BEGUN + 1 + at * 11);
    const deleted = [100, 400];
    const { faults, ...said } = await examiner.after((log) => {
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
    const said = await examiner.after((log) => log.change([10, 11, 12, 600]));
    expect(said).toEqual(refused('entries 10 to 12: each was changed', 'entry 600 was changed'));
  });

  test('one changed in place, in the bytes of its run', async () => {
    const said = await examiner.after((log) => {
      log.put(log.entries());
      const bodies = `CAST(replace(CAST(bodies AS TEXT), '"d7"', '"d8"') AS BLOB)`;
      log.run(`UPDATE runs SET bodies = ${bodies} WHERE id = ?`, log.at(0));
    });
    expect(said.code).toBe(1);
    expect(said.faults.length).toBeGreaterThan(0);
    for (const fault of said.faults) expect(fault).toMatch(/^entry \d+ was changed$/);
  });

  test('one changed with its hash and the sum of its run: the tile is named', async () => {
    expect(await examiner.after((log) => log.forge([5]))).toEqual(refused(tile(0), DISAGREES));
    expect(await examiner.after((log) => log.forge([300]))).toEqual(refused(tile(1), DISAGREES));
    // No tile is full there.
    expect(await examiner.after((log) => log.forge([600]))).toEqual(refused(DISAGREES));
  });

  test('the same with the hash of its tile: the checkpoint still tells, and one kept elsewhere more', async () => {
    const attack = (log: AttackedLog): void => {
      log.forge([5]);
      log.rehash();
    };
    expect(await examiner.after(attack)).toEqual(refused(DISAGREES));
    const file = await examiner.kept('older');
    expect(await examiner.after(attack, ...file)).toEqual(
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
    expect(await examiner.after((log) => swapped(log, true))).toEqual(refused(tile(0), DISAGREES));
    expect(await examiner.after((log) => swapped(log, false))).toEqual(
      refused('entry 20 was changed', 'entry 30 was changed'),
    );
  });

  test('one deleted, and those after it moved up', async () => {
    const { faults, ...said } = await examiner.after((log) => {
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
    expect(await examiner.after(cut)).toEqual({ ...said, faults: [count, gone] });
    expect(
      await examiner.after((log) => {
        cut(log);
        log.count(512);
      }),
    ).toEqual({ ...said, faults: [gone] });
  });

  test('a count that says far too many holds nobody up', async () => {
    const said = await examiner.after((log) => log.count(2 ** 40));
    expect(said).toEqual(refused(`by its count it has ${2 ** 40} entries, but it ends with ${SIZE}`));
  });

  test('some appended are not called proved; without hashes, as no version leaves them, they are told', async () => {
    const more = (log: AttackedLog) => {
      const last = log.entries().at(-1);
      if (!last) throw new Error('there is none');
      const body = renamed(last.body);
      return { ...last, index: SIZE, body, leaf: leafOf(body) };
    };
    const appended = await examiner.after((log) => log.insert([more(log)]));
    expect(appended).toEqual({ code: 0, entries: SIZE + 1, proved: SIZE, faults: [] });
    const bare = await examiner.after((log) => {
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
    const said = await examiner.after((log) => {
      log.put(log.entries());
      const entry = log.entries()[50];
      if (!entry) throw new Error('there is none');
      const body = renamed(entry.body);
      log.insert([{ ...entry, body, leaf: leafOf(body) }]);
    });
    expect(said).toEqual(refused('entry 50 stands there twice'));
    const empty = await examiner.after((log) => {
      log.put(log.entries());
      log.run('INSERT INTO runs (id, heads, bodies) VALUES (?, ?, ?)', log.at(50), Buffer.of(), Buffer.of());
    });
    expect(empty.faults).toContain('entry 50 stands there twice');
    expect(empty.code).toBe(1);
  });

  test('pages that no longer can be read name what they held', async () => {
    await using copy = await copyOf(left.store);
    expect(ruinPagesWith(copy.folder, '"id":"d70"')).toBeGreaterThan(0);
    const { code, proved, faults } = await examiner.verified(copy.folder);
    expect({ code, proved }).toEqual({ code: 1, proved: 0 });
    expect(faults.join('\n')).toMatch(/^entr(?:y|ies) .* missing or cannot be read$/m);
  });
});
