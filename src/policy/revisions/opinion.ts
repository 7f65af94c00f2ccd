import { isDeepStrictEqual } from 'node:util';
import { ServiceError } from '../../errors.ts';
import type { Bundle } from '../bundle.ts';
import type { Compiler } from '../compiler.ts';
import type { Diagnostic } from '../diagnostics.ts';
import type { Limits } from '../engine/instance.ts';
import { SoloPolicy } from '../solo.ts';
import type { PolicySources } from '../sources.ts';

/** A question that was asked of the tenant's policy before. */
export interface RecordedQuestion {
  /** Of the log. */
  readonly index: number;
  readonly entryPoint: string;
  /** JSON text. */
  readonly input: string;
  readonly nowMs: number;
  readonly seed: string;
}

/** What OPA's evaluator says to each question, by its place: a value, or undefined where it has none. */
export type Opinions = ReadonlyMap<number, unknown>;

const BOUNDS = { totalMs: 5_000, runMs: 5_000, outputBytes: 16 * 1024 * 1024 };
/** For how long the engine is asked here, in milliseconds: whoever decides waits for it. */
const ENGINE_MS = 25;
/** What they draw at random is not the same. */
const DRAWN = /\b(?:rand\.intn|uuid\.rfc4122)\b/;

/**
 * OPA's opinion of recorded questions, of sources that need not compile: then, and where it takes too long or any of them
 * is an error to it, there is none.
 */
export async function opinionsOf(
  compiler: Compiler,
  sources: PolicySources,
  questions: readonly RecordedQuestion[],
): Promise<Opinions | undefined> {
  const isDrawn = [...sources.modules.values()].some((text) => DRAWN.test(text));
  if (questions.length === 0 || isDrawn) return undefined;
  const all = questions.map(
    ({ entryPoint, input, nowMs }, at) =>
      `{"at":${at},"of":${JSON.stringify(entryPoint)},"now":${BigInt(nowMs) * 1_000_000n},"input":${input}}`,
  );
  // By variables: of `with input as each.input` OPA's evaluator takes something else.
  const asked = ['mandate/decision', 'mandate/delegation'].map(
    (entryPoint) =>
      `[r | some each in input.all; each.of == "${entryPoint}"; i := each.input; n := each.now; r := [each.at, [x | x := data.${entryPoint.replaceAll('/', '.')} with input as i with time.now_ns as n]]]`,
  );
  try {
    return await compiler.withData(sources, BOUNDS, async ({ run, capabilities }) => {
      const given = ['--capabilities', capabilities, '-d', 'platform', '-d', 'tenant', '-d', 'data'];
      const query = `array.concat(${asked.join(', ')})`;
      const { stdout } = await run(
        ['eval', '--stdin-input', '--format', 'json', ...given, query],
        `{"all":[${all.join(',')}]}`,
      );
      const { result } = JSON.parse(stdout) as {
        result?: { expressions: { value: [number, unknown[]][] }[] }[];
      };
      const told = result?.[0]?.expressions[0]?.value;
      return told && new Map(told.map(([at, [value]]) => [at, value]));
    });
  } catch (error) {
    // What does not compile has diagnostics of its own.
    if (error instanceof ServiceError || error instanceof SyntaxError) return undefined;
    throw error;
  }
}

/** Where the engine that serves says something else than OPA's evaluator did: a fault of ours, told by the smallest. */
export function disagreement(
  bundle: Bundle,
  limits: Limits,
  questions: readonly RecordedQuestion[],
  opinions: Opinions,
): Diagnostic | undefined {
  const policy = new SoloPolicy(bundle, limits);
  const until = performance.now() + ENGINE_MS;
  const differing: RecordedQuestion[] = [];
  for (const [at, question] of questions.entries()) {
    if (performance.now() > until) break;
    if (!opinions.has(at)) continue;
    const { entryPoint, input, nowMs, seed } = question;
    const { result, failure } = policy.evaluate(entryPoint, input, { nowMs, seed });
    // Bounds of ours alone say nothing of what it would have come to.
    if (!failure && !isDeepStrictEqual(result, opinions.get(at))) differing.push(question);
  }
  const [smallest] = differing.sort((a, b) => a.input.length - b.input.length);
  return (
    smallest && {
      file: 'policy',
      line: 0,
      message: `the engine and OPA's evaluator disagree on ${differing.length} of the last recorded questions, the smallest being that of record ${smallest.index}: a fault of Mandate's`,
    }
  );
}
