import type { Builtin } from '../../engine/builtins/builtin.ts';
import { isArray } from '../../engine/values/values.ts';
import type { Bodies } from './marks.ts';

/** One call of a rule, as its marks tell it. */
interface Call {
  readonly seen: Set<string>;
  held: boolean;
}

/** Hears what marks say while tests are evaluated. */
export class Recorder {
  readonly reached = new Set<string>();
  /** Rules of which no body held in some call: there the default applied. */
  readonly fellBack = new Set<string>();
  readonly #calls = new Map<string, Call>();
  readonly #first = new Map<string, string>();
  readonly #exit = new Map<string, string>();

  constructor(bodies: ReadonlyMap<string, Bodies>) {
    for (const [rule, { firsts, exits }] of bodies) {
      for (const id of firsts) this.#first.set(id, rule);
      for (const id of exits) this.#exit.set(id, rule);
    }
  }

  /** The built-in that marks call: with what it says, and an array that is empty where it is not so. */
  readonly builtin: Builtin = ([id, known]) => {
    if (typeof id === 'string' && (!isArray(known) || known.length > 0)) this.#hear(id);
    return true;
  };

  /** Ends an evaluation: whatever was called has returned. */
  end(): void {
    for (const [rule, { held }] of this.#calls) if (!held) this.fellBack.add(rule);
    this.#calls.clear();
  }

  /** A rule is not called within itself, and each of its bodies speaks first once a call. */
  #hear(id: string): void {
    this.reached.add(id);
    const begun = this.#first.get(id);
    if (begun !== undefined) {
      const call = this.#calls.get(begun);
      if (call?.seen.has(id) && !call.held) this.fellBack.add(begun);
      if (!call || call.seen.has(id)) this.#calls.set(begun, { seen: new Set([id]), held: false });
      else call.seen.add(id);
    }
    const ended = this.#exit.get(id);
    const call = ended === undefined ? undefined : this.#calls.get(ended);
    if (call) call.held = true;
  }
}
