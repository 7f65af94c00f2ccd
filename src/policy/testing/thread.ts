import path from 'node:path';
import { parentPort } from 'node:worker_threads';
import { systemClock } from '../../effects.ts';
import { describe, ServiceError } from '../../errors.ts';
import type { ManifestPrincipal } from '../../tenancy/manifest.ts';
import { Compiler, type CompilerOptions } from '../compiler.ts';
import { type Diagnostic, diagnosticsOf, PolicyInvalid } from '../diagnostics.ts';
import type { Limits } from '../engine/instance.ts';
import type { PolicySources } from '../sources.ts';
import type { Judged } from './judgement.ts';
import { nameOf } from './report.ts';
import { runTests } from './run.ts';

/** What the thread is asked. */
export interface Asked {
  readonly compiler: CompilerOptions;
  readonly sources: PolicySources;
  readonly limits: Limits;
  readonly principals: readonly ManifestPrincipal[];
  readonly covered: boolean;
}

/** What the tests came to, or why none did. */
export type Outcome =
  | { readonly tested: TestResult; readonly failed: readonly Diagnostic[] }
  | { readonly invalid: readonly Diagnostic[] }
  | { readonly unavailable: string };

export interface TestResult {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
  /** Percent of the lines that count; undefined where it was not measured. */
  readonly coverage?: number | undefined;
}

/** Runs a tenant's tests where nobody waits who decides: each may spend what a decision may, and there may be many. */
parentPort?.once('message', (asked: Asked) => {
  void outcomeOf(asked).then((outcome) => parentPort?.postMessage(outcome));
});

async function outcomeOf({ compiler, sources, limits, principals, covered }: Asked): Promise<Outcome> {
  try {
    const tested = await runTests(new Compiler(compiler), sources, {
      only: undefined,
      traced: false,
      covered,
      limits,
      principals,
      clock: systemClock,
      stopwatch: () => performance.now(),
    });
    if ('refused' in tested) return { invalid: diagnosticsOf(tested.refused.stderr) };
    const { tests, coverage } = tested;
    const failed = tests.filter(({ fail, error }) => fail || error);
    const skipped = tests.filter(({ skip }) => skip).length;
    return {
      tested: {
        passed: tests.length - failed.length - skipped,
        failed: failed.length,
        skipped,
        coverage: coverage?.report.coverage,
      },
      failed: failed.map(diagnosticOf),
    };
  } catch (error) {
    if (error instanceof PolicyInvalid) return { invalid: error.diagnostics };
    if (error instanceof ServiceError && error.code !== 'unavailable')
      return { invalid: [{ file: 'policy', line: 0, message: error.message }] };
    return { unavailable: describe(error) };
  }
}

function diagnosticOf(test: Judged): Diagnostic {
  const { location, error, differs, unmet } = test;
  const why = differs
    ? `the engine says ${differs.engine} and OPA's evaluator ${differs.opa}, a fault of Mandate's`
    : error
      ? `${error.code}: ${error.message}`
      : (unmet?.join('; ') ?? 'it is not true');
  const file = path.posix.relative('tenant', location.file);
  return { file, line: location.row, message: `the test ${nameOf(test)} failed: ${why}` };
}
