import { ServiceError } from '../../errors.ts';
import type { Bench } from '../compiler.ts';
import { bounds, inOneLine, shown } from './bounds.ts';
import type { Asked, Whole } from './engine.ts';
import { answered } from './engine.ts';
import { eachEvent, splitTrace } from './events.ts';
import { type Frame, Frames, type TraceEvent } from './trace.ts';
import { placed, type Range } from './written.ts';

/** One rule's evaluation, event by event. */
export interface Traced {
  /** Such as `authz.allow`. */
  readonly rule: string;
  /** JSON; empty where it is undefined. */
  readonly value: string;
  /** Undefined where there is no trace. */
  readonly root: Frame | undefined;
  /** Why it is not whole; empty where it is. */
  readonly cut: string;
}

export type { Range } from './written.ts';

interface Report {
  readonly coverage?: { readonly files?: Readonly<Record<string, { readonly covered?: readonly Range[] }>> };
  readonly result?: readonly { readonly expressions: readonly { readonly value: unknown }[] }[];
  readonly errors?: readonly OpaError[];
}

interface OpaError {
  readonly code?: string;
  readonly message?: string;
  readonly location?: { readonly file: string; readonly row: number; readonly col: number };
}

/** Why there is no trace. */
export const UNTRACED = 'its evaluation has too many steps to be traced';
const TOO_LONG = "OPA's evaluator took too long, or too much";
/** Rules that cannot hold for this input are evaluated too: an author wants to know why they cannot. */
const TRACE = ['--explain', 'full', '--disable-indexing'];

/** OPA's answer to what was asked, with the time that was. */
export async function askOpa(bench: Bench, asked: Asked): Promise<Whole> {
  const report = await evaluated(bench, asked, `data.${asked.entryPoint.replaceAll('/', '.')}`, []);
  if (!report)
    return {
      answer: { result: '', cost: 0, code: 'unavailable', message: TOO_LONG },
      value: undefined,
      isLimited: true,
    };
  const [error] = report.errors ?? [];
  if (error)
    return {
      answer: { result: '', cost: 0, code: error.code ?? 'unknown', message: described(error) },
      value: undefined,
      isLimited: false,
    };
  const value = valueIn(report);
  return answered(value === undefined ? undefined : JSON.stringify(value), 0);
}

export async function traceRule(bench: Bench, asked: Asked, rule: string): Promise<Traced> {
  const report = await evaluated(bench, asked, `data.${rule}`, TRACE, true);
  if (!report) return { rule, value: '', root: undefined, cut: UNTRACED };
  const value = valueIn(report);
  const [error] = report.errors ?? [];
  return {
    rule,
    value: value === undefined ? '' : JSON.stringify(value),
    root: report.root,
    cut: error ? described(error) : '',
  };
}

/** Which stretches of which files a rule's evaluation came to. Undefined where that takes more than it may. */
export async function coverageOf(
  bench: Bench,
  asked: Asked,
  rule: string,
): Promise<{ readonly value: string; readonly covered: ReadonlyMap<string, readonly Range[]> } | undefined> {
  const report = await evaluated(bench, asked, `data.${rule}`, ['--coverage', '--disable-indexing']);
  if (!report?.coverage) return undefined;
  const value = valueIn(report);
  const files = Object.entries(report.coverage.files ?? {});
  return {
    value: value === undefined ? '' : shown(value),
    covered: new Map(files.map(([file, { covered = [] }]) => [file, covered])),
  };
}

/** Undefined where it took more than it may. Throws `unavailable` where OPA cannot run. */
async function evaluated(
  bench: Bench,
  { input, nowMs }: Asked,
  query: string,
  options: readonly string[],
  isTraced = false,
): Promise<(Report & { readonly root?: Frame | undefined }) | undefined> {
  const now = `with time.now_ns as ${BigInt(nowMs) * 1_000_000n}`;
  const given = ['--capabilities', bench.capabilities, '-d', 'platform', '-d', 'tenant', '-d', 'data'];
  try {
    const { stdout, stderr } = await bench.run(
      ['eval', '--stdin-input', '--format', 'json', ...options, ...given, `${query} ${now}`],
      input,
    );
    if (stdout.trim() === '') return { errors: [{ message: stderr.slice(0, bounds.textCharacters) }] };
    if (!isTraced) return JSON.parse(stdout) as Report;
    const split = splitTrace(stdout);
    const frames = new Frames();
    // No trace, or printed otherwise than this version of OPA does.
    if (!split) {
      if (stdout.length > bounds.wholeBytes) return undefined;
      const whole = JSON.parse(stdout) as Report & { readonly explanation?: readonly TraceEvent[] | null };
      for (const event of whole.explanation ?? []) frames.see(event);
      return { ...whole, root: frames.root };
    }
    await eachEvent(split.trace, (event) => frames.see(event));
    return { ...(JSON.parse(split.report) as Report), root: frames.root };
  } catch (error) {
    if (error instanceof ServiceError && error.code === 'policy_invalid') return undefined;
    throw error;
  }
}

const valueIn = ({ result }: Report): unknown => result?.[0]?.expressions[0]?.value;

function described({ message = 'unknown', location }: OpaError): string {
  // Files as the author knows them.
  const text = inOneLine(message, bounds.textCharacters).replace(/\btenant\/(?=\S{1,256}\.rego:\d)/g, '');
  if (!location?.file) return text;
  const { file, line, column } = placed(location);
  return `${file}:${line}:${column}: ${text}`;
}
