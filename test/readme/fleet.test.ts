import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { hasPostgres } from '../../tools/fleet/postgres.ts';
import { patternOf, stepsIn } from './steps.ts';

/** docs/fleet.md with `make run-fleet`: a real PostgreSQL, two authorities and three sidecars. */

const repository = path.resolve(import.meta.dirname, '../..');
const MARK = '==== next ====';
/** Of the page, and by how much later ones come after the first. */
const PORTS = [7400, 7401, 7410, 7411, 7420, 7421, 7430, 7431, 7440, 7441];

test.runIf(await hasPostgres())(
  "the fleet's page, pasted into a shell beside make run-fleet, gives the output it shows",
  async () => {
    const page = await readFile(path.join(repository, 'docs/fleet.md'), 'utf8');
    const [, block = ''] = page.split(/<!-- fleet:(?:begin|end) -->/);
    const steps = stepsIn(block);
    expect(steps.length).toBeGreaterThan(10);
    const [first, folder] = [await freePorts(), await mkdtemp(path.join(tmpdir(), 'mandate-pids-'))];
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
        { cwd: repository, timeout: 150_000 },
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
  240_000,
);

/** The first of so many that nobody listens on. */
async function freePorts(): Promise<number> {
  for (let round = 0; round < 50; round += 1) {
    const first = 20_000 + Math.floor(Math.random() * 30_000);
    const taken = await Promise.all(PORTS.map((port) => isTaken(first + port - 7400)));
    if (!taken.includes(true)) return first;
  }
  throw new Error('no ports are free');
}

function isTaken(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(true));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(false)));
  });
}
