import { ServiceError } from '../../../src/errors.ts';
import { PolicyModule } from '../../../src/policy/engine/module.ts';
import type { Plan } from '../../../src/policy/plan/parts.ts';
import { Planner } from '../../../src/policy/plan/planner.ts';
import { readVerdict } from '../../../src/verdict.ts';
import { compiler, read, withFolder } from '../sources.ts';
import type { Resource } from './grammar.ts';

export interface Asker {
  readonly id: string;
  readonly groups: readonly string[];
  readonly level: number;
}

const one = compiler();

/** A policy as it decides, and as it is planned. */
export interface Subject {
  readonly plan: Plan;
  /** Whether mandate/decision allows, by the engine that serves. */
  readonly allows: (resource: Resource) => boolean;
  readonly obligations: (resource: Resource) => readonly unknown[];
}

const inputOf = ({ id, groups, level }: Asker, resource: Resource): string =>
  JSON.stringify({
    now: '2026-01-01T00:00:00.000Z',
    tenant: { id: 'acme' },
    subject: { class: 'user', type: 'user', id, properties: { level }, groups, roles: [], status: 'active' },
    actors: [],
    action: { name: 'read', properties: {} },
    resource: { type: 'document', ...resource },
    context: {},
    grant: null,
  });

let revisions = 0;

/** Rejects with what the planner refuses it for; `known` is what is known of the resource. */
export const subjectOf = (
  policy: string,
  asker: Asker,
  known: Readonly<Record<string, unknown>> = {},
): Promise<Subject> =>
  withFolder(
    { 'authz.rego': policy, 'delegation.rego': 'package delegation\n\nallow := true\n' },
    async (folder) => {
      const sources = await read(folder);
      revisions += 1;
      const input = inputOf(asker, { id: 'unknown', properties: known });
      const plan = await new Planner(one).plan({
        tenant: 'acme',
        revision: `r${revisions}`,
        input,
        sources: async () => sources,
      });
      const bundle = await one.compile(sources);
      const module = PolicyModule.compile(bundle.wasm);
      const fresh = () => module.instantiate(bundle.data, { fuel: 20_000_000, memoryPages: 1_024 });
      let instance = fresh();
      const verdict = (resource: Resource) => {
        try {
          const { result } = instance.evaluate(
            'mandate/decision',
            inputOf(asker, resource),
            { nowMs: Date.parse('2026-01-01T00:00:00Z'), seed: 's' },
            20_000_000,
          );
          return readVerdict(result, 'authz');
        } catch (error) {
          // A policy that fails is a deny, and its instance is of no use any more.
          if (!(error instanceof ServiceError)) throw error;
          instance = fresh();
          return undefined;
        }
      };
      return {
        plan,
        allows: (resource) => verdict(resource)?.outcome === 'allow',
        obligations: (resource) => verdict(resource)?.obligations ?? [],
      };
    },
  );

/** The code and message that something is refused with. */
export async function refusalOf(work: Promise<unknown>): Promise<string> {
  try {
    await work;
    return 'not refused';
  } catch (error) {
    if (error instanceof ServiceError) return `${error.code}: ${error.message}`;
    throw error;
  }
}
