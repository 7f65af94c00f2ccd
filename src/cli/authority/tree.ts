/** What can be drawn as a tree: each behind what it came from. */
interface Node {
  readonly id: string;
  readonly parentId: string;
}

/** Each node with the lines that lead to it. What comes from a node that is not among them is a root. */
export function drawn<T extends Node>(nodes: readonly T[]): { readonly branch: string; readonly node: T }[] {
  const known = new Set(nodes.map(({ id }) => id));
  const below = Map.groupBy(nodes, ({ parentId }) => (known.has(parentId) ? parentId : ''));
  const lines: { branch: string; node: T }[] = [];
  const draw = (node: T, branch: string, lead: string): void => {
    lines.push({ branch, node });
    const children = below.get(node.id) ?? [];
    for (const [at, child] of children.entries()) {
      const isLast = at === children.length - 1;
      draw(child, `${lead}${isLast ? '└─ ' : '├─ '}`, `${lead}${isLast ? '   ' : '│  '}`);
    }
  };
  for (const root of below.get('') ?? []) draw(root, '', '');
  return lines;
}
