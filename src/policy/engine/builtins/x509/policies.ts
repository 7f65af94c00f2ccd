import type { BuiltinContext } from '../builtin.ts';
import type { Certificate } from './certificate.ts';

/** Fuel units of an edge of the graph. */
const unitsPerEdge = 600;
const anyPolicy = '2.5.29.32.0';

interface Node {
  readonly policy: string;
  expected: readonly string[];
  readonly parents: Set<Node>;
  readonly children: Set<Node>;
}

/**
 * The policies that hold along a chain (RFC 9618, which replaces the tree of RFC 5280 by a graph that does not grow
 * beyond the certificates): layer under layer, from the anchor down.
 */
class PolicyGraph {
  readonly layers: Map<string, Node>[] = [new Map()];
  readonly #context: BuiltinContext;

  constructor(context: BuiltinContext) {
    this.#context = context;
    this.add(anyPolicy, []);
  }

  get leaves(): Map<string, Node> {
    return this.layers.at(-1) ?? new Map();
  }

  get above(): Map<string, Node> {
    return this.layers.at(-2) ?? new Map();
  }

  add(policy: string, parents: readonly Node[], expected: readonly string[] = [policy]): void {
    this.#context.spend((1 + parents.length) * unitsPerEdge);
    const node: Node = { policy, expected, parents: new Set(parents), children: new Set() };
    for (const parent of parents) parent.children.add(node);
    this.leaves.set(policy, node);
  }

  /** Those of the layer above by what they expect. */
  expecting(): Map<string, Node[]> {
    const found = new Map<string, Node[]>();
    for (const node of this.above.values())
      for (const policy of node.expected) {
        this.#context.spend(unitsPerEdge);
        found.set(policy, [...(found.get(policy) ?? []), node]);
      }
    return found;
  }

  remove(policy: string): void {
    const node = this.leaves.get(policy);
    if (!node) return;
    for (const parent of node.parents) parent.children.delete(node);
    this.leaves.delete(policy);
  }

  /** What leads nowhere. */
  prune(): void {
    for (const layer of this.layers.slice(1, -1).toReversed())
      for (const node of layer.values()) {
        this.#context.spend(unitsPerEdge);
        if (node.children.size > 0) continue;
        for (const parent of node.parents) parent.children.delete(node);
        layer.delete(node.policy);
      }
  }

  get isEmpty(): boolean {
    const isValid = ({ policy, parents }: Node): boolean =>
      policy !== anyPolicy && parents.size === 1 && [...parents][0]?.policy === anyPolicy;
    return !this.leaves.has(anyPolicy) && !this.layers.some((layer) => [...layer.values()].some(isValid));
  }
}

/** Whether a chain, the leaf first, has the policies that its authorities require. */
export function arePoliciesValid(chain: readonly Certificate[], context: BuiltinContext): boolean {
  const length = chain.length - 1;
  if (length === 0) return true;
  let graph: PolicyGraph | undefined = new PolicyGraph(context);
  const left = { any: length + 1, explicit: length + 1, mapping: length + 1 };
  for (let at = length - 1; at >= 0; at -= 1) {
    const { known, rawIssuer, rawSubject } = chain[at] as Certificate;
    const isSelfIssued = rawIssuer.equals(rawSubject);
    if (known.policies.length === 0) graph = undefined;
    if (left.explicit === 0 && !graph) return false;
    if (graph) {
      descend(graph, known.policies, left.any > 0 || (at > 0 && isSelfIssued));
      if (at > 0 && !map(graph, known.mappings, left.mapping > 0)) return false;
    }
    if (at === 0) continue;
    if (!isSelfIssued)
      for (const name of ['any', 'explicit', 'mapping'] as const) left[name] = Math.max(left[name] - 1, 0);
    left.explicit = lower(left.explicit, known.requireExplicit);
    left.mapping = lower(left.mapping, known.inhibitMapping);
    left.any = lower(left.any, known.inhibitAny);
  }
  const isRequired = left.explicit <= 1 || chain[0]?.known.requireExplicit === 0;
  return !isRequired || (graph !== undefined && !graph.isEmpty);
}

/** Below zero nothing counts. */
const lower = (left: number, level: number | undefined): number =>
  level !== undefined && level >= 0 ? Math.min(left, level) : left;

/** RFC 9618 section 5.3 (d). */
function descend(graph: PolicyGraph, policies: readonly string[], mayBeAny: boolean): void {
  graph.layers.push(new Map());
  const expecting = graph.expecting();
  const anyParent = graph.above.get(anyPolicy);
  for (const policy of policies) {
    if (policy === anyPolicy) continue;
    const parents = expecting.get(policy) ?? (anyParent ? [anyParent] : []);
    if (parents.length > 0) graph.add(policy, parents);
  }
  if (policies.includes(anyPolicy) && mayBeAny)
    for (const [policy, parents] of expecting) if (!graph.leaves.has(policy)) graph.add(policy, parents);
  graph.prune();
}

/** RFC 9618 section 5.4 (b). False for a mapping that may not be. */
function map(
  graph: PolicyGraph,
  mappings: readonly { readonly issuer: string; readonly subject: string }[],
  mayMap: boolean,
): boolean {
  if (mappings.length === 0) return true;
  const subjects = new Map<string, string[]>();
  for (const { issuer, subject } of mappings) {
    if (!mayMap) graph.remove(issuer);
    else if (issuer === anyPolicy || subject === anyPolicy) return false;
    else {
      const known = subjects.get(issuer) ?? [];
      known.push(subject);
      subjects.set(issuer, known);
    }
  }
  graph.prune();
  const any = graph.leaves.get(anyPolicy);
  for (const [issuer, expected] of subjects) {
    const node = graph.leaves.get(issuer);
    if (node) node.expected = expected;
    else if (any) graph.add(issuer, [any], expected);
  }
  return true;
}
