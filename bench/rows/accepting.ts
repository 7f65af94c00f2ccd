import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { type Target, throughput } from '../harness/load.ts';
import type { Running } from '../harness/processes.ts';
import { interleaved, median, type Rounds, rawOf } from '../harness/rounds.ts';
import { checkFrame } from '../peers/mandate/requests.ts';
import { checkTarget, PEOPLE, serve } from '../peers/mandate/server.ts';
import { writeTenant } from '../peers/mandate/tenant.ts';
import { type Bench, type RowGroup, row } from '../row.ts';
import { principal, typical } from '../scenario/questions.ts';

/** What a call costs where threads accept the connections, beside main that does all. */
export const acceptingRows: RowGroup = {
  names: ['accepting_us'],
  measure: async (bench) => {
    await using alone = await server(bench, 'alone', 'accept_threads: 0');
    await using beside = await server(bench, 'beside', 'accept_threads: 1');
    await using instead = await server(bench, 'instead', 'accept_threads: 2\naccept_from: start');
    const rounds = await interleaved(
      bench.rounds,
      {
        alone: () => costs(bench, 'main alone', alone),
        beside: () => costs(bench, 'threads beside main, once it is full', beside),
        instead: () => costs(bench, 'two threads instead of main', instead),
      },
      bench.tries,
    );
    const of = (name: keyof typeof rounds): Rounds<Cost> => rounds[name] ?? { figures: [], foreign: [] };
    const micros = (name: keyof typeof rounds): number => median(of(name).figures.map((each) => each.micros));
    const rate = (name: keyof typeof rounds): string =>
      Math.round(median(of(name).figures.map((each) => each.rate))).toLocaleString('en');
    const note =
      'processor time of all threads a Check over gRPC with its durable record, at full load, where threads accept connections beside main once that is full, beside main alone; ' +
      `calls a second: ${rate('beside')} and ${rate('alone')}; with two threads instead of main ${micros('instead').toFixed(1)} µs and ${rate('instead')}; wanted: 1.0 or less`;
    const raw = (name: keyof typeof rounds) =>
      rawOf({ figures: of(name).figures.map((each) => each.micros), foreign: of(name).foreign });
    return [
      row('accepting_us', 'µs', micros('beside'), micros('alone'), {
        note,
        raw: { beside: raw('beside'), alone: raw('alone'), instead: raw('instead') },
      }),
    ];
  },
};

interface Cost {
  readonly micros: number;
  readonly rate: number;
}

interface Server extends AsyncDisposable {
  readonly running: Running;
  readonly target: Target;
}

async function server(bench: Bench, name: string, settings: string): Promise<Server> {
  const folder = path.join(bench.folder, `accepting-${name}`);
  const tenants = path.join(folder, 'tenants');
  mkdirSync(folder, { recursive: true });
  writeTenant(tenants, {
    id: 'bench',
    principals: [typical.principal, ...Array.from({ length: PEOPLE }, (_, n) => principal(n))],
  });
  const config = path.join(folder, 'mandate.yaml');
  writeFileSync(config, `${settings}\n`);
  const { running, dataUrl } = await serve(folder, tenants, ['--config', config]);
  const target = await checkTarget(dataUrl, checkFrame('bench', typical), path.join(folder, 'check.bin'));
  // Who joins when it is full has joined.
  await throughput(target, bench.seconds);
  return { running, target, [Symbol.asyncDispose]: () => running[Symbol.asyncDispose]() };
}

async function costs(bench: Bench, name: string, { running, target }: Server): Promise<Cost> {
  await throughput(target, 1);
  const before = processorOf(running.pid);
  const rate = await throughput(target, bench.seconds);
  const calls = rate * (bench.seconds + 1);
  const spent = processorOf(running.pid);
  const each = Object.entries(Object.groupBy([...spent], ([, { kind }]) => kind)).map(
    ([kind, threads = []]) =>
      `${kind} ${(threads.reduce((sum, [id, { micros }]) => sum + micros - (before.get(id)?.micros ?? 0), 0) / calls).toFixed(1)}`,
  );
  const micros = [...spent].reduce(
    (sum, [id, thread]) => sum + thread.micros - (before.get(id)?.micros ?? 0),
    0,
  );
  bench.say(
    `${name}: ${(micros / calls).toFixed(1)} µs a call (${each.join(', ')}), ${Math.round(rate)} calls/s`,
  );
  return { micros: micros / calls, rate };
}

/** Of the clock ticks in /proc; proc(5). */
const TICK_MICROS = 10_000;

/** By thread, what it is called and what it has taken. */
function processorOf(pid: number): Map<string, { readonly kind: string; readonly micros: number }> {
  const threads = new Map<string, { kind: string; micros: number }>();
  for (const id of readdirSync(`/proc/${pid}/task`)) {
    const stat = readFileSync(`/proc/${pid}/task/${id}/stat`, 'latin1');
    const kind = id === String(pid) ? 'main' : stat.slice(stat.indexOf('(') + 1, stat.lastIndexOf(')'));
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    threads.set(id, { kind, micros: (Number(fields[11]) + Number(fields[12])) * TICK_MICROS });
  }
  return threads;
}
