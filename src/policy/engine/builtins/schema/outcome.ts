import { numberText, type RegoNumber } from '../../values/values.ts';
import type { BuiltinContext } from '../builtin.ts';
import type { Mistake } from './messages.ts';

/** Where in the document, from within outwards; undefined is the document. */
export type Place = { readonly name: string; readonly outer: Place } | undefined;

/** Fuel units of a mistake and of a step of its place, and per character of what is said of it. */
const unitsPerMistake = 1_500;
const unitsPerStep = 60;
const unitsPerCharacter = 4;
const unitsPerMerged = 30;
/** A power of ten is made of some twenty products. */
const unitsPerDivision = 3_000;
const squaredDigitsPerUnit = 20;

/** The mistakes in a value, and how well it fits beside: of several schemas the mistakes of the best one are told. */
export class Outcome {
  readonly mistakes: Mistake[] = [];
  score = 0;
  readonly #context: BuiltinContext;

  constructor(context: BuiltinContext) {
    this.#context = context;
  }

  get isValid(): boolean {
    return this.mistakes.length === 0;
  }

  add(type: string, place: Place, description: string): void {
    this.#push(type, this.#fieldOf(place), description);
  }

  /** Whose description begins with the field. */
  addAbout(type: string, place: Place, description: string): void {
    const field = this.#fieldOf(place);
    this.#push(type, field, `${field} ${description}`);
  }

  /** Pays for a division of numbers, whose time grows as the square of their digits, before it is done. */
  pays<T>(divide: () => T, ...numbers: readonly RegoNumber[]): T {
    const digits = numbers.reduce<number>((sum, each) => sum + numberText(each).length, 0);
    this.#context.spend(unitsPerDivision + digits ** 2 / squaredDigitsPerUnit);
    return divide();
  }

  merge(other: Outcome): void {
    this.#context.spend(other.mistakes.length * unitsPerMerged);
    for (const mistake of other.mistakes) this.mistakes.push(mistake);
    this.score += other.score;
  }

  #push(type: string, field: string, description: string): void {
    this.#context.spend(unitsPerMistake + (description.length + field.length) * unitsPerCharacter);
    this.mistakes.push({ type, field, description });
    this.score -= 2;
  }

  /** `a.0.b`, or `(Root)`. A member of that name at the beginning is left out, as in OPA. */
  #fieldOf(place: Place): string {
    const names: string[] = [];
    for (let at = place; at; at = at.outer) {
      this.#context.spend(unitsPerStep + at.name.length);
      names.push(at.name);
    }
    return names.length === 0 ? '(Root)' : names.toReversed().join('.');
  }
}
