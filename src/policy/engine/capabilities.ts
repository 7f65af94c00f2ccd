import { hostBuiltins } from './builtins/index.ts';

/** What `opa capabilities --current` prints, as far as it is looked at; the rest is passed on. */
export interface OpaCapabilities {
  readonly builtins: readonly { readonly name: string }[];
  readonly allow_net?: readonly string[];
  readonly [member: string]: unknown;
}

/**
 * Never available, whatever else may be added: a decision is a function of the revision and the input alone.
 * Names that end in a dot are namespaces.
 */
export const deniedBuiltins: readonly string[] = [
  'http.send',
  'net.lookup_ip_addr',
  'opa.runtime',
  'trace',
  'rego.',
  'providers.',
  'internal.test_case',
];

/** What the compiler leaves nothing of. */
const compiledAway: ReadonlySet<string> = new Set(['assign', 'eq', 'internal.print', 'print']);

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
export const isDenied = (name: string): boolean =>
  deniedBuiltins.some((denied) => (denied.endsWith('.') ? name.startsWith(denied) : name === denied));

function isAvailable(name: string): boolean {
  return !isDenied(name) && (compiledAway.has(name) || hostBuiltins.has(name));
}
