import { execFile, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';

/** Other people's programs: where they are, how those that are pinned here are made, and how one is run. */

const repository = path.resolve(import.meta.dirname, '../..');
const sources = path.join(repository, 'tools/clients');
const made = path.join(repository, '.cache/clients');

export interface Ran {
  /** Of the process; -1 for one that was stopped. */
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

interface Options {
  readonly input?: string;
  readonly folder?: string;
  /** When it is stopped. */
  readonly timeoutMs?: number;
}

/** Resolves however it ends. Rejects only where it cannot be started. */
export function run(file: string, args: readonly string[], options: Options = {}): Promise<Ran> {
  const { input = '', folder = repository, timeoutMs = 120_000 } = options;
  return new Promise((resolve, reject) => {
    const limits = { cwd: folder, timeout: timeoutMs, killSignal: 'SIGKILL', maxBuffer: 256 << 20 } as const;
    const child = execFile(file, args, limits, (error, stdout, stderr) => {
      const code = error?.code ?? (error ? -1 : 0);
      if (typeof code === 'string') reject(error);
      else resolve({ code, stdout, stderr });
    });
    // One that ends without reading is judged by how it ended.
    child.stdin?.on('error', () => undefined);
    child.stdin?.end(input);
  });
}

/** What it printed. Throws, with what it complained of, where it failed. */
export async function output(file: string, args: readonly string[], options: Options = {}): Promise<string> {
  const { code, stdout, stderr } = await run(file, args, options);
  if (code !== 0) throw new Error(`${path.basename(file)} ended with ${code}: ${stderr || stdout}`);
  return stdout;
}

/** What to say of tests that cannot be run here; empty where the program is installed. */
export const missing = (program: string, remedy: string): string =>
  spawnSync(program, ['--version']).error ? `, skipped: ${program} is missing, ${remedy}` : '';

const packages = {
  h2spec: ['clients', 'github.com/summerwind/h2spec/cmd/h2spec'],
  'grpc-go': ['clients', './grpc-go'],
  versitygw: ['s3', 'github.com/versity/versitygw/cmd/versitygw'],
} as const;

/** Builds a program of a module of tools/, unless it has been built as it is now. */
export async function goProgram(name: keyof typeof packages): Promise<string> {
  const [module, goPackage] = packages[name];
  const sources = path.join(repository, 'tools', module);
  const folder = path.join(sources, name);
  const own = existsSync(folder) ? (await readdir(folder)).map((file) => path.join(name, file)) : [];
  const program = path.join(made, `${name}-${await digest(['go.mod', 'go.sum', ...own], sources)}`);
  if (existsSync(program)) return program;
  await mkdir(made, { recursive: true });
  // Another process may be making it too: it is there whole, or not.
  const unfinished = `${program}.${process.pid}`;
  const build = ['build', '-trimpath', '-o', unfinished, goPackage];
  await output('go', build, { folder: sources, timeoutMs: 280_000 });
  await rename(unfinished, program);
  return program;
}

/** A Python with the pinned grpcio. An environment cannot be moved, so one without its mark is made anew. */
export async function pythonWithGrpcio(): Promise<string> {
  const environment = path.join(made, `grpcio-${await digest(['grpcio/requirements.txt'])}`);
  const python = path.join(environment, 'bin/python');
  const mark = path.join(environment, 'whole');
  if (existsSync(mark)) return python;
  await rm(environment, { recursive: true, force: true });
  await output('python3', ['-m', 'venv', environment]);
  const requirements = path.join(sources, 'grpcio/requirements.txt');
  // Nobody waits for a build from source.
  const install = ['-m', 'pip', 'install', '--quiet', '--only-binary', ':all:', '-r', requirements];
  await output(python, install, { timeoutMs: 280_000 });
  await writeFile(mark, '');
  return python;
}

export const grpcioProgram = path.join(sources, 'grpcio/main.py');

async function digest(files: readonly string[], folder = sources): Promise<string> {
  const hash = createHash('sha256');
  for (const file of files) hash.update(await readFile(path.join(folder, file)));
  return hash.digest('hex').slice(0, 12);
}
