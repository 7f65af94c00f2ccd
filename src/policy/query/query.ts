import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { ServiceError } from '../../errors.ts';
import type { Bench, Compiler } from '../compiler.ts';
import { type LaneLimits, Lanes } from '../lanes.ts';
import type { Bounds } from '../opa/child.ts';
import type { PolicySources } from '../sources.ts';
import { type TraceLevel, tracedIn } from './tracing.ts';

/** What OPA's evaluator is asked of a tenant's policy. */
export type OpaQuestion =
  | { readonly kind: 'query'; readonly query: string; readonly input: unknown }
  | {
      readonly kind: 'compile';
      readonly query: string;
      readonly input: unknown;
      /** References such as `input.resource`. */
      readonly unknowns: readonly string[];
      readonly disableInlining: readonly string[];
    }
  | { readonly kind: 'explain'; readonly query: string; readonly input: unknown; readonly level: TraceLevel };

/** JSON text of what the API calls `result`, or `explanation`; undefined where there is none. */
export type OpaAnswer = { readonly result: string | undefined } | { readonly errors: readonly OpaError[] };

/** As OPA tells it; files as the author knows them. */
export interface OpaError {
  readonly code?: string;
  readonly message: string;
  readonly location?: { readonly file: string; readonly row: number; readonly col: number };
}

const BOUNDS: Bounds = {
  totalMs: 5_000,
  outputBytes: 8 * 1024 * 1024,
  memoryKib: 2 * 1024 * 1024,
  tooMuch: ({ cause, detail }) =>
    new ServiceError('deadline_exceeded', 'the query takes more time, memory or room than it may', {
      cause,
      detail,
    }),
};
const LIMITS: LaneLimits = { running: 2, perTenant: 4, waiting: 64 };
const INPUT = 'asked.json';

/** Asks OPA's evaluator, in a process that is bounded and sees the tenant's files alone: whoever decides waits for nothing. */
export class OpaQueries {
  readonly #compiler: Compiler;
  readonly #lanes: Lanes;

  constructor(compiler: Compiler, limits = LIMITS) {
    this.#compiler = compiler;
    this.#lanes = new Lanes(limits, 'queries');
  }

  /** Throws `resource_exhausted`, `deadline_exceeded`, `unavailable`. */
  ask(tenant: string, question: OpaQuestion, sources: () => Promise<PolicySources>): Promise<OpaAnswer> {
    return this.#lanes.run(tenant, async () =>
      this.#compiler.withData(await sources(), BOUNDS, (bench) => answer(bench, question)),
    );
  }
}

async function answer({ folder, capabilities, run }: Bench, question: OpaQuestion): Promise<OpaAnswer> {
  const { query, input } = question;
  if (input !== undefined) await writeFile(path.join(folder, INPUT), JSON.stringify(input));
  const { code, stdout, stderr } = await run(
    [
      'eval',
      // The query is no argument: none can be taken for an option.
      '--stdin',
      '-f',
      'json',
      '--capabilities',
      capabilities,
      ...['platform', 'tenant', 'data'].flatMap((each) => ['-d', each]),
      ...(input === undefined ? [] : ['-i', INPUT]),
      ...optionsOf(question),
    ],
    query,
  );
  if (stdout.trim() === '')
    throw new ServiceError('policy_failed', 'the query cannot be evaluated', {
      detail: stderr.slice(0, 300),
    });
  const { errors = [] } = JSON.parse(stdout) as { errors?: readonly OpaError[] };
  if (code !== 0 || errors.length > 0) return { errors: errors.slice(0, MAX_ERRORS).map(asAuthorsKnow) };
  return { result: resultIn(question, stdout) };
}

const MAX_ERRORS = 10;

function optionsOf(question: OpaQuestion): string[] {
  switch (question.kind) {
    case 'query':
      return [];
    case 'compile':
      return [
        '--partial',
        ...question.unknowns.flatMap((each) => ['-u', each]),
        ...question.disableInlining.flatMap((each) => ['--disable-inlining', each]),
      ];
    case 'explain':
      return ['--explain', question.level];
  }
}

/** Numbers stay as they are written. */
function resultIn({ kind }: OpaQuestion, stdout: string): string | undefined {
  const exact = JSON.parse(stdout, (_name, value: unknown, context?: { source?: string }) =>
    typeof value === 'number' && context?.source !== undefined ? rawJSON(context.source) : value,
  ) as {
    result?: readonly { bindings?: object }[];
    partial?: { readonly queries?: unknown; readonly modules?: unknown };
    explanation?: readonly unknown[] | null;
  };
  if (kind === 'compile') {
    // The API calls support what the command calls modules.
    const { queries, modules: support } = exact.partial ?? {};
    return JSON.stringify({ queries, support });
  }
  if (kind === 'explain') return JSON.stringify(tracedIn(exact.explanation ?? []));
  if (!exact.result || exact.result.length === 0) return undefined;
  return JSON.stringify(exact.result.map(({ bindings = {} }) => bindings));
}

const { rawJSON } = JSON as unknown as { rawJSON: (text: string) => unknown };

const asAuthorsKnow = ({ code, message, location }: OpaError): OpaError => ({
  ...(code === undefined ? {} : { code }),
  message: message.slice(0, 1_000).replace(/\btenant\/(?=\S{1,256}\.rego:\d)/g, ''),
  ...(location === undefined
    ? {}
    : { location: { ...location, file: (location.file ?? '').replace(/^tenant\//, '') } }),
});
