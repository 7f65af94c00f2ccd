/** A place in a text: row and column count from 1, columns in characters. */
export interface Place {
  readonly row: number;
  readonly col: number;
}

/** What stands behind a mark in the compiled policy. */
export interface Following {
  /** What the mark says. */
  readonly id: string;
  /** Where the next statement is written that is not the mark's own; undefined if there is none. */
  readonly place: (Place & { readonly file: string }) | undefined;
}

interface Statement {
  readonly type: string;
  readonly stmt: {
    readonly func?: string;
    readonly args?: readonly { readonly type: string; readonly value: unknown }[];
    readonly result?: number;
    readonly a?: { readonly value?: unknown };
    readonly block?: Block;
    readonly blocks?: readonly Block[];
    readonly file?: number;
    readonly row?: number;
    readonly col?: number;
  };
}

interface Block {
  readonly stmts?: readonly Statement[] | null;
}

/** The compiler's plan (`opa build -t plan`): what the module is made from, each statement with its place. */
interface Plan {
  readonly static: {
    readonly strings?: readonly { readonly value: string }[];
    readonly files?: readonly { readonly value: string }[];
  };
  readonly funcs: { readonly funcs?: readonly { readonly blocks: readonly Block[] }[] };
}

/**
 * The compiler orders the expressions of a body by what each needs, and marks need nothing. What follows each of them in
 * the plan tells whether it still stands beside what it was written beside.
 */
export function* followingsIn(json: string, builtin: string): Generator<Following> {
  const plan = JSON.parse(json) as Plan;
  const { strings = [], files = [] } = plan.static;
  for (const { blocks } of plan.funcs.funcs ?? []) yield* inBlocks(blocks);

  function* inBlocks(blocks: readonly Block[]): Generator<Following> {
    for (const { stmts } of blocks)
      for (const [at, { stmt }] of (stmts ?? []).entries()) {
        if (stmt.func === builtin) yield { id: saidBy(stmt), place: placeAfter(stmts ?? [], at) };
        if (stmt.block) yield* inBlocks([stmt.block]);
        if (stmt.blocks) yield* inBlocks(stmt.blocks);
      }
  }

  function saidBy({ args = [] }: Statement['stmt']): string {
    const [first] = args;
    return first?.type === 'string_index' ? (strings[Number(first.value)]?.value ?? '') : '';
  }

  /** Behind the call is the test of its result. */
  function placeAfter(stmts: readonly Statement[], at: number): Following['place'] {
    const result = stmts[at]?.stmt.result;
    const next = stmts[at + 1];
    const isTest = next?.type === 'NotEqualStmt' && next.stmt.a?.value === result;
    for (const { stmt } of stmts.slice(at + (isTest ? 2 : 1))) {
      const { row = 0, col = 0, file = 0 } = stmt;
      if (row > 0) return { row, col, file: files[file]?.value ?? '' };
    }
    return undefined;
  }
}
