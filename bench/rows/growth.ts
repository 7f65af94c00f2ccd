import { rm } from 'node:fs/promises';
import path from 'node:path';
import { type Decider, type DeciderRound, startDecider } from '../harness/decider.ts';
import { interleaved, median, type Rounds, rawOf, rounded } from '../harness/rounds.ts';
import { type Bench, type Row, type RowGroup, row } from '../row.ts';

/** What a decision costs when there are many, beside what it costs when there are few. */
const rows = {
  principals_1m_vs_100: {
    many: { tenants: 1, principals: 1_000_000 },
    few: { tenants: 1, principals: 100 },
    quick: { tenants: 1, principals: 20_000 },
    note: 'a durable decision with 1,000,000 principals in the tenant, asking by a Zipf law, beside 100',
  },
  tenants_5000_vs_1: {
    many: { tenants: 5_000, principals: 10 },
    few: { tenants: 1, principals: 10 },
    quick: { tenants: 50, principals: 10 },
    note: 'a durable decision over 5,000 tenants by a Zipf law beside one tenant',
  },
} as const;

export const growthRows: RowGroup = {
  names: Object.keys(rows),
  measure: async (bench, wanted) => {
    const measured: Row[] = [];
    for (const name of Object.keys(rows) as (keyof typeof rows)[])
      if (wanted.has(name)) measured.push(await compare(bench, name));
    return measured;
  },
};

async function compare(bench: Bench, name: keyof typeof rows): Promise<Row> {
  const { many, few, quick, note } = rows[name];
  const at = path.join(bench.folder, name);
  await using folder = new AsyncDisposableStack();
  folder.defer(() => rm(at, { recursive: true, force: true }));
  await using small = await startDecider({ folder: path.join(at, 'few'), ...few });
  await using large = await startDecider({ folder: path.join(at, 'many'), ...(bench.quick ? quick : many) });
  const { startMs, loadMs } = large.ready;
  bench.say(
    `${name}: started in ${Math.round(startMs)} ms, loaded in ${Math.round(loadMs)} ms, ${memory(large.ready)}`,
  );
  // Caches and code settle first.
  for (const decider of [small, large]) await decider.round(bench.seconds * 2);
  const under = (label: string, decider: Decider) => async (): Promise<DeciderRound> => {
    const seen = await decider.round(bench.seconds / 2);
    bench.say(`${name}, ${label}: ${seen.micros.toFixed(1)} µs a decision, ${memory(seen)}`);
    return seen;
  };
  const contenders = { few: under('few', small), many: under('many', large) };
  const rounds = await interleaved(bench.quick ? 1 : 5, contenders, bench.tries);
  const [ours, other] = [microsOf(rounds['many']), microsOf(rounds['few'])];
  return row(name, 'µs', median(ours.figures), median(other.figures), {
    note: `${note}; wanted: 1.2 or less; ${memory(last(rounds['many']))} beside ${memory(last(rounds['few']))}`,
    raw: {
      many: { ...rawOf(ours), cpu_us: cpuOf(rounds['many']), ...large.ready },
      few: { ...rawOf(other), cpu_us: cpuOf(rounds['few']), ...small.ready },
    },
  });
}

const memory = (seen: { residentMib: number } | undefined): string =>
  `${Math.round(seen?.residentMib ?? Number.NaN)} MiB`;
const last = (rounds: Rounds<DeciderRound> | undefined) => rounds?.figures.at(-1);
const cpuOf = (rounds: Rounds<DeciderRound> | undefined) =>
  rounded(median(rounds?.figures.map((seen) => seen.cpuMicros) ?? []));
const microsOf = (rounds: Rounds<DeciderRound> | undefined): Rounds<number> => ({
  figures: rounds?.figures.map((seen) => seen.micros) ?? [],
  foreign: rounds?.foreign ?? [],
});
