import { mkdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { call } from '../harness/grpc.ts';
import { idleConnections } from '../harness/idle-connections.ts';
import { type Target, throughput } from '../harness/load.ts';
import { freePort, launch, type Running } from '../harness/processes.ts';
import { interleaved, median, type Rounds, rawOf } from '../harness/rounds.ts';
import { serve } from '../peers/mandate/server.ts';
import { type Bench, type Row, type RowGroup, row } from '../row.ts';

/** What HTTP/2 costs by itself: a request read and answered, and a connection at rest. */
export const transportRows: RowGroup = {
  names: ['transport_us', 'idle_connections_mib'],
  measure: async (bench, wanted) => {
    const rows: Row[] = [];
    if (wanted.has('transport_us')) rows.push(await processorOfACall(bench));
    if (wanted.has('idle_connections_mib')) rows.push(await memoryAtRest(bench));
    return rows;
  },
};

/** Of the clock ticks in /proc; proc(5). */
const TICK_MICROS = 10_000;

async function processorOfACall(bench: Bench): Promise<Row> {
  const like = (await bench.peers.mandate()).unary;
  await using ours = await echo(bench, 'echo.ts', like);
  await using theirs = await echo(bench, 'bare.ts', like);
  const under =
    (name: string, { running, target }: Echo) =>
    async (): Promise<number> => {
      await throughput(target, 1);
      const before = processorMicros(running.pid);
      // The warm-up is counted on neither side: it runs with the rate that is measured after it.
      const rate = await throughput(target, bench.seconds);
      const micros = (processorMicros(running.pid) - before) / (rate * (bench.seconds + 1));
      bench.say(`${name}: ${micros.toFixed(2)} µs of processor a call, ${Math.round(rate)} calls/s`);
      return micros;
    };
  const rounds = await interleaved(
    bench.rounds,
    { ours: under('src/http2', ours), theirs: under("Node's http2", theirs) },
    bench.tries,
  );
  const [us, them] = [rounds['ours'] ?? NOTHING, rounds['theirs'] ?? NOTHING];
  return row('transport_us', 'µs', median(us.figures), median(them.figures), {
    note: "processor time of the server a call, of one that only answers, at full load, beside the same on Node's http2; wanted: 2 µs or less",
    raw: { ours: rawOf(us), node: rawOf(them) },
  });
}

const NOTHING: Rounds<number> = { figures: [], foreign: [] };

interface Echo extends AsyncDisposable {
  readonly running: Running;
  readonly target: Target;
}

async function echo(bench: Bench, script: string, like: Target): Promise<Echo> {
  const port = await freePort();
  const url = `http://127.0.0.1:${port}${new URL(like.url).pathname}`;
  const running = await launch({
    command: process.execPath,
    args: [path.resolve(import.meta.dirname, '../servers', script), String(port), String(like.responseBytes)],
    log: path.join(bench.folder, `${script}.log`),
    ready: async () => (await call(url, like.headers, Buffer.alloc(5))).bytes === like.responseBytes,
  });
  return {
    running,
    target: { ...like, url },
    [Symbol.asyncDispose]: () => running[Symbol.asyncDispose](),
  };
}

function processorMicros(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) * TICK_MICROS;
}

/** Within the time that a connection may be there without asking. */
const REST_MS = 3_000;

async function memoryAtRest(bench: Bench): Promise<Row> {
  // A server takes 10,000 on a plane, and is asked whether it is ready on one of them.
  const count = bench.quick ? 500 : 9_900;
  const acme = path.resolve(import.meta.dirname, '../../policies/acme');
  const folder = path.join(bench.folder, 'idle');
  mkdirSync(folder);
  const under =
    (name: string, args: readonly string[], env: Readonly<Record<string, string>>) => async () => {
      const { running, dataUrl } = await serve(folder, acme, ['--dev', ...args], env);
      await using _ = running;
      await delay(REST_MS);
      const before = running.residentMib();
      using _connections = await idleConnections(Number(new URL(dataUrl).port), count);
      await delay(REST_MS);
      const mib = running.residentMib() - before;
      bench.say(`${name}: ${count} connections at rest take ${mib.toFixed(1)} MiB`);
      return mib;
    };
  const rounds = await interleaved(
    1,
    { ours: under('src/http2', [], {}), theirs: under("Node's http2", [], { MANDATE_HTTP2: 'node' }) },
    1,
  );
  const [us, them] = [rounds['ours'] ?? NOTHING, rounds['theirs'] ?? NOTHING];
  return row('idle_connections_mib', 'MiB', median(us.figures), median(them.figures), {
    note: `memory of ${count.toLocaleString('en')} HTTP/2 connections at rest, beside the same on Node's http2`,
    raw: { ours: rawOf(us), node: rawOf(them) },
  });
}
