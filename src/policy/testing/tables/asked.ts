import { principalClass } from '../../../ids.ts';
import { parseTable } from '../../../tenancy/folder/parser.ts';
import { type TabledTest, TableInvalid, type Who } from '../../../tenancy/folder/table.ts';
import type { ManifestPrincipal } from '../../../tenancy/manifest.ts';
import { MANIFEST } from '../../../tenancy/manifest-invalid.ts';
import { type Diagnostic, MAX_DIAGNOSTICS, policyInvalid } from '../../diagnostics.ts';
import { near } from '../../naming/near.ts';
import type { PolicySources } from '../../sources.ts';

/** One request of a table, as the policy is asked it. */
export interface Asked {
  readonly file: string;
  readonly test: TabledTest;
  readonly nowMs: number;
  /** JSON: the input of a decision, whole. */
  readonly input: string;
}

/** `reading_test.yaml: a reader reads`. */
export const fullName = ({ file, test }: Pick<Asked, 'file' | 'test'>): string => `${file}: ${test.name}`;

/**
 * Reads the tables, and joins the facts of `principals` into each request as the server does. Throws `policy_invalid`
 * with the line of what is not understood, and of a principal that tenant.yaml does not have.
 */
export async function askedIn(
  { tenant, tables }: Pick<PolicySources, 'tenant' | 'tables'>,
  principals: readonly ManifestPrincipal[],
  nowMs: number,
): Promise<Asked[]> {
  const facts = new Facts(principals);
  const wrong: Diagnostic[] = [];
  const asked: Asked[] = [];
  for (const [file, text] of tables) {
    const tests = await parseTable(text).catch((error: unknown) => {
      if (!(error instanceof TableInvalid)) throw error;
      wrong.push({ file, line: error.line, message: error.message });
      return [];
    });
    for (const test of tests) {
      // So many are told, and each that is not there is compared with all that are.
      if (wrong.length >= MAX_DIAGNOSTICS) break;
      try {
        const at = test.now === undefined ? nowMs : Date.parse(test.now);
        asked.push({ file, test, nowMs: at, input: JSON.stringify(inputOf(test, tenant, at, facts)) });
      } catch (error) {
        if (!(error instanceof TableInvalid)) throw error;
        wrong.push({ file, line: error.line, message: error.message });
      }
    }
  }
  if (wrong.length > 0) throw policyInvalid(wrong);
  return asked;
}

/** How long the grant of a request lasts that does not say. */
const GRANT_MS = 300_000;

/** Member for member as `decision/input.ts` has it, so that it costs the same. */
function inputOf(test: TabledTest, tenant: string, nowMs: number, facts: Facts): object {
  const { action, resource, context, grant, usage, approval } = test;
  return {
    now: new Date(nowMs).toISOString(),
    tenant: { id: tenant },
    subject: facts.of(test.subject, test.subjectLine),
    actors: test.actors.map((each, at) => facts.of(each, test.actorLines[at] ?? test.line)),
    action: typeof action === 'string' ? { name: action, properties: {} } : action,
    resource: typeof resource === 'string' ? resourceIn(resource) : resource,
    context,
    grant: grant && grantOf(grant, nowMs),
    ...(usage && { usage }),
    ...(approval && { approval }),
  };
}

function grantOf(grant: NonNullable<TabledTest['grant']>, nowMs: number): object {
  const { id, scope, use, audience, audiences, expires_at: ends, ...rest } = grant;
  return {
    id,
    scope,
    use,
    audience,
    audiences: audiences ?? (audience === '' ? [] : [audience]),
    ...rest,
    expires_at: ends ?? new Date(nowMs + GRANT_MS).toISOString(),
  };
}

function resourceIn(text: string): object {
  const colon = text.indexOf(':');
  return { type: text.slice(0, colon), id: text.slice(colon + 1), properties: {} };
}

class Facts {
  readonly #declared: ReadonlyMap<string, ManifestPrincipal>;

  constructor(principals: readonly ManifestPrincipal[]) {
    this.#declared = new Map(principals.map((each) => [`${each.class}:${each.id}`, each]));
  }

  /** Throws `TableInvalid` for somebody who is looked up and not there. */
  of(who: Who, line: number): object {
    if (typeof who !== 'string') return described(who, who.status);
    const declared = this.#declared.get(who);
    if (declared) return described(declared, declared.status ?? 'active');
    const meant = near(who, this.#declared.keys());
    const hint =
      meant === undefined ? '; say {class, id, roles, groups, properties}' : `; did you mean ${meant}?`;
    throw new TableInvalid(`${MANIFEST} has no principal ${JSON.stringify(who)}${hint}`, line);
  }
}

type Described = Pick<ManifestPrincipal, 'class' | 'id' | 'properties' | 'groups' | 'roles'>;

const described = ({ class: cls, id, properties, groups, roles }: Described, status: string): object => ({
  class: principalClass(cls),
  type: cls,
  id,
  properties,
  groups,
  roles,
  status,
});
