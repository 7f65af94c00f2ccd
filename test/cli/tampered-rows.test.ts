import { createHash, generateKeyPairSync } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { SignatureType, verifierKey, vkeyOf } from '../../src/merkle/keys.ts';
import { cosignatureLine, signNote } from '../../src/merkle/note.ts';
import { stated, treeOf } from '../e2e/log-by-hand.ts';
import { type AttackedLog, type Left, leftStore, OLDER, SIZE } from './attacked.ts';
import { all, Examiner, refused, tile } from './examiner.ts';

/** The same with what stands beside the entries: checkpoints, keys, hashes and parts. */

let left: Left;
let examiner: Examiner;
beforeAll(async () => {
  left = await leftStore();
  examiner = new Examiner(left);
});
afterAll(() => left[Symbol.asyncDispose]());

describe('checkpoints and keys', () => {
  test('the checkpoint deleted: nothing is proved', async () => {
    const said = await examiner.after((log) =>
      log.run('DELETE FROM checkpoints WHERE tenant_no = ?', log.no),
    );
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
      const { code, proved, faults } = await examiner.after((log) => log.state(note));
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
    expect(await examiner.after(rolledBack)).toEqual({ code: 0, entries: OLDER, proved: OLDER, faults: [] });
    const file = await examiner.kept('newest');
    expect(await examiner.after(rolledBack, ...file)).toEqual({
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
    expect(await examiner.after(behind)).toEqual({ ...all, proved: OLDER });
    expect(await examiner.after(behind, ...file)).toEqual(all);
  });

  test('a size of its row that is not its own, by which no newer one would be taken', async () => {
    const said = await examiner.after((log) =>
      log.run('UPDATE checkpoints SET size = ? WHERE tenant_no = ?', 10_000, log.no),
    );
    expect(said).toEqual(refused('its checkpoint stands as one of 10000 entries'));
  });

  test('another log signed, and with a key of the attacker', async () => {
    const { origin } = stated(left.checkpoints.newest);
    const { privateKey, publicKey } = generateKeyPairSync('ed25519');
    const signer = { ...verifierKey(origin, SignatureType.ED25519, publicKey), privateKey };
    const { faults, ...said } = await examiner.after((log) => {
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
    const deleted = await examiner.after((log) =>
      log.run('DELETE FROM log_keys WHERE tenant_no = ?', log.no),
    );
    expect(deleted).toMatchObject({ code: 1, proved: 0 });
    expect(deleted.faults).toContain('the store has no log of this name');
    const rename = (log: AttackedLog): void =>
      log.run('UPDATE log_keys SET origin = ? WHERE tenant_no = ?', `${origin}-2`, log.no);
    expect(await examiner.after(rename)).toMatchObject({ code: 1, proved: 0 });
    // Of one tenant nothing else is looked at.
    expect(await examiner.after(rename, '-t', 'acme', '--key', left.keys.acme)).toMatchObject({
      code: 1,
      proved: 0,
    });
    const replaced = await examiner.after((log) =>
      log.run('UPDATE log_keys SET public = ? WHERE tenant_no = ?', Buffer.alloc(32, 7), log.no),
    );
    expect(replaced).toEqual(refused('its key in the store is none that was given'));
  });

  test('the checkpoint of another tenant', async () => {
    const said = await examiner.after((log) => log.state(left.checkpoints.globex));
    const { origin } = stated(left.checkpoints.globex);
    expect(said).toMatchObject({ code: 1, proved: 0 });
    expect(said.faults[0]).toBe(`its checkpoint proves nothing: it is of the log ${origin}`);
  });

  test('one that witnesses are said to have signed is looked at by whatever key there is', async () => {
    const { newest, older, globex } = left.checkpoints;
    const cosigned = (note: string, size: number) => (log: AttackedLog) =>
      log.run('INSERT INTO cosigned (tenant_no, size, note, at) VALUES (?, ?, ?, 0)', log.no, size, note);
    expect(await examiner.after(cosigned(older, OLDER))).toEqual(all);
    for (const note of [newest.replace(`\n${SIZE}\n`, '\n600\n'), globex, 'x', '']) {
      const { code, proved, faults } = await examiner.after(cosigned(note, SIZE));
      expect({ code, proved }).toEqual({ code: 1, proved: 0 });
      expect(faults).toHaveLength(1);
      expect(faults[0]).toMatch(/^its witnessed checkpoint proves nothing: /);
    }
  });

  test('where witnesses are asked for, what only the log signed is not called proved', async () => {
    const { privateKey, publicKey } = generateKeyPairSync('ed25519');
    const witness = { ...verifierKey('w.example', SignatureType.COSIGNATURE, publicKey), privateKey };
    const policy = path.join(left.store, '..', 'witnessed.policy');
    await writeFile(policy, `log ${left.keys.acme}\nwitness w ${vkeyOf(witness)}\nquorum w\n`);
    const { older } = left.checkpoints;
    const note = `${older}${cosignatureLine(stated(older).text, witness, 1_800_000_000n)}`;
    const attack = (log: AttackedLog): void =>
      log.run('INSERT INTO cosigned (tenant_no, size, note, at) VALUES (?, ?, ?, 0)', log.no, OLDER, note);
    const asked = ['-t', 'acme', '--policy', policy];
    expect(await examiner.after(attack, ...asked)).toEqual({ ...all, proved: OLDER });
    expect(await examiner.after(() => {}, ...asked)).toEqual(
      refused('its checkpoint proves nothing: the witnesses of w have not signed it'),
    );
    // What came since is the log's own, or refused.
    const forged = await examiner.after(
      (log) => {
        attack(log);
        log.forge([600]);
      },
      ...asked,
    );
    expect(forged).toMatchObject({ code: 1, proved: 0 });
  });

  test('a log that is gone altogether, while another stands', async () => {
    const gone = (log: AttackedLog): void => {
      const [first, end] = [log.at(0), log.at(2 ** 36)];
      log.run('DELETE FROM runs WHERE id >= ? AND id < ?', first, end);
      for (const table of ['logs', 'checkpoints', 'tiles'])
        log.run(`DELETE FROM ${table} WHERE tenant_no = ?`, log.no);
    };
    const trusted = ['--key', left.keys.globex];
    expect(await examiner.after(gone)).toMatchObject({ code: 1, proved: 0 });
    expect(await examiner.after(gone, ...trusted, ...(await examiner.kept('newest')))).toMatchObject({
      code: 1,
      proved: 0,
    });
  });

  test('a checkpoint that was kept is compared with some log, or told', async () => {
    const file = await examiner.kept('globex');
    const said = await examiner.verified(left.store, '-t', 'acme', ...file);
    expect(said).toMatchObject({ code: 1 });
    expect(said.faults).toEqual([`${file[1]} was compared with nothing: no log here is called so`]);
    expect(await examiner.verified(left.store, ...file)).toEqual(all);
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
        const said = await examiner.after((log) => {
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
    const changed = await examiner.after((log) => {
      digest = digestIn(log);
      log.run("UPDATE parts SET body = replace(body, 'xx', 'xy') WHERE tenant_no = ?", log.no);
    });
    expect(changed).toEqual(refused(`what entries have in common under ${digest} was changed`));
    const missing = await examiner.after((log) => log.run('DELETE FROM parts WHERE tenant_no = ?', log.no));
    expect(missing.faults).toHaveLength(6);
    expect(missing.faults[0]).toBe(
      `what entry ${SIZE - 13} has in common with others, under ${digest}, is missing`,
    );
    const swapped = await examiner.after((log) => {
      const body = '{"text":"y"}';
      const other = createHash('sha256').update(body).digest('hex');
      log.run('UPDATE parts SET body = ?, digest = ? WHERE tenant_no = ?', body, other, log.no);
    });
    expect(swapped.faults).toHaveLength(6);
  });

  test('a hash of the tree more, or less', async () => {
    const less = await examiner.after((log) =>
      log.run('DELETE FROM tiles WHERE tenant_no = ? AND at = 1', log.no),
    );
    expect(less).toEqual(refused('its tree has 1 hashes above its leaves, and not 2', tile(1)));
    const more = await examiner.after((log) =>
      log.run('INSERT INTO tiles VALUES (?, 1, 2, ?)', log.no, Buffer.alloc(32)),
    );
    expect(more).toEqual(refused('its tree has 3 hashes above its leaves, and not 2'));
  });
});
