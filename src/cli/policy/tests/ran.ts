import { systemClock } from '../../../effects.ts';
import { describe, ServiceError } from '../../../errors.ts';
import { type Diagnostic, PolicyInvalid } from '../../../policy/diagnostics.ts';
import type { PolicySources } from '../../../policy/sources.ts';
import type { Judged } from '../../../policy/testing/judgement.ts';
import type { Measured } from '../../../policy/testing/reached/measure.ts';
import { ExitCode } from '../../terminal/output.ts';
import { compilerOf, limitsOf, readIn } from '../folder.ts';

export interface RunOptions {
  readonly verbose?: boolean;
  readonly coverage?: boolean;
  readonly threshold?: number;
  readonly run?: string;
  readonly root?: string;
  readonly json: boolean;
  readonly isOneOfMany: boolean;
}

/** What came of a folder's tests. */
export type Ran = { readonly code: number } & (
  | {
      readonly tests: readonly Judged[];
      /** OPA's own of what failed. */
      readonly traces: string;
      readonly coverage: Measured | undefined;
      readonly sources: PolicySources;
    }
  /** OPA did not come to run them, and says why. */
  | { readonly refused: string; readonly sources: PolicySources }
  | { readonly invalid: readonly Diagnostic[] }
  /** Among others: no tenant's folder. */
  | { readonly error: ServiceError }
);

/** Throws what is wrong with anything but the folder; with the folder too, where it is the only one. */
export async function ran(folder: string, options: RunOptions): Promise<Ran> {
  try {
    return await tested(folder, options);
  } catch (error) {
    if (error instanceof PolicyInvalid) return { code: ExitCode.deny, invalid: error.diagnostics };
    if (error instanceof ServiceError && error.code !== 'invalid_request' && options.isOneOfMany)
      return { code: ExitCode.error, error };
    throw error;
  }
}

async function tested(folder: string, options: RunOptions): Promise<Ran> {
  const { sources, manifest } = await readIn(folder, options.root);
  const { runTests } = await import('../../../policy/testing/run.ts');
  const { passed } = await import('../../../policy/testing/report.ts');
  const { verbose = false, run: only, threshold = 0, json } = options;
  const outcome = await runTests(await compilerOf(), sources, {
    only,
    traced: verbose && !json,
    covered: isCovered(options),
    limits: await limitsOf(manifest),
    clock: systemClock,
    stopwatch: () => performance.now(),
    principals: manifest.principals,
  });
  if ('refused' in outcome) {
    const { stderr } = outcome.refused;
    const wrong = /^error parsing regexp: (.+)/.exec(stderr)?.[1];
    if (wrong !== undefined) throw new ServiceError('invalid_request', `--run: ${wrong}`);
    return { code: ExitCode.deny, refused: stderr, sources };
  }
  const { tests, coverage } = outcome;
  const isReached = !coverage || (coverage.differing.length === 0 && coverage.report.coverage >= threshold);
  const isGood = passed(tests) && isReached && !isMistyped(tests, options);
  return { code: isGood ? ExitCode.allow : ExitCode.deny, ...outcome, sources };
}

export const isCovered = ({ coverage, threshold }: Pick<RunOptions, 'coverage' | 'threshold'>): boolean =>
  coverage === true || threshold !== undefined;

/** OPA is content with no test at all: a name that is mistyped would pass for ever. */
export const isMistyped = (tests: readonly Judged[], { run }: Pick<RunOptions, 'run'>): boolean =>
  run !== undefined && tests.length === 0;

/** In a line. */
export const describeError = (error: ServiceError): string => `${error.code}: ${describe(error)}`;
