import { spawnSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { run } from '../foreign/programs.ts';
import { textOf } from './manifests.ts';

/** The units of deploy/systemd, as systemd reads them. */

const units = ['mandate', 'mandate-sidecar'] as const;
const withoutSystemd = spawnSync('systemd-analyze', ['--version']).error
  ? ', skipped: systemd-analyze is missing, install systemd'
  : '';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'mandate-units-'));
});
afterAll(() => rm(folder, { recursive: true }));

const settingsIn = (text: string): Map<string, string> =>
  new Map(
    text
      .split('\n')
      .filter((line) => /^\w+=/.test(line))
      .map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]),
  );

/** As it is, but for a program that is there: Mandate is not installed on the machine of a test. */
async function placed(unit: string): Promise<string> {
  const text = await textOf(`deploy/systemd/${unit}.service`);
  const file = path.join(folder, `${unit}.service`);
  await writeFile(
    file,
    text.replace('/opt/mandate/bin/mandate', '/bin/true').replace(/^Documentation=.*$/m, ''),
  );
  return file;
}

describe('deploy/systemd', () => {
  test.for(units)('%s gives it next to no rights, and V8 what it needs', async (unit) => {
    const settings = settingsIn(await textOf(`deploy/systemd/${unit}.service`));
    expect(Object.fromEntries(settings)).toMatchObject({
      NoNewPrivileges: 'yes',
      ProtectSystem: 'strict',
      ProtectHome: 'yes',
      PrivateTmp: 'yes',
      CapabilityBoundingSet: '',
      SystemCallFilter: '@system-service',
      StateDirectory: unit,
      StateDirectoryMode: '0700',
      CacheDirectoryMode: '0700',
      Restart: 'on-failure',
      User: unit,
    });
    expect(settings.has('MemoryDenyWriteExecute')).toBe(false);
    for (const name of ['MANDATE_DATA_DIR', 'NODE_COMPILE_CACHE'])
      expect(settings.get('Environment')).toMatch(new RegExp(`${name}=/var/(lib|cache)/${unit}( |$)`));
    // It ends by itself 12 seconds after it drained; systemd is not to be there first.
    expect(Number(settings.get('TimeoutStopSec'))).toBeGreaterThan(10 + 12);
  });

  test.skipIf(withoutSystemd !== '').for(units)(
    `%s is one that systemd takes${withoutSystemd}`,
    async (unit) => {
      const file = await placed(unit);
      expect(await run('systemd-analyze', ['verify', file])).toMatchObject({ code: 0, stderr: '' });
      await writeFile(
        file,
        (await textOf(`deploy/systemd/${unit}.service`)).replace('Type=exec', 'Type=exce'),
      );
      expect((await run('systemd-analyze', ['verify', file])).stderr).toContain('exce');
    },
  );

  test.skipIf(withoutSystemd !== '').for(units)(
    `%s is exposed to 2 of 10 at most, by systemd's own reckoning${withoutSystemd}`,
    async (unit) => {
      const file = await placed(unit);
      const args = ['security', '--offline=yes', '--no-pager', '--threshold=20', file];
      const { code, stdout } = await run('systemd-analyze', args);
      expect(code, stdout.split('\n').at(-2)).toBe(0);
    },
  );
});
