import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { freePorts } from '../../tools/fleet/ports.ts';
import { hasPostgres } from '../../tools/fleet/postgres.ts';
import { patternOf, stepsIn } from './steps.ts';

/** docs/fleet.md with `make run-fleet`: a real PostgreSQL, two authorities and three sidecars. */

const repository = path.resolve(import.meta.dirname, '../..');
const MARK = '==== next ====';
/** Of the page's ports, which begin at 7400. */
const LAST = 7441;

test.runIf(await hasPostgres())(
  "the fleet's page, pasted into a shell beside make run-fleet, gives the output it shows",
  async () => {
    const page = await readFile(path.join(repository, 'docs/fleet.md'), 'utf8');
    const [, block = ''] = page.split(/<!-- fleet:(?:begin|end) -->/);
    const steps = stepsIn(block);
    expect(steps.length).toBeGreaterThan(10);
    const [first, folder] = [
      await freePorts(LAST - 7400 + 1),
      await mkdtemp(path.join(tmpdir(), 'mandate-pids-')),
    ];
    const fleet = spawn(process.execPath, ['tools/fleet/run.ts', '--port', String(first), '--pids', folder], {
      cwd: repository,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    try {
      for await (const line of createInterface(fleet.stdout)) if (line === 'fleet: ready') break;
      fleet.stdout.resume();
      const script = steps.map(({ command }) => `${command}\necho '${MARK}'`).join('\n');
      const { stdout } = await promisify(execFile)(
        'bash',
        [
          '-c',
          `exec 2>&1\n${script}`
            .replaceAll(/(?<=127\.0\.0\.1:)7(\d{3})/g, (port) => String(first + Number(port) - 7400))
            .replaceAll('var/fleet/', `${folder}/`),
        ],
        { cwd: repository, timeout: 300_000 },
      );
      const outputs = stdout.split(`${MARK}\n`);
      for (const [at, { command, output }] of steps.entries()) {
        const lines = (outputs[at] ?? '').split('\n').filter((line) => line.trim() !== '');
        if (output.length === 0) continue;
        expect(lines, command).toHaveLength(output.length);
        for (const [index, expected] of output.entries())
          expect(lines[index], command).toMatch(patternOf(expected));
      }
    } finally {
      fleet.kill('SIGTERM');
      if (fleet.exitCode === null) await once(fleet, 'exit');
      await rm(folder, { recursive: true });
    }
  },
  400_000,
);
