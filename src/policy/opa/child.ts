import { execFile } from 'node:child_process';
import { ServiceError } from '../../errors.ts';

/** What a run of the compiler left. */
export interface Run {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** What runs of the compiler may take. */
export interface Bounds {
  /** Of all of them, by the wall clock. */
  readonly totalMs: number;
  /** Of each. */
  readonly runMs?: number;
  readonly outputBytes: number;
  /** Of address space, where it is less than a compilation may have. */
  readonly memoryKib?: number;
  /** What is thrown where the policy takes more: of a compilation `policy_invalid`. */
  readonly tooMuch?: (options: { cause: unknown; detail: string }) => ServiceError;
}

export type RunOpa = (args: readonly string[], input?: string) => Promise<Run>;

/** Of all that one compilation runs, by the wall clock: others wait for their turn. A megabyte of Rego takes a few seconds. */
const COMPILATION: Bounds = { totalMs: 45_000, outputBytes: 64 * 1024 * 1024 };

/**
 * What the kernel holds the compiler to, in the units of `ulimit`. Address space is what Go's allocator fails on: the
 * runtime alone reserves 1 GB of it, a megabyte of Rego takes 800 MB resident in the greediest of its commands.
 */
const limitsOf = ({ memoryKib = 2.5 * 1024 * 1024 }: Bounds): (readonly [flag: string, value: number])[] => [
  ...(process.platform === 'linux' ? [['-v', memoryKib] as const] : []),
  // Seconds of processor time, over all its threads.
  ['-t', 40],
  // Blocks of 512 bytes, of 1,024 in some shells: 128 or 256 MiB a file.
  ['-f', 262_144],
  ['-n', 256],
  ['-c', 0],
];

/** A limit that cannot be set ends the shell, and nothing runs without it. */
const scriptOf = (bounds: Bounds): string =>
  `${limitsOf(bounds)
    .map(([flag, value]) => `ulimit ${flag} ${value} || exit 125`)
    .join('; ')}; exec "$0" "$@"`;

/** The compiler's own words for what is the machine's fault, not the policy's. */
const MACHINE =
  /no space left on device|read-only file system|input\/output error|too many open files|quota/i;
/** How Go says that it was refused memory. */
const GREEDY = /out of memory|cannot allocate memory|failed to reserve|stack overflow|exceeds \d+-byte limit/;

/**
 * Lets `work` run OPA in a folder, and ends whatever of it still runs when the work is done, has failed or takes too
 * long.
 */
export async function confined<T>(
  opa: string,
  folder: string,
  work: (run: RunOpa) => Promise<T>,
  bounds: Bounds = COMPILATION,
): Promise<T> {
  const ended = new AbortController();
  const timer = setTimeout(() => ended.abort(), bounds.totalMs);
  try {
    return await work((args, input = '') => runOpa(opa, folder, args, input, ended.signal, bounds));
  } finally {
    clearTimeout(timer);
    ended.abort();
  }
}

/**
 * Runs OPA in `cwd`, with no environment and nothing open but its input and output. What it may take is bounded by the
 * kernel, so Rego that makes it greedy ends it and nothing else.
 * @throws ServiceError `unavailable` where the machine is at fault, `policy_invalid` where the policy took too much
 */
function runOpa(
  opa: string,
  cwd: string,
  args: readonly string[],
  input: string,
  signal: AbortSignal,
  bounds: Bounds,
): Promise<Run> {
  return new Promise((resolve, reject) => {
    const child = execFile(
      '/bin/sh',
      ['-c', scriptOf(bounds), opa, ...args],
      {
        cwd,
        env: {},
        signal,
        killSignal: 'SIGKILL',
        maxBuffer: bounds.outputBytes,
        ...(bounds.runMs === undefined ? {} : { timeout: bounds.runMs }),
      },
      (error, stdout, stderr) => {
        const code = error ? error.code : 0;
        if (typeof code === 'number' && code < 125 && !MACHINE.test(stderr) && !greedy(code, stderr))
          return resolve({ code, stdout, stderr });
        reject(failure(error ?? new Error(stderr), code, stderr, `${opa} ${args[0]}`, bounds));
      },
    );
    child.stdin?.on('error', () => {});
    child.stdin?.end(input);
  });
}

/** Node's words for what was ended by our own bounds. */
const BOUNDS: ReadonlySet<unknown> = new Set(['ERR_CHILD_PROCESS_STDIO_MAXBUFFER', 'ABORT_ERR']);

/** Go's runtime ends with 2 and a trace; OPA's own refusals are diagnostics. */
const greedy = (code: number, stderr: string): boolean => code === 2 && GREEDY.test(stderr);

function failure(
  cause: Error,
  code: unknown,
  stderr: string,
  what: string,
  { tooMuch = uncompilable }: Bounds,
): ServiceError {
  const detail = `${what}: ${(stderr || cause.message).slice(0, 300)}`;
  // The shell's own codes for what it could not run, and errors of the system's for the shell.
  const isMachine =
    MACHINE.test(stderr) ||
    (typeof code === 'number' && code >= 125 && code <= 127) ||
    (typeof code === 'string' && !BOUNDS.has(code));
  return isMachine
    ? new ServiceError('unavailable', 'the policy compiler cannot run now', { cause, detail })
    : tooMuch({ cause, detail });
}

const uncompilable = (options: { cause: unknown; detail: string }): ServiceError =>
  new ServiceError('policy_invalid', 'the policy takes more time or memory to compile than it may', options);
