import { LRUCache } from 'lru-cache';
import { ServiceError } from '../../errors.ts';
import { sha256 } from '../bundle.ts';
import type { Bench, Compiler } from '../compiler.ts';
import { isMapping } from '../decided.ts';
import { type LaneLimits, Lanes } from '../lanes.ts';
import type { PolicySources } from '../sources.ts';
import { parseAll, type Syntax } from '../testing/syntax.ts';
import { type Analysis, analyse } from './analysis.ts';
import { PLANNING, partially, TimeDependent } from './partial.ts';
import { type Plan, planOf } from './parts.ts';
import { placeOf } from './places.ts';
import { planUnsupported, textOf, Unplannable } from './rego.ts';

/** Who wants to know what, by which policy. */
export interface PlanQuestion {
  readonly tenant: string;
  readonly revision: string;
  /** JSON text: the input of a decision about some resource. */
  readonly input: string;
  /** What the revision was made from, where it has to be looked at. */
  readonly sources: () => Promise<PolicySources>;
}

type Outcome = { readonly plan: Plan } | { readonly refused: ServiceError };

const LIMITS: LaneLimits = { running: 2, perTenant: 4, waiting: 64 };
const KEPT = 1_000;
/** Of JSON, in characters. */
const KEPT_SIZE = 32 * 1024 * 1024;
const KEPT_REVISIONS = 64;

/**
 * What a principal may do, as a condition on the resource: the policy evaluated by OPA as far as it goes without it. What
 * cannot be said exactly is refused, and never said more widely.
 */
export class Planner {
  readonly #compiler: Compiler;
  readonly #lanes: Lanes;
  readonly #kept = new LRUCache<string, Outcome>({ max: KEPT, maxSize: KEPT_SIZE, sizeCalculation: sizeOf });
  readonly #analyses = new LRUCache<string, { analysis: Analysis; syntax: ReadonlyMap<string, Syntax> }>({
    max: KEPT_REVISIONS,
  });

  constructor(compiler: Compiler, limits: LaneLimits = LIMITS) {
    this.#compiler = compiler;
    this.#lanes = new Lanes(limits, 'plans');
  }

  /** Throws `plan_unsupported`, which names the expression at fault, `resource_exhausted`, `unavailable`. */
  async plan(question: PlanQuestion): Promise<Plan> {
    const { tenant, revision } = question;
    const { now, ...input } = JSON.parse(question.input) as Record<string, unknown>;
    // Without the time: a plan that depends on it is not kept.
    const key = sha256(JSON.stringify([tenant, revision, input]));
    const known = this.#kept.get(key);
    if (known) return settledOutcome(known);
    return this.#lanes.run(tenant, async () => {
      const sources = await question.sources();
      const elsewhere = decidedElsewhere(sources);
      if (elsewhere) throw elsewhere;
      const made = await this.#compiler.withData(sources, PLANNING, (bench) =>
        this.#made(bench, sources, revision, input, String(now)),
      );
      if (made.lasts) this.#kept.set(key, made.outcome);
      return settledOutcome(made.outcome);
    });
  }

  async #made(
    bench: Bench,
    sources: PolicySources,
    revision: string,
    input: Record<string, unknown>,
    now: string,
  ): Promise<{ outcome: Outcome; lasts: boolean }> {
    const { analysis, syntax } = await this.#analysed(bench, sources, revision);
    const { doubtful, problems } = analysis;
    const [problem] = problems;
    if (problem) return { outcome: { refused: refusedAt(problem, problem.message) }, lasts: true };
    const { properties, id: _id, ...resource } = input['resource'] as Record<string, unknown>;
    const open = { ...input, resource };
    const plan = async (moment: { now?: string }): Promise<Outcome> => {
      try {
        const residual = await partially(bench, sources, { syntax, doubtful }, { ...open, ...moment });
        return { plan: planOf(residual, analysis, (properties ?? {}) as Record<string, unknown>) };
      } catch (error) {
        if (error instanceof Unplannable) return { refused: refusal(error, analysis) };
        if (error instanceof ServiceError && error.code === 'plan_unsupported') return { refused: error };
        throw error;
      }
    };
    try {
      return { outcome: await plan({}), lasts: true };
    } catch (error) {
      if (!(error instanceof TimeDependent)) throw error;
      return { outcome: await plan({ now }), lasts: false };
    }
  }

  async #analysed(bench: Bench, { modules }: PolicySources, revision: string) {
    const known = this.#analyses.get(revision);
    if (known) return known;
    const syntax = await parseAll(
      [...modules.keys()].map((name) => `tenant/${name}`),
      bench.run,
    );
    const made = { analysis: analyse(syntax), syntax };
    this.#analyses.set(revision, made);
    return made;
  }
}

/** Why a tenant whose decision is a rule of its own choice has no plans, and what to do. */
function decidedElsewhere({ decision, modules }: PolicySources): ServiceError | undefined {
  if (decision === undefined) return undefined;
  const [mapping] = [...modules].find(([, text]) => isMapping(text)) ?? [];
  if (mapping !== undefined)
    return planUnsupported(
      `${mapping}: ${decision} decides by an input that the package mapping makes, which does not lead back to attributes of a resource: ask CheckBatch for those of a page, or decide in the package authz what is listed`,
    );
  return planUnsupported(
    `tenant.yaml: ${decision} decides, and plans are made of the package authz: put its packages below that one, as data.authz.${decision.slice('data.'.length)}, say "allow if" it there, and leave decision out; until then ask CheckBatch for those of a page`,
  );
}

const sizeOf = (outcome: Outcome): number =>
  'plan' in outcome ? JSON.stringify(outcome.plan).length : outcome.refused.message.length + 1;

function settledOutcome(outcome: Outcome): Plan {
  if ('refused' in outcome) throw outcome.refused;
  return outcome.plan;
}

function refusal({ why, expression }: Unplannable, analysis: Analysis): ServiceError {
  const place = expression === undefined ? undefined : placeOf(expression, analysis);
  const said = expression === undefined ? why : `${why}: ${textOf(expression)}`;
  return place ? refusedAt(place, said) : planUnsupported(`the policy cannot be planned: ${said}`);
}

const refusedAt = ({ file, line }: { file: string; line: number }, message: string): ServiceError =>
  planUnsupported(`${file}:${line}: ${message}`);
