import { mkdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { interleaved, median, rawOf } from '../harness/rounds.ts';
import { serve } from '../peers/mandate/server.ts';
import { type Bench, type RowGroup, row } from '../row.ts';

const TARGET_READY_MS = 1_000;
const TARGET_IDLE_MIB = 130;
/** How long a server rests before it counts as idle. */
const REST_MS = 3_000;

/** The example tenant, as `make run` serves it. */
const acme = path.resolve(import.meta.dirname, '../../policies/acme');

export const startRows: RowGroup = {
  names: ['ready_ms', 'idle_rss_mib'],
  measure: async (bench) => {
    const folder = path.join(bench.folder, 'start');
    mkdirSync(folder);
    try {
      return await measure(bench, folder);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  },
};

async function measure(bench: Bench, folder: string) {
  const started = () => serve(folder, acme, ['--dev']);
  // The first start compiles the policy; from then on the bundle is in the cache, as in a built checkout.
  const first = await started();
  await first.running[Symbol.asyncDispose]();
  const idle: number[] = [];
  const { ready } = await interleaved(
    bench.quick ? 1 : 5,
    {
      ready: async () => {
        await using running = (await started()).running;
        bench.say(`ready after ${Math.round(running.readyMs)} ms`);
        if (idle.length < bench.rounds) {
          await delay(REST_MS);
          idle.push(running.residentMib());
        }
        return running.readyMs;
      },
    },
    1,
  );
  if (!ready) throw new Error('nothing was started');
  return [
    row('ready_ms', 'ms', median(ready.figures), TARGET_READY_MS, {
      note: 'from the spawn to the first good /readyz, with the policy compiled before; wanted: under 1 s',
      raw: { ...rawOf(ready), without_cache_ms: Math.round(first.running.readyMs) },
    }),
    row('idle_rss_mib', 'MiB', median(idle), TARGET_IDLE_MIB, {
      note: 'resident memory at rest; wanted: 130 MiB or less',
      raw: { rounds: idle.map(Math.round) },
    }),
  ];
}
