/**
 * A fleet on this machine, in development mode: PostgreSQL, two authorities and three sidecars. Ports count on from the first:
 * 0 and 1 of the first authority, 10 and 11 of the second, 20, 30 and 40 (and the next) of the sidecars.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { stringify } from 'yaml';
import { Postgres } from './postgres.ts';

const repository = path.resolve(import.meta.dirname, '../..');
const { values } = parseArgs({
  options: { port: { type: 'string', default: '7400' }, pids: { type: 'string' } },
});
const first = Number(values.port);
const pids = path.resolve(values.pids ?? path.join(repository, 'var/fleet'));

await using stack = new AsyncDisposableStack();
const folder = await mkdtemp(path.join(tmpdir(), 'mandate-fleet-'));
stack.defer(() => rm(folder, { recursive: true, force: true }));
await mkdir(pids, { recursive: true });
process.stdout.write('fleet: starting PostgreSQL\n');
const postgres = stack.use(await Postgres.start());

const at = (offset: number): string => `127.0.0.1:${first + offset}`;
const base = `http://${at(0)}`;

async function serve(name: string, offset: number, config: object): Promise<void> {
  const own = path.join(folder, name);
  await mkdir(own);
  const file = path.join(own, 'mandate.yaml');
  const places = { data: at(offset), admin: at(offset + 1), data_dir: path.join(own, 'data'), node: name };
  await writeFile(file, stringify({ dev: true, base_url: base, ...places, ...config }));
  const child = spawn(process.execPath, ['src/cli/mandate.ts', 'serve', '--config', file], {
    cwd: repository,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  stack.defer(() => ended(child));
  const said = [createInterface(child.stdout), createInterface(child.stderr)];
  await new Promise<void>((resolve, reject) => {
    child.once('exit', (code) => reject(new Error(`${name} ended with ${code}`)));
    for (const lines of said)
      lines.on('line', (line) => {
        if (line.includes('ready in')) resolve();
        else if (!/DEVELOPMENT|user from the stand-in|plane|store  |tenants|no tenants/.test(line))
          process.stdout.write(`${name}: ${line.replace(/^mandate: /, '')}\n`);
      });
  });
  await writeFile(path.join(pids, `${name}.pid`), `${child.pid}\n`);
  process.stdout.write(
    `fleet: ${name.padEnd(10)} data http://${at(offset)}  admin http://${at(offset + 1)}\n`,
  );
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise((resolve) => child.once('exit', resolve));
  // One that was stopped hears of nothing else.
  child.kill('SIGCONT');
  child.kill('SIGTERM');
  await gone;
}

const authority = {
  store: postgres.url,
  tenants: [path.join(repository, 'policies/acme')],
  master_key_file: path.join(folder, 'master.key'),
};
const peer = (offset: number) => ({ peers: { admin: `http://${at(offset)}` } });
await serve('one', 0, { ...authority, ...peer(11) });
await serve('two', 10, { ...authority, ...peer(1) });
const authorities = {
  admin: [1, 11].map((each) => `http://${at(each)}`),
  data: [0, 10].map((each) => `http://${at(each)}`),
};
for (const [nth, offset] of [20, 30, 40].entries())
  await serve(`sidecar-${nth + 1}`, offset, { authority: authorities });
process.stdout.write('fleet: ready\n');
await new Promise((resolve) => {
  process.once('SIGINT', resolve);
  process.once('SIGTERM', resolve);
});
process.stdout.write('fleet: stopping\n');
