import { execFile } from 'node:child_process';
import { readFileSync, rmSync } from 'node:fs';
import { promisify } from 'node:util';

/** One request, sent again and again. */
export interface Target {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  /** A file with the body: for gRPC the frames. */
  readonly body: string;
  readonly clients: number;
  /** Requests in flight of each client. HTTP/1.1 has one. */
  readonly streams: number;
  readonly http1?: boolean;
  /** What a good response weighs at least: a gRPC error is a 200 without a body. */
  readonly responseBytes: number;
}

/** How long requests took, in microseconds, sorted. */
export class Latencies {
  readonly #micros: Float64Array;

  constructor(micros: Float64Array) {
    this.#micros = micros.toSorted();
  }

  /** Those of several rounds: a rare pause counts as often as it comes, and not by how many rounds happen to meet one. */
  static together(rounds: readonly Latencies[]): Latencies {
    return new Latencies(Float64Array.from(rounds.flatMap((round) => [...round.#micros])));
  }

  /** The time within which this part of the requests was answered, 0 to 1, in milliseconds. */
  at(part: number): number {
    const micros = this.#micros;
    return (micros[Math.min(micros.length - 1, Math.floor(micros.length * part))] ?? 0) / 1000;
  }
}

const run = promisify(execFile);
const WARM_UP_SECONDS = 1;

/** Requests a second of as much load as the target takes. */
export async function throughput(target: Target, seconds: number): Promise<number> {
  const warmUp = ['-D', String(seconds), '--warm-up-time', String(WARM_UP_SECONDS)];
  return rateOf(await h2load(target, warmUp));
}

/**
 * The same for requests so large that only a few finish in the time there is: a round number of them from beginning to
 * end, after a second that warms up and tells how many that should be.
 */
export async function throughputOfLarge(target: Target, seconds: number): Promise<number> {
  const pilot = rateOf(await h2load(target, ['-D', String(WARM_UP_SECONDS)]));
  const count = Math.max(target.clients * target.streams * 2, Math.round(pilot * seconds));
  return rateOf(await h2load(target, ['-n', String(count)]));
}

const rateOf = (printed: string): number =>
  Number(/finished in [^,]+, ([\d.]+) req\/s/.exec(printed)?.[1] ?? Number.NaN);

/** Latencies under a fixed rate, those of the first second left out. `log` is a file to write them to. */
export async function latencies(
  target: Target,
  requestsPerSecond: number,
  seconds: number,
  log: string,
): Promise<Latencies> {
  rmSync(log, { force: true });
  const each = Math.max(1, Math.round(requestsPerSecond / target.clients));
  const total = each * target.clients * (seconds + WARM_UP_SECONDS);
  await h2load(target, ['-n', String(total), '--rps', String(each), '--log-file', log]);
  return latenciesIn(readFileSync(log, 'latin1'));
}

async function h2load(target: Target, length: readonly string[]): Promise<string> {
  const headers = Object.entries(target.headers).flatMap(([name, value]) => ['-H', `${name}: ${value}`]);
  const shape = ['-c', String(target.clients), '-m', String(target.streams), '-d', target.body];
  const protocol = target.http1 ? ['--h1'] : [];
  const { stdout } = await run('h2load', [...shape, ...protocol, ...length, ...headers, target.url]);
  const counts = /(\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout/.exec(stdout);
  const [succeeded = 0, failed = 0, errored = 0] = counts?.slice(1).map(Number) ?? [];
  const data = Number(/\((\d+)\) data/.exec(stdout)?.[1] ?? 0);
  if (succeeded === 0 || failed + errored > 0) throw new Error(`h2load ${target.url}:\n${stdout}`);
  // What is in flight when the time is up is counted but not read to its end.
  if (data < succeeded * target.responseBytes * 0.95)
    throw new Error(`${target.url} answers ${data / succeeded} bytes a request, not ${target.responseBytes}`);
  return stdout;
}

/** Lines of start (µs since the epoch), status and duration (µs). */
function latenciesIn(log: string): Latencies {
  const requests = log
    .trimEnd()
    .split('\n')
    .map((line) => line.split('\t').map(Number));
  const began = requests.reduce((least, [start = 0]) => Math.min(least, start), Number.POSITIVE_INFINITY);
  const counted = requests.filter(([start = 0]) => start - began >= WARM_UP_SECONDS * 1e6);
  return new Latencies(Float64Array.from(counted, ([, , duration = 0]) => duration));
}
