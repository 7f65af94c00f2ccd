/** What of a trace is told, as OPA names it. */
export const traceLevels = ['notes', 'fails', 'full', 'debug'] as const;
export type TraceLevel = (typeof traceLevels)[number];

/** An event as `opa eval` prints it. */
interface Printed {
  readonly Op: string;
  readonly QueryID: unknown;
  readonly ParentID: unknown;
  readonly Node: unknown;
  readonly Locals: readonly unknown[] | null;
  readonly Message: string;
}

/** The events in the form of OPA's data API. */
export const tracedIn = (events: readonly unknown[]): readonly object[] =>
  (events as readonly Printed[]).map(({ Op, QueryID, ParentID, Node, Locals, Message }) => ({
    op: Op.toLowerCase(),
    query_id: QueryID,
    parent_id: ParentID,
    type: typeOf(Node),
    node: Node,
    locals: Locals ?? [],
    ...(Message === '' ? {} : { message: Message }),
  }));

function typeOf(node: unknown): 'body' | 'rule' | 'expr' | '' {
  if (node === null) return '';
  if (Array.isArray(node)) return 'body';
  return typeof node === 'object' && node !== null && 'head' in node ? 'rule' : 'expr';
}
