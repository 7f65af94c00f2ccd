import path from 'node:path';
import { type Latencies, latencies, type Target } from '../harness/load.ts';
import { interleaved, median, type Rounds, rawOf } from '../harness/rounds.ts';
import { checkFrame } from '../peers/mandate/requests.ts';
import { checkTarget, reasonsFor, serve } from '../peers/mandate/server.ts';
import { writeTenant } from '../peers/mandate/tenant.ts';
import { type Bench, type RowGroup, row } from '../row.ts';
import { typical } from '../scenario/questions.ts';

const CALM_RATE = 1_000;
const LOOP_RATE = 50;

/** A thousand million turns: minutes, if nobody stops it. */
const LOOP = `package authz

xs := numbers.range(1, 1000)

allow if {
	some a in xs
	some b in xs
	some c in xs
	a + b + c == -1
}
`;

export const neighbourRows: RowGroup = {
  names: ['neighbour_p99_ms'],
  measure: async (bench) => {
    const folder = path.join(bench.folder, 'neighbour');
    const tenants = path.join(folder, 'tenants');
    writeTenant(tenants, { id: 'calm', principals: [typical.principal] });
    writeTenant(tenants, { id: 'loop', principals: [typical.principal], rego: LOOP });
    const { running, dataUrl } = await serve(folder, tenants);
    await using _ = running;
    const targetOf = (tenant: string): Promise<Target> =>
      checkTarget(dataUrl, checkFrame(tenant, typical), path.join(folder, `${tenant}.bin`));
    const reasons = await reasonsFor(dataUrl, checkFrame('loop', typical));
    if (!reasons.includes('deadline_exceeded')) throw new Error(`the loop is denied for ${reasons.join()}`);
    return [await compare(bench, await targetOf('calm'), await targetOf('loop'))];
  },
};

async function compare(bench: Bench, calm: Target, loop: Target) {
  // A tenant that keeps trapping may be refused, with an error instead of a deny.
  const looping: Target = { ...loop, clients: 1, responseBytes: 0 };
  const log = (name: string): string => path.join(bench.folder, `${name}.log`);
  const seconds = bench.seconds + 1;
  const alone = () => latencies(calm, CALM_RATE, seconds, log('calm'));
  const beside = async (): Promise<Latencies> => {
    const [seen, stopped] = await Promise.all([alone(), latencies(looping, LOOP_RATE, seconds, log('loop'))]);
    bench.say(`beside a loop: p99 ${seen.at(0.99)} ms; the loop's requests take ${stopped.at(0.5)} ms`);
    return seen;
  };
  const rounds = await interleaved(bench.rounds, { alone, beside }, bench.tries);
  const [ours, other] = [p99Of(rounds['beside']), p99Of(rounds['alone'])];
  const [withLoop, without] = [median(ours.figures), median(other.figures)];
  return row('neighbour_p99_ms', 'ms', withLoop, without, {
    note: `p99 of ${CALM_RATE} requests/s while ${LOOP_RATE} a second loop in another tenant, beside none: it moves by ${(withLoop - without).toFixed(2)} ms; wanted: 10 ms or less`,
    raw: { with: rawOf(ours), without: rawOf(other) },
  });
}

const p99Of = (rounds: Rounds<Latencies> | undefined): Rounds<number> => ({
  figures: rounds?.figures.map((seen) => seen.at(0.99)) ?? [],
  foreign: rounds?.foreign ?? [],
});
