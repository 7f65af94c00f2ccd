import { type Target, throughput, throughputOfLarge } from '../harness/load.ts';
import { interleaved, median, type Rounds, rawOf } from '../harness/rounds.ts';
import { BATCH_RESOURCES } from '../peers/cerbos/server.ts';
import { BATCH_ITEMS, STREAM_MESSAGES } from '../peers/mandate/server.ts';
import type { Peers } from '../peers/peers.ts';
import { type Bench, type Row, type RowGroup, row } from '../row.ts';

/** What is put under as much load as it takes, and how many decisions one request of it holds. */
const contenders = {
  'mandate unary': { decisions: 1, target: async (peers: Peers) => (await peers.mandate()).unary },
  'bare unary': { decisions: 1, target: async (peers: Peers) => (await peers.bare()).unary },
  'cerbos unary': { decisions: 1, target: async (peers: Peers) => (await peers.cerbos()).unary },
  'opa unary': { decisions: 1, target: async (peers: Peers) => (await peers.opa()).unary },
  'mandate stream': {
    decisions: STREAM_MESSAGES,
    target: async (peers: Peers) => (await peers.mandate()).stream,
  },
  'mandate batch': { decisions: BATCH_ITEMS, target: async (peers: Peers) => (await peers.mandate()).batch },
  'cerbos batch': {
    decisions: BATCH_RESOURCES,
    target: async (peers: Peers) => (await peers.cerbos()).batch,
  },
} as const satisfies Record<string, { decisions: number; target: (peers: Peers) => Promise<Target> }>;

type Contender = keyof typeof contenders;

const pairs: Readonly<Record<string, { ours: Contender; other: Contender; unit: string; note: string }>> = {
  unary_vs_node_http2_bare: {
    ours: 'mandate unary',
    other: 'bare unary',
    unit: 'requests/s',
    note: "Check over gRPC with its durable record, beside a handler of Node's http2 that does nothing; wanted: 1.0 or more",
  },
  unary_vs_cerbos: {
    ours: 'mandate unary',
    other: 'cerbos unary',
    unit: 'decisions/s',
    note: 'Check beside CheckResources of one resource with its local audit log; wanted: 4 or more',
  },
  unary_vs_opa: {
    ours: 'mandate unary',
    other: 'opa unary',
    unit: 'decisions/s',
    note: "Check beside OPA's data API, decision log into a file; wanted: 5 or more",
  },
  stream_vs_cerbos: {
    ours: 'mandate stream',
    other: 'cerbos unary',
    unit: 'decisions/s',
    note: 'CheckStream of 1,000 different questions beside CheckResources of one; wanted: 7 or more',
  },
  batch_vs_cerbos: {
    ours: 'mandate batch',
    other: 'cerbos batch',
    unit: 'decisions/s',
    note: `CheckBatch of ${BATCH_ITEMS} beside CheckResources of ${BATCH_RESOURCES}; wanted: 3 or more`,
  },
  batch_vs_cerbos_unary: {
    ours: 'mandate batch',
    other: 'cerbos unary',
    unit: 'decisions/s',
    note: `CheckBatch of ${BATCH_ITEMS} beside CheckResources of one`,
  },
};

export const throughputRows: RowGroup = {
  names: Object.keys(pairs),
  measure: async (bench, wanted) => {
    const asked = Object.entries(pairs).filter(([name]) => wanted.has(name));
    const rates = await decisionRates(bench, new Set(asked.flatMap(([, { ours, other }]) => [ours, other])));
    return asked.map(([name, { ours, other, unit, note }]): Row => {
      const [us, them] = [rates[ours] ?? NOTHING, rates[other] ?? NOTHING];
      return row(name, unit, median(us.figures), median(them.figures), {
        note,
        raw: { [ours]: rawOf(us), [other]: rawOf(them) },
      });
    });
  },
};

const NOTHING: Rounds<number> = { figures: [], foreign: [] };

async function decisionRates(
  bench: Bench,
  names: ReadonlySet<Contender>,
): Promise<Record<string, Rounds<number>>> {
  const measures: Record<string, () => Promise<number>> = {};
  for (const name of Object.keys(contenders) as Contender[]) {
    if (!names.has(name)) continue;
    const { decisions, target } = contenders[name];
    const at = await target(bench.peers);
    measures[name] = async () => {
      const ask = decisions > 1 ? throughputOfLarge : throughput;
      const rate = (await ask(at, bench.seconds)) * decisions;
      bench.say(`${name}: ${Math.round(rate)} decisions/s`);
      return rate;
    };
  }
  return interleaved(bench.rounds, measures, bench.tries);
}
