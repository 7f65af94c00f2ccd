import type { Node, Term } from './terms.ts';

/** One event of `opa eval --explain full --format json` (v1/topdown.Event). */
export interface TraceEvent {
  readonly Op: string;
  /** A rule, an expression or a list of them. */
  readonly Node: RuleNode | Node | readonly Node[];
  readonly Location?: { readonly file: string; readonly row: number; readonly col: number };
  readonly QueryID: number;
  readonly ParentID: number;
  readonly Locals?:
    | readonly { readonly name: string; readonly type: string; readonly value: unknown }[]
    | null;
  readonly LocalMetadata?: Readonly<Record<string, { readonly name: string }>> | null;
}

export interface RuleNode {
  readonly default?: boolean;
  readonly body?: readonly Node[];
  readonly head: {
    readonly ref?: readonly Term[];
    readonly name?: string;
    readonly args?: readonly Term[];
    readonly key?: Term;
    readonly value?: Term;
  };
}

/** A query of the evaluation: a rule's body, or one within an expression (`not`, `every`, a comprehension). */
export interface Frame {
  readonly entered: TraceEvent;
  readonly parent: Frame | undefined;
  /** The index of the parent's expression that asked for it. */
  readonly under: number;
  readonly rule: RuleNode | undefined;
  /** Of each time it held. */
  readonly exits: TraceEvent[];
  exitCount: number;
  /** By the expression's index: the first time that it failed, and how often it did. */
  readonly fails: Map<number, { readonly event: TraceEvent; times: number }>;
  readonly children: Frame[];
  /** Expressions as they were first evaluated, by index. */
  readonly evals: Map<number, TraceEvent>;
  current: number;
}

/** Of each frame so many exits are kept. */
const MOST_EXITS = 64;

const ruleIn = ({ Node: node }: TraceEvent): RuleNode | undefined =>
  !Array.isArray(node) && typeof node === 'object' && node !== null && 'head' in node ? node : undefined;

const indexIn = ({ Node: node }: TraceEvent): number => (node as Node).index ?? 0;

/** The tree of queries that events are of. */
export class Frames {
  readonly #frames = new Map<number, Frame>();
  /** The outermost. */
  root: Frame | undefined;

  see(event: TraceEvent): void {
    const frame = this.#frames.get(event.QueryID);
    if (event.Op !== 'Enter') {
      if (frame) note(frame, event);
      return;
    }
    const parent = this.root && this.#frames.get(event.ParentID);
    const entered = frameOf(event, parent);
    this.#frames.set(event.QueryID, entered);
    parent?.children.push(entered);
    this.root ??= entered;
  }
}

const frameOf = (entered: TraceEvent, parent: Frame | undefined): Frame => ({
  entered,
  parent,
  under: parent?.current ?? 0,
  rule: ruleIn(entered),
  exits: [],
  exitCount: 0,
  fails: new Map(),
  children: [],
  evals: new Map(),
  current: 0,
});

function note(frame: Frame, event: TraceEvent): void {
  switch (event.Op) {
    case 'Eval': {
      frame.current = indexIn(event);
      if (!frame.evals.has(frame.current)) frame.evals.set(frame.current, event);
      return;
    }
    case 'Fail': {
      const known = frame.fails.get(indexIn(event));
      if (known) known.times += 1;
      else frame.fails.set(indexIn(event), { event, times: 1 });
      return;
    }
    case 'Exit': {
      frame.exitCount += 1;
      if (frame.exits.length < MOST_EXITS) frame.exits.push(event);
      return;
    }
  }
}
