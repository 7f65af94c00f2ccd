import { hostBuiltins } from './builtins/index.ts';

/** What `opa capabilities --current` prints, as far as it is looked at; the rest is passed on. */
export interface OpaCapabilities {
  readonly builtins: readonly { readonly name: string }[];
  readonly allow_net?: readonly string[];
  readonly [member: string]: unknown;
}

const pure = 'a decision is a function of the revision and the input';

/** Never available, whatever else may be added: why, and what to write instead. */
export const refusals: Readonly<Record<string, string>> = {
  'http.send': `${pure}; pass the fact in context`,
  'net.lookup_ip_addr': `${pure}; pass the addresses in context`,
  'opa.runtime': `${pure}; put what is configured into the tenant's data, or pass it in context`,
  'rego.parse_module': `${pure}; Rego is read when a revision is made, by mandate policy check`,
  'internal.test_case': 'it is for tests; write test_x[case] in a *_test.rego',
};

export const deniedBuiltins: readonly string[] = Object.keys(refusals);

/** What an author is told who calls one; undefined for any other. */
export function refusalOf(name: string): string | undefined {
  return isDenied(name) ? `${name} is not there: ${refusals[name]}` : undefined;
}

/** What the compiler leaves nothing of. */
const compiledAway: ReadonlySet<string> = new Set([
  'assign',
  'eq',
  'internal.print',
  'print',
  'rego.metadata.chain',
  'rego.metadata.rule',
]);

/**
 * The compiler's capabilities cut down to what this engine runs, so that a policy that uses anything else fails to
 * compile, with OPA's own message and place.
 */
export function capabilitiesFor(current: OpaCapabilities): OpaCapabilities {
  return {
    ...current,
    builtins: current.builtins.filter(({ name }) => isAvailable(name)),
    allow_net: [],
  };
}

/**
 * The same for tests, which may name what no decision has in order to replace it (`with http.send as …`). Whatever is
 * called in earnest all the same finds no host that it may ask, and no environment.
 */
export function capabilitiesForTests(current: OpaCapabilities): OpaCapabilities {
  return {
    ...current,
    builtins: current.builtins.filter(({ name }) => isAvailable(name) || isDenied(name)),
    allow_net: [],
  };
}

/** Whether no decision has it, whatever else may be added. */
export const isDenied = (name: string): boolean => Object.hasOwn(refusals, name);

function isAvailable(name: string): boolean {
  return !isDenied(name) && (compiledAway.has(name) || hostBuiltins.has(name));
}
