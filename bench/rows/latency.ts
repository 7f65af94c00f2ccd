import path from 'node:path';
import { Latencies, latencies, type Target, throughput } from '../harness/load.ts';
import { undisturbed } from '../harness/machine.ts';
import { interleaved, type Rounds, rawOf } from '../harness/rounds.ts';
import { type Bench, type Row, type RowGroup, row } from '../row.ts';

/** Latency at a load that both bear with ease: half of what the peer takes at most. */
const quantiles = { p50: 0.5, p99: 0.99, p999: 0.999 } as const;
type Quantile = keyof typeof quantiles;
const names = Object.keys(quantiles) as Quantile[];
const others = ['cerbos', 'opa'] as const;
type Other = (typeof others)[number];

const nameOf = (quantile: string, other: Other): string => `${quantile}_vs_${other}`;

export const latencyRows: RowGroup = {
  names: others.flatMap((other) => names.map((quantile) => nameOf(quantile, other))),
  measure: async (bench, wanted) => {
    const rows: Row[] = [];
    for (const other of others)
      if (names.some((quantile) => wanted.has(nameOf(quantile, other))))
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
    const seen = await latencies(target, rate, bench.seconds * 2, log);
    bench.say(
      `${name} at ${rate}/s: ${names.map((each) => `${each} ${seen.at(quantiles[each])} ms`).join(', ')}`,
    );
    return seen;
  };
  const contenders = { mandate: under('mandate', ours), [other]: under(other, theirs) };
  const rounds = await interleaved(bench.rounds, contenders, bench.tries);
  const seen = (name: string) => rounds[name] ?? { figures: [], foreign: [] };
  const all = (name: string) => Latencies.together(seen(name).figures);
  const [us, them] = [all('mandate'), all(other)];
  return names.map((name) => {
    const part = quantiles[name];
    return row(nameOf(name, other), 'ms', us.at(part), them.at(part), {
      note: `of all rounds' requests, at ${rate} a second, half of ${other}'s maximum; wanted: 1 or less`,
      raw: {
        mandate: rawOf(quantileOf(seen('mandate'), part)),
        [other]: rawOf(quantileOf(seen(other), part)),
        requests_per_second: rate,
      },
    });
  });
}

const quantileOf = ({ figures, foreign }: Rounds<Latencies>, part: number): Rounds<number> => ({
  figures: figures.map((seen) => seen.at(part)),
  foreign,
});
