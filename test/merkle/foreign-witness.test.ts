import { mkdtempSync, rmSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { vkeyOf } from '../../src/merkle/keys.ts';
import { makeVerifiers, refused, verified, verifiers, withoutGo } from './verifiers.ts';
import { bodyOf, log, witness } from './witnessed.ts';

/** What a witness signs, before the eyes of torchwood and golang.org/x/mod/sumdb. */

const folder = mkdtempSync(path.join(tmpdir(), 'merkle-witness-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** A checkpoint with the lines of witnesses. */
const cosigned = (size: number, lines: string): string =>
  `${bodyOf(0, size).slice('old 0\n\n'.length)}${lines}`;

describe.skipIf(withoutGo !== '')(`a cosignature${withoutGo}`, () => {
  beforeAll(async () => void (await makeVerifiers()), 300_000);

  test.each([0, 1, 7, 300])('of %i leaves is one of C2SP tlog-cosignature', async (size) => {
    const { add, key } = witness();
    const { body } = add(bodyOf(0, size));
    const keys = [vkeyOf(log), vkeyOf(key)];
    expect(await verifiers(['note', ...keys], cosigned(size, body))).toEqual({
      ...verified,
      stdout: `signed by ${log.name} witness.example/w1\n`,
    });
    // The second signature of the same checkpoint is as good.
    const again = add(bodyOf(size, size), 1_800_000_000).body;
    expect(await verifiers(['note', vkeyOf(key)], cosigned(size, again))).toMatchObject(verified);
    // Of another checkpoint it is none, whoever else signed that.
    expect(await verifiers(['note', ...keys], cosigned(size === 0 ? 1 : size - 1, body))).toEqual(refused);
  });

  test('counts for a quorum of a policy (C2SP tlog-policy)', async () => {
    const witnesses = [witness(), witness()];
    const lines = witnesses.map(({ add }) => add(bodyOf(0, 9)).body);
    const file = path.join(folder, 'policy');
    const names = witnesses.map(({ key }, at) => `witness w${at} ${vkeyOf(key)}`);
    await writeFile(file, [`log ${vkeyOf(log)}`, ...names, 'group both all w0 w1', 'quorum both'].join('\n'));
    const stdout = `${log.name} of 9 leaves\n`;
    expect(await verifiers(['checkpoint', file], cosigned(9, lines.join('')))).toEqual({
      ...verified,
      stdout,
    });
    for (const line of lines)
      expect(await verifiers(['checkpoint', file], cosigned(9, line))).toEqual(refused);
    const [first = ''] = lines;
    expect(await verifiers(['checkpoint', file], cosigned(9, first + first))).toEqual(refused);
  });
});
