import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { chown, mkdir, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import pg from 'pg';
import { freePort } from './ports.ts';

/** A real PostgreSQL in a temporary folder, on loopback. It runs as another user where this one is root, as it must. */

const run = promisify(execFile);

async function binaries(): Promise<string> {
  const versions = await readdir('/usr/lib/postgresql').catch((): string[] => []);
  const newest = versions.sort((one, other) => Number(other) - Number(one))[0];
  if (newest !== undefined) return `/usr/lib/postgresql/${newest}/bin`;
  for (const folder of (process.env['PATH'] ?? '').split(':'))
    if ((await readdir(folder).catch((): string[] => [])).includes('initdb')) return folder;
  throw new Error('these tests take PostgreSQL 15 or later: install the package postgresql');
}

/** Whether these can be run here; says so where not. */
export async function hasPostgres(): Promise<boolean> {
  try {
    await binaries();
    return true;
  } catch (error) {
    process.stderr.write(`left out: ${(error as Error).message}\n`);
    return false;
  }
}

async function ids(): Promise<{ uid: number; gid: number } | undefined> {
  if (process.getuid?.() !== 0) return undefined;
  const of = async (what: string): Promise<number> =>
    Number((await run('id', [what, 'postgres']).catch(() => run('id', [what, 'nobody']))).stdout.trim());
  return { uid: await of('-u'), gid: await of('-g') };
}

export class Postgres implements AsyncDisposable {
  readonly #bin: string;
  readonly #folder: string;
  readonly #user: { uid: number; gid: number } | undefined;
  readonly port: number;
  #process: ChildProcess | undefined;

  private constructor(
    bin: string,
    folder: string,
    user: { uid: number; gid: number } | undefined,
    port: number,
  ) {
    this.#bin = bin;
    this.#folder = folder;
    this.#user = user;
    this.port = port;
  }

  static async start(): Promise<Postgres> {
    const [bin, user] = [await binaries(), await ids()];
    const folder = await mkdtemp(path.join(tmpdir(), 'mandate-postgres-'));
    const data = path.join(folder, 'data');
    await mkdir(data, { mode: 0o700 });
    if (user) for (const each of [folder, data]) await chown(each, user.uid, user.gid);
    await run(`${bin}/initdb`, ['-D', data, '-U', 'mandate', '-A', 'trust', '--no-sync', '-E', 'UTF8'], {
      ...user,
      cwd: folder,
    });
    const postgres = new Postgres(bin, folder, user, await freePort());
    await postgres.up();
    return postgres;
  }

  get url(): string {
    return `postgres://mandate@127.0.0.1:${this.port}/postgres`;
  }

  async up(): Promise<void> {
    const settings = ['listen_addresses=127.0.0.1', 'unix_socket_directories=', `port=${this.port}`];
    this.#process = spawn(
      `${this.#bin}/postgres`,
      ['-D', path.join(this.#folder, 'data'), ...settings.flatMap((each) => ['-c', each])],
      { ...this.#user, cwd: this.#folder, stdio: 'ignore' },
    );
    for (let round = 0; round < 1_200; round += 1) {
      const answer = await this.query('SELECT 1').catch(() => undefined);
      if (answer) return;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    throw new Error('PostgreSQL did not start');
  }

  /** A line of one's own. */
  async connected(): Promise<pg.Client> {
    const client = new pg.Client({ connectionString: this.url });
    await client.connect();
    return client;
  }

  async query(text: string): Promise<Record<string, unknown>[]> {
    const client = await this.connected();
    try {
      return (await client.query<Record<string, unknown>>(text)).rows;
    } finally {
      await client.end();
    }
  }

  /** One that follows this one, and takes its place once it is promoted. `sync`: nothing is answered before it has it. */
  async standby(sync: boolean): Promise<Postgres> {
    const folder = await mkdtemp(path.join(tmpdir(), 'mandate-postgres-'));
    if (this.#user) await chown(folder, this.#user.uid, this.#user.gid);
    const as = { ...this.#user, cwd: folder };
    const source = `host=127.0.0.1 port=${this.port} user=mandate application_name=standby`;
    await run(
      `${this.#bin}/pg_basebackup`,
      ['-D', path.join(folder, 'data'), '-d', source, '-R', '-c', 'fast', '--no-sync'],
      as,
    );
    const standby = new Postgres(this.#bin, folder, this.#user, await freePort());
    await standby.up();
    if (sync) {
      await this.query("ALTER SYSTEM SET synchronous_standby_names = 'standby'");
      await this.query('SELECT pg_reload_conf()');
    }
    return standby;
  }

  async promote(): Promise<void> {
    await this.query('SELECT pg_promote()');
  }

  /** No file may grow beyond so many bytes, as if there were no more room; undefined: all may again. */
  async limitFiles(bytes: number | undefined): Promise<void> {
    const parent = String(this.#process?.pid);
    const children = await run('pgrep', ['-P', parent]);
    const limit = `--fsize=${bytes ?? 'unlimited'}:unlimited`;
    // One that ended meanwhile has no limit to be set.
    const each = children.stdout
      .trim()
      .split('\n')
      .map((pid) => run('prlimit', [`--pid=${pid}`, limit], this.#user ?? {}).catch(() => undefined));
    await run('prlimit', [`--pid=${parent}`, limit], this.#user ?? {});
    await Promise.all(each);
  }

  /** As by a power cut. */
  async kill(): Promise<void> {
    await this.#end('SIGQUIT');
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const running = this.#process;
    this.#process = undefined;
    if (!running || running.exitCode !== null) return;
    const ended = new Promise((resolve) => running.once('exit', resolve));
    running.kill(signal);
    await ended;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#end('SIGINT');
    await rm(this.#folder, { recursive: true, force: true });
  }
}
