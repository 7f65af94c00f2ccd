import { stringify } from 'yaml';
import { MAPPING } from '../decided.ts';

/** Members of the platform's input; all others are looked for in the context. */
const OURS: ReadonlySet<string> = new Set([
  'now',
  'tenant',
  'subject',
  'actors',
  'action',
  'resource',
  'context',
  'grant',
]);

/** A mapping to begin with: what the rules name is taken from where it is, or from the request's context. */
export function mappingText(decision: string, reads: readonly string[]): string {
  const set = (names: readonly string[]): string =>
    names.length === 0 ? 'set()' : `{${names.map((each) => JSON.stringify(each)).join(', ')}}`;
  const [ours, theirs] = [reads.filter((each) => OURS.has(each)), reads.filter((each) => !OURS.has(each))];
  return `# The input that ${decision} was written for, made of ours. It is a beginning: a caller that sends the old
# input as the request's context is answered as it was.
package ${MAPPING}

asked := object.union(
	object.filter(input, ${set(ours)}),
	object.filter(input.context, ${set(theirs)}),
)
`;
}

/** The package that decides by a set of denials. */
export const IMPORTED = 'imported';

/** Whoever has nothing but denials means to allow the rest; what each says is the message of a reason. */
export const denialsText = (denials: string): string => `# Allowed is what ${denials} has nothing against.
package ${IMPORTED}

allow if count(${denials}) == 0

deny contains {"code": "denied", "message": told(each)} if some each in ${denials}

told(each) := each if {
	is_string(each)
} else := each.msg if {
	is_string(each.msg)
} else := json.marshal(each)
`;

/** What holds of every policy: guardrails. The author's own requests come below. */
export const tableText =
  (): string => `# Whole decisions, the platform's guardrails included. Add the requests that your callers make.
tests:
  - name: nobody decides for whom the directory has disabled
    subject: { class: user, id: somebody, status: disabled }
    action: read
    resource: thing:any
    expect: deny

  - name: an agent takes a grant to act for somebody
    subject: { class: user, id: somebody }
    actors: [{ class: agent, id: helper }]
    action: read
    resource: thing:any
    expect: deny
`;

export function manifestText(made: {
  readonly id: string;
  readonly decision: string;
  readonly entrypoints: readonly string[];
  readonly digest: string;
}): string {
  const { id, decision, entrypoints, digest } = made;
  const caller = { class: 'service', id: 'api', credentials: [{ secret_sha256: digest }] };
  return `${stringify({ id })}
# The rule that decides; mandate/mapping.rego makes its input.
${stringify({ decision })}
# What OPA's data API serves, on the input as it was, without guardrails.
${stringify({ entrypoints })}
principals:
  # The service that asks for decisions.
${stringify([caller]).replace(/^(?=.)/gm, '  ')}`;
}
