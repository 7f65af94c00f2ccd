import { Worker } from 'node:worker_threads';
import { ServiceError } from '../../errors.ts';
import type { CompilerOptions } from '../compiler.ts';
import { type Diagnostic, policyInvalid } from '../diagnostics.ts';
import { hasTests, type PolicySources } from '../sources.ts';
import type { Asked, Outcome, TestResult } from './thread.ts';

export type { TestResult } from './thread.ts';

/** How many tenants' tests run at once. */
const MAX_RUNNING = 2;
/** The compiler in it ends by itself before that. In milliseconds. */
const TIMEOUT_MS = 60_000;
const MAX_HEAP_MIB = 1_024;

/** Whether a diagnostic says that a test failed: its file compiles. */
export const isOfTest = ({ message }: Diagnostic): boolean => message.startsWith('the test ');

const NONE: TestResult = { passed: 0, failed: 0, skipped: 0 };

/** With what the tests of a tenant are run. */
export type Gated = Pick<Asked, 'limits' | 'principals' | 'covered'>;

/** Nothing becomes active unless its tests pass: each tenant's in a thread of their own, which ends with them. */
export class TestGate {
  readonly #compiler: CompilerOptions;
  #running = 0;
  readonly #waiting: (() => void)[] = [];

  /** What the tests are compiled with is kept nowhere. */
  constructor({ opa, policies }: CompilerOptions) {
    this.#compiler = { opa, policies, cache: undefined };
  }

  /**
   * What the tests came to, where none failed; a skipped one fails nothing. Throws `policy_invalid` with file and line of
   * those that failed, and of what does not compile; `unavailable` where they cannot be run now.
   */
  async pass(sources: PolicySources, { limits, principals, covered }: Gated): Promise<TestResult> {
    if (!hasTests(sources)) return NONE;
    while (this.#running >= MAX_RUNNING)
      await new Promise<void>((resolve) => void this.#waiting.push(resolve));
    this.#running += 1;
    try {
      const outcome = await run({ compiler: this.#compiler, sources, limits, principals, covered });
      if ('unavailable' in outcome)
        throw new ServiceError('unavailable', 'the tests cannot be run now', { detail: outcome.unavailable });
      if ('invalid' in outcome) throw policyInvalid(outcome.invalid);
      if (outcome.failed.length > 0) throw policyInvalid(outcome.failed);
      return outcome.tested;
    } finally {
      this.#running -= 1;
      this.#waiting.shift()?.();
    }
  }
}

async function run(asked: Asked): Promise<Outcome> {
  const file = import.meta.url.endsWith('.ts') ? './thread.ts' : './thread.js';
  const worker = new Worker(new URL(file, import.meta.url), {
    name: 'mandate-tests',
    env: {},
    resourceLimits: { maxOldGenerationSizeMb: MAX_HEAP_MIB },
  });
  const { promise, resolve } = Promise.withResolvers<Outcome>();
  const tooMuch = (what: string) => (): void =>
    resolve({ invalid: [{ file: 'policy', line: 0, message: `its tests take too much ${what}` }] });
  const timer = setTimeout(tooMuch('time'), TIMEOUT_MS);
  worker
    .once('message', resolve)
    .once('error', (error: NodeJS.ErrnoException) =>
      error.code === 'ERR_WORKER_OUT_OF_MEMORY'
        ? tooMuch('memory')()
        : resolve({ unavailable: error.message }),
    )
    .once('exit', () => resolve({ unavailable: 'the thread that runs tests ended' }));
  worker.postMessage(asked);
  try {
    return await promise;
  } finally {
    clearTimeout(timer);
    void worker.terminate();
  }
}
