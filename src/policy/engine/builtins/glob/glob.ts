import type { Value } from '../../values/values.ts';
import { array, BuiltinError, type BuiltinTable, text } from '../builtin.ts';
import { compileGlob, type Instruction } from './syntax.ts';

/** Fuel units of a character of a pattern, and of one that is taken past one instruction. */
const unitsPerCharacter = 150;
const unitsPerStep = 24;

export const globBuiltins: BuiltinTable = {
  'glob.match': ([pattern, separators, value], context) => {
    const points = pointsOf(text(pattern));
    const between = separatorsOf(separators);
    const subject = text(value);
    context.spend(points.length * unitsPerCharacter);
    const program = compileGlob(points, between);
    context.spend((subject.length + 1) * (program.length + 1) * unitsPerStep);
    return matches(program, pointsOf(subject));
  },
  'glob.quote_meta': ([pattern]) => text(pattern).replace(/[*?\\[\]{}]/g, '\\$&'),
};

function pointsOf(value: string): number[] {
  return Array.from(value, (character) => character.codePointAt(0) ?? 0);
}

/** None are none; an empty list is a dot. */
function separatorsOf(operand: Value | undefined): ReadonlySet<number> {
  if (operand === null) return new Set();
  const separators = array(operand).map((separator) => {
    const [point, ...rest] = pointsOf(text(separator));
    if (point === undefined || rest.length > 0) throw new BuiltinError('a separator is one character');
    return point;
  });
  return new Set(separators.length > 0 ? separators : [0x2e]);
}

/** All ways at once, one character after another: the time is that of the pattern times the text. */
function matches(program: readonly Instruction[], subject: readonly number[]): boolean {
  const threads = new Threads(program);
  threads.add(0);
  for (const point of subject) {
    const before = threads.take();
    if (before.length === 0) return false;
    for (const at of before) {
      const instruction = program[at];
      if (instruction?.kind === 'one' && instruction.admits(point)) threads.add(at + 1);
      else if (instruction?.kind === 'many' && instruction.admits(point)) threads.add(at);
    }
  }
  return threads.take().includes(program.length);
}

/** Where the pattern may be, each place once. */
class Threads {
  readonly #program: readonly Instruction[];
  readonly #seen: Uint32Array;
  #round = 1;
  #places: number[] = [];

  constructor(program: readonly Instruction[]) {
    this.#program = program;
    this.#seen = new Uint32Array(program.length + 1);
  }

  take(): number[] {
    const places = this.#places;
    this.#places = [];
    this.#round += 1;
    return places;
  }

  /** With all places that are reached from there without a character. */
  add(start: number): void {
    const pending = [start];
    for (let at = pending.pop(); at !== undefined; at = pending.pop()) {
      if (this.#seen[at] === this.#round) continue;
      this.#seen[at] = this.#round;
      const instruction = this.#program[at];
      if (instruction?.kind === 'jump') pending.push(instruction.target);
      else if (instruction?.kind === 'split') for (const target of instruction.targets) pending.push(target);
      else this.#places.push(at);
      if (instruction?.kind === 'many') pending.push(at + 1);
    }
  }
}
