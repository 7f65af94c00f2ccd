import type { Location, Syntax, Term } from '../testing/syntax.ts';
import type { Names } from './places.ts';

/** A path into `data` that leads nowhere: where the first part stands that is not there, and what would be. */
export interface Astray {
  readonly location: Location;
  /** Up to and with that part. */
  readonly path: readonly string[];
  readonly known: readonly string[];
}

/** What there is under `data`: packages with their rules, and documents. */
export class DataPaths {
  readonly #root: Place = new Map();
  readonly #documents: unknown;

  /** `documents`: the value of `data` that the data documents make. */
  constructor(documents: unknown) {
    this.#documents = documents;
  }

  /** A rule; what is below it is its own matter. `path` begins with `data`. */
  add(path: readonly string[]): void {
    let at = this.#root;
    for (const [depth, name] of path.slice(1).entries()) {
      const known = at.get(name);
      if (known === RULE) return;
      if (depth === path.length - 2) at.set(name, RULE);
      else {
        const next: Place = known ?? new Map();
        at.set(name, next);
        at = next;
      }
    }
  }

  /** Every reference of a module that leads nowhere, as far as it is constant. */
  *astray(syntax: Syntax, names: Names): Generator<Astray> {
    for (const { path } of syntax.imports ?? []) yield* this.#look(path.value as Term[], names);
    for (const ref of refsIn(syntax.rules)) yield* this.#look(ref, names);
  }

  *#look(ref: readonly Term[], names: Names): Generator<Astray> {
    const path = names.path(ref);
    if (path?.[0] !== 'data') return;
    const constant: string[] = ['data'];
    let [place, value]: [Place | undefined, unknown] = [this.#root, this.#documents];
    for (const [at, name] of path.entries()) {
      if (at === 0) continue;
      if (name === undefined || (Array.isArray(value) && !place)) return;
      constant.push(name);
      const next = place?.get(name);
      if (next === RULE) return;
      const members: Members = isMembers(value) ? value : {};
      if (!next && !Object.hasOwn(members, name)) {
        // What an import leads to is told of there.
        const part = at - (path.length - ref.length);
        const location = part > 0 ? ref[part]?.location : undefined;
        const known = [...(place?.keys() ?? []), ...Object.keys(members)];
        if (location) yield { location, path: constant, known };
        return;
      }
      [place, value] = [next, members[name]];
    }
  }
}

const RULE = Symbol('rule');
type Place = Map<string, Place | typeof RULE>;
type Members = Readonly<Record<string, unknown>>;

const isMembers = (value: unknown): value is Members =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

function* refsIn(node: unknown): Generator<readonly Term[]> {
  if (typeof node !== 'object' || node === null) return;
  const { type, value } = node as { type?: unknown; value?: unknown };
  if (type === 'ref' && Array.isArray(value)) yield value as Term[];
  for (const child of Object.values(node)) yield* refsIn(child);
}
