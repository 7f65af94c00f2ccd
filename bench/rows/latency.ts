import path from 'node:path';
import { type Latencies, latencies, type Target, throughput } from '../harness/load.ts';
import { undisturbed } from '../harness/machine.ts';
import { interleaved, median, type Rounds, rawOf } from '../harness/rounds.ts';
import { type Bench, type Row, type RowGroup, row } from '../row.ts';

/** Latency at a load that both bear with ease: half of what the peer takes at most. */
const quantiles = ['p50', 'p99', 'p999'] as const;
const others = ['cerbos', 'opa'] as const;
type Other = (typeof others)[number];

const nameOf = (quantile: string, other: Other): string => `${quantile}_vs_${other}`;

export const latencyRows: RowGroup = {
  names: others.flatMap((other) => quantiles.map((quantile) => nameOf(quantile, other))),
  measure: async (bench, wanted) => {
    const rows: Row[] = [];
    for (const other of others)
      if (quantiles.some((quantile) => wanted.has(nameOf(quantile, other))))
        rows.push(...(await compare(bench, other)));
    return rows;
  },
};

async function compare(bench: Bench, other: Other): Promise<Row[]> {
  const ours = (await bench.peers.mandate()).unary;
  const theirs = (await (other === 'cerbos' ? bench.peers.cerbos() : bench.peers.opa())).unary;
  const { figure: most } = await undisturbed(() => throughput(theirs, bench.seconds), bench.tries);
  const rate = Math.round(most / 2);
  const under = (name: string, target: Target) => async (): Promise<Latencies> => {
    const log = path.join(bench.folder, 'latency.log');
    const seen = await latencies(target, rate, bench.seconds, log);
    bench.say(`${name} at ${rate}/s: p50 ${seen.p50} µs, p99 ${seen.p99} µs, p99.9 ${seen.p999} µs`);
    return seen;
  };
  const contenders = { mandate: under('mandate', ours), [other]: under(other, theirs) };
  const rounds = await interleaved(bench.rounds, contenders, bench.tries);
  return quantiles.map((quantile) => {
    const [us, them] = [inMs(rounds['mandate'], quantile), inMs(rounds[other], quantile)];
    return row(nameOf(quantile, other), 'ms', median(us.figures), median(them.figures), {
      note: `at ${rate} requests/s, half of ${other}'s maximum; wanted: 1 or less`,
      raw: { mandate: rawOf(us), [other]: rawOf(them), requests_per_second: rate },
    });
  });
}

const inMs = (
  rounds: Rounds<Latencies> | undefined,
  quantile: (typeof quantiles)[number],
): Rounds<number> => ({
  figures: rounds?.figures.map((seen) => seen[quantile] / 1000) ?? [],
  foreign: rounds?.foreign ?? [],
});
