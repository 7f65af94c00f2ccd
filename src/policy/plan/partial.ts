import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { ServiceError } from '../../errors.ts';
import type { Bench } from '../compiler.ts';
import { diagnosticsOf, formatDiagnostic } from '../diagnostics.ts';
import type { Bounds } from '../opa/child.ts';
import type { PolicySources } from '../sources.ts';
import type { Syntax } from '../testing/syntax.ts';
import { planUnsupported, type Residual, readResidual, refOf, termsIn, Unplannable } from './rego.ts';
import { prepared } from './source.ts';

/** Of all that one plan runs. */
export const PLANNING: Bounds = {
  totalMs: 5_000,
  outputBytes: 8 * 1024 * 1024,
  tooMuch: ({ cause, detail }) =>
    new ServiceError('plan_unsupported', 'the policy takes more time or memory to plan than it may', {
      cause,
      detail,
    }),
};

/** How many bodies may be left, after all combinations of what rules say. */
const MAX_QUERIES = 1_000;
const QUERY = 'data.mandate.plan.part[x]';
/** What is left depends on what time it is. */
export class TimeDependent extends Error {}

const UNKNOWN = ['input.resource.id', 'input.resource.properties'];

/** What the sources were found to be. */
export interface Looked {
  readonly syntax: ReadonlyMap<string, Syntax>;
  /** Paths of rules whose values are asked for too: `authz/challenge`. */
  readonly doubtful: readonly string[];
}

/**
 * What is left of the policy once all but the resource is known, and the time where the input has none. Throws
 * `TimeDependent` where it has to have it, `plan_unsupported` where the evaluator fails, as it does for what has two values at once.
 */
export async function partially(
  { folder, capabilities, run }: Bench,
  sources: PolicySources,
  { syntax, doubtful }: Looked,
  input: { readonly now?: string },
): Promise<Residual> {
  const { now } = input;
  for (const [name, text] of sources.modules) {
    const tree = syntax.get(`tenant/${name}`);
    if (!tree) throw new Unplannable(`${name} was not looked at`);
    await writeFile(
      path.join(folder, 'tenant', name),
      prepared(text, tree, now === undefined ? undefined : Date.parse(now)),
    );
  }
  if (doubtful.length > 0)
    await writeFile(path.join(folder, 'platform', 'plan_values.rego'), valuesOf(doubtful));
  const unknown = [...UNKNOWN, ...(now === undefined ? ['input.now'] : [])].flatMap((each) => ['-u', each]);
  const files = ['platform', 'tenant', 'data'].flatMap((each) => ['-d', each]);
  const { code, stdout, stderr } = await run(
    [
      'eval',
      '-f',
      'json',
      '--partial',
      '--stdin-input',
      ...unknown,
      ...files,
      '--capabilities',
      capabilities,
      QUERY,
    ],
    JSON.stringify(input),
  );
  if (code !== 0) {
    const [first] = diagnosticsOf(stdout.trim() ? stdout : stderr);
    const said = first ? formatDiagnostic({ ...first, message: first.message.slice(0, 300) }) : 'it fails';
    throw planUnsupported(`the policy cannot be planned: ${said}`, stderr.slice(0, 300));
  }
  const residual = readResidual(stdout);
  if (residual.queries.length > MAX_QUERIES)
    throw new Unplannable(`more than ${MAX_QUERIES} cases are left of the policy`);
  if (now === undefined && tellsTime(residual)) throw new TimeDependent();
  return residual;
}

/** Beside `policies/platform/plan.rego`: each value that a rule may have. */
const valuesOf = (paths: readonly string[]): string =>
  `package mandate.plan\n${paths
    .map((each) => {
      const ref = `data${each
        .split('/')
        .map((part) => `[${JSON.stringify(part)}]`)
        .join('')}`;
      return `\npart contains ["value", ${JSON.stringify(each)}, value] if value := ${ref}\n`;
    })
    .join('')}`;

function tellsTime({ queries, support }: Residual): boolean {
  for (const term of termsIn([queries, [...support.values()]])) {
    const [head, member] = (refOf(term) ?? []).map(({ value }) => value);
    if ((head === 'input' && member === 'now') || (head === 'time' && member === 'now_ns')) return true;
  }
  return false;
}
