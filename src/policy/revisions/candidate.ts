import type { NewRevision } from '../../storage/revisions/rows.ts';
import type { Tenant } from '../../tenancy/tenants.ts';
import type { Bundle } from '../bundle.ts';
import type { Compiler } from '../compiler.ts';
import { policyInvalid } from '../diagnostics.ts';
import { type Allowance, limitsFor, prove } from '../proof.ts';
import type { PolicySources } from '../sources.ts';
import type { TestGate, TestResult } from '../testing/gate.ts';
import { contentsOf, type Named } from './contents.ts';
import { disagreement, opinionsOf, type RecordedQuestion } from './opinion.ts';

/** What could be active: its module, what it was made from, and what its tests came to. */
export interface Candidate {
  readonly bundle: Bundle;
  readonly sources: PolicySources;
  readonly named: Named;
  /** Undefined where they were not run. */
  readonly tests: TestResult | undefined;
}

export interface CandidateParts {
  readonly compiler: Compiler;
  readonly gate: TestGate;
  /** What the operator allows. */
  readonly allowance: Allowance;
  /** The newest so many questions of the tenant's log: OPA's evaluator has to answer them as the engine does. */
  readonly questions: (tenant: Tenant, most: number) => readonly RecordedQuestion[];
}

/** How many recorded questions a revision is asked before it is kept. */
const QUESTIONS = 50;

/** `before`: what its tests came to when the same files were tested. Throws `policy_invalid` with file and line. */
export async function testedCandidate(
  { compiler, gate, allowance, questions: ask }: CandidateParts,
  tenant: Tenant,
  sources: PolicySources,
  named: Named,
  before: TestResult | undefined,
): Promise<Candidate> {
  const { principals } = tenant.manifest;
  const limits = limitsFor(tenant.manifest, allowance);
  const questions = before ? [] : ask(tenant, QUESTIONS);
  const [compiled, tested, opinions] = await Promise.allSettled([
    compiler.compile(sources),
    before ?? gate.pass(sources, { limits, principals, covered: true }),
    opinionsOf(compiler, sources, questions),
  ]);
  // Of what does not compile, the compiler says more than the tests.
  if (compiled.status === 'rejected') throw compiled.reason;
  if (tested.status === 'rejected') throw tested.reason;
  if (opinions.status === 'rejected') throw opinions.reason;
  const bundle = compiled.value;
  const problem = opinions.value && disagreement(bundle, limits, questions, opinions.value);
  if (problem) throw policyInvalid([problem]);
  return { bundle, sources, named, tests: tested.value };
}

/** It compiles, and was shown to run. Throws `policy_invalid` with file and line. */
export async function untestedCandidate(
  { compiler, allowance }: Pick<CandidateParts, 'compiler' | 'allowance'>,
  tenant: Tenant,
  sources: PolicySources,
): Promise<Candidate> {
  const bundle = await compiler.compile(sources);
  prove(bundle, limitsFor(tenant.manifest, allowance));
  return { bundle, sources, named: contentsOf(sources, tenant.manifest.actions), tests: undefined };
}

/** As it is kept. */
export const rowOf = (
  { bundle, named, tests }: Candidate,
  more: Pick<NewRevision, 'parent' | 'author' | 'message' | 'madeAt'>,
): NewRevision => ({ revision: bundle.revision, ...more, ...named, tests: JSON.stringify(tests ?? {}) });
