import type { Bench } from '../../compiler.ts';
import type { Asked } from './asked.ts';

/** What OPA's evaluator makes of a request: JSON values, or its own words for why it makes nothing of it. */
export type TableOpinion =
  | { readonly result: unknown }
  | { readonly failure: string }
  /** It has not come to an end in time. */
  | { readonly silent: string };

/** In a query, unlike in a module, the evaluator takes `with input as each.given` for no input at all. */
const QUERY = `{id: result |
  some id, each in input.asked
  given := each.given
  now := each.now
  result := data.mandate.decision with input as given with time.now_ns as now
}`;
const EVAL = ['eval', '--stdin-input', '--format', 'json', '--timeout', '10s'];
/** How many are asked in one run: one at which the evaluator fails is found by halving. */
const BATCH = 200;
/** Of a run, to find those; beyond it there is no opinion on what is left. */
const MAX_RUNS = 100;

/** The second opinion on each request, by its place in the list. */
export async function opinionsOn(
  { run, capabilities }: Pick<Bench, 'run' | 'capabilities'>,
  asked: readonly Asked[],
): Promise<TableOpinion[]> {
  const opinions: TableOpinion[] = asked.map(() => ({ silent: 'it was not asked' }));
  const data = ['platform', 'tenant', 'data'].flatMap((each) => ['--data', each]);
  let runs = 0;
  const ask = async (from: number, to: number): Promise<void> => {
    if (from >= to || runs >= MAX_RUNS) return;
    runs += 1;
    const { code, stdout, stderr } = await run(
      [...EVAL, '--capabilities', capabilities, ...data, QUERY],
      inputOf(asked, from, to),
    );
    if (code === 0) {
      const results = resultsIn(stdout);
      for (let at = from; at < to; at += 1) opinions[at] = { result: results[at] };
    } else if (to - from > 1) {
      const middle = (from + to) >> 1;
      await ask(from, middle);
      await ask(middle, to);
    } else {
      const said = errorIn(stdout) || stderr.trim();
      opinions[from] = /eval_cancel_error/.test(said) ? { silent: said } : { failure: said };
    }
  };
  for (let from = 0; from < asked.length; from += BATCH)
    await ask(from, Math.min(from + BATCH, asked.length));
  return opinions;
}

/** By their numbers. Nanoseconds have more digits than a number of this language. */
function inputOf(asked: readonly Asked[], from: number, to: number): string {
  const each = asked
    .slice(from, to)
    .map(({ input, nowMs }, at) => `"${from + at}":{"given":${input},"now":${BigInt(nowMs) * 1_000_000n}}`);
  return `{"asked":{${each.join(',')}}}`;
}

function resultsIn(stdout: string): Record<string, unknown> {
  const { result } = JSON.parse(stdout) as {
    result: { expressions: { value: Record<string, unknown> }[] }[];
  };
  return result[0]?.expressions[0]?.value ?? {};
}

function errorIn(stdout: string): string {
  try {
    const { errors = [] } = JSON.parse(stdout) as { errors?: { code?: string; message?: string }[] };
    return errors.map(({ code = '', message = '' }) => `${code}: ${message}`).join('\n');
  } catch {
    return '';
  }
}
