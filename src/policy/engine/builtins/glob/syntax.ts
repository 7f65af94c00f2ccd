import { BuiltinError } from '../builtin.ts';

/**
 * A pattern as a program, in the syntax of gobwas/glob (v1): `*` and `?` stop at separators, `**` does not, `[abc]`,
 * `[!a-z]`, `{a,b}`, and a backslash takes the meaning of what follows.
 */
export type Instruction =
  /** One character that the test admits. */
  | { readonly kind: 'one'; readonly admits: (point: number) => boolean }
  /** Any number of them. */
  | { readonly kind: 'many'; readonly admits: (point: number) => boolean }
  | { readonly kind: 'split'; readonly targets: number[] }
  | { readonly kind: 'jump'; target: number };

interface Group {
  readonly targets: number[];
  /** Of the alternatives, to the end of the group. */
  readonly jumps: { target: number }[];
}

const escape = 0x5c;
const [star, question, bracket, closingBracket, brace, closingBrace, comma, exclamation, dash] = Array.from(
  '*?[]{},!-',
  (mark) => mark.charCodeAt(0),
);

/** @throws BuiltinError for a pattern that is malformed */
export function compileGlob(pattern: readonly number[], separators: ReadonlySet<number>): Instruction[] {
  const program: Instruction[] = [];
  const groups: Group[] = [];
  const isInner = (point: number) => !separators.has(point);
  for (let at = 0; at < pattern.length; at += 1) {
    const point = pattern[at];
    const group = groups.at(-1);
    if (point === star) {
      const isSuper = pattern[at + 1] === star;
      program.push({ kind: 'many', admits: isSuper ? () => true : isInner });
      if (isSuper) at += 1;
    } else if (point === question) program.push({ kind: 'one', admits: isInner });
    else if (point === bracket) {
      const { end, admits } = readClass(pattern, at + 1);
      program.push({ kind: 'one', admits });
      at = end;
    } else if (point === brace) {
      const opened: Group = { targets: [program.length + 1], jumps: [] };
      program.push({ kind: 'split', targets: opened.targets });
      groups.push(opened);
    } else if (point === comma && group) {
      const jump = { kind: 'jump', target: 0 } as const satisfies Instruction;
      group.jumps.push(jump);
      program.push(jump);
      group.targets.push(program.length);
    } else if (point === closingBrace && group) {
      for (const jump of group.jumps) jump.target = program.length;
      groups.pop();
    } else {
      if (point === escape) at += 1;
      program.push(literal(pattern[at]));
    }
  }
  if (groups.length > 0) throw new BuiltinError('unclosed `{`');
  return program;
}

function literal(point: number | undefined): Instruction {
  if (point === undefined) throw new BuiltinError('trailing backslash');
  return { kind: 'one', admits: (other) => other === point };
}

/**
 * From behind the bracket. A dash behind the first character makes a range of exactly that and the next, whatever they
 * are, so that `[\-x]` is one; all else is a set, in which a dash is itself.
 * @returns end is the place of the closing bracket
 */
function readClass(
  pattern: readonly number[],
  start: number,
): { end: number; admits: (point: number) => boolean } {
  const isNegated = pattern[start] === exclamation;
  const at = isNegated ? start + 1 : start;
  const first = pattern[at];
  if (first !== undefined && pattern[at + 1] === dash) {
    const last = pattern[at + 2];
    if (last === undefined || last < first || pattern[at + 3] !== closingBracket)
      throw new BuiltinError('could not parse range');
    return { end: at + 3, admits: (point) => (point >= first && point <= last) !== isNegated };
  }
  const points = new Set<number>();
  let end = at;
  while (end < pattern.length && pattern[end] !== closingBracket) {
    if (pattern[end] === escape) end += 1;
    const point = pattern[end];
    if (point === undefined) throw new BuiltinError('trailing backslash');
    points.add(point);
    end += 1;
  }
  if (end >= pattern.length || points.size === 0) throw new BuiltinError('could not parse range');
  return { end, admits: (point) => points.has(point) !== isNegated };
}
