import { bounds, clipped, shown } from './bounds.ts';
import type { SeenValue } from './explanation.ts';
import { callIn, type Node, type Term, termsIn, UNTOLD, valueOf, written } from './terms.ts';
import type { TraceEvent } from './trace.ts';

type RuleValue = (path: readonly string[]) => { value: unknown; rest: readonly string[] } | undefined;

/** Tells what an expression's terms were when it was evaluated. */
export class Seen {
  readonly #input: unknown;
  readonly #data: unknown;
  readonly #ruleValue: RuleValue;
  /** What was read of an event once, which may be large. */
  readonly #locals = new WeakMap<object, unknown>();

  /** `ruleValue` answers for what rules define, by its path below `data`. */
  constructor(input: unknown, data: unknown, ruleValue: RuleValue) {
    this.#input = input;
    this.#data = data;
    this.#ruleValue = ruleValue;
  }

  /** Of an expression and what the compiler took out of it. */
  values(nodes: readonly Node[], event: TraceEvent): SeenValue[] {
    const made = madeBy(nodes);
    const name = (variable: string): string => {
      const node = made.get(variable);
      const call = node && callIn(node.terms);
      if (!node || !call) return authored(variable, event);
      // What the compiler put a name to is told by what it is.
      const own =
        call.name === 'eq' ? call.args[1] : { type: 'call', value: (node.terms as Term[]).slice(0, -1) };
      return own ? written(own, name) : variable;
    };
    const told = new Map<string, string>();
    let tries = 0;
    const tell = (of: string, value: unknown): void => {
      if (told.has(of) || value === UNTOLD) return;
      told.set(of, value === undefined ? 'undefined' : shown(value));
    };
    for (const node of nodes)
      for (const term of termsIn(node)) {
        tries += 1;
        if (told.size >= bounds.values || tries > bounds.tries) break;
        if (term.type === 'var') {
          const variable = String(term.value);
          const of = name(variable);
          if (!isOwnName(of)) tell(of, this.valueIn(term, event));
        } else tell(written(term, name), this.valueIn(term, event));
      }
    return [...told].map(([of, value]) => ({ of: clipped(of, bounds.valueCharacters), value }));
  }

  /** Paths below `data` that an expression names, functions among them. */
  *rulesIn(node: Node): Generator<readonly string[]> {
    const [operator] = Array.isArray(node.terms) ? (node.terms as Term[]) : [];
    for (const term of [...(operator ? [operator] : []), ...termsIn(node)]) {
      const path = term.type === 'ref' ? constantPath(term) : undefined;
      if (path?.[0] === 'data') yield path.slice(1);
    }
  }

  /** UNTOLD where it is not known, undefined where there is nothing. */
  valueIn(term: Term, event: TraceEvent): unknown {
    if (term.type === 'var') {
      const local = event.Locals?.find(({ name }) => name === term.value);
      if (!local) return UNTOLD;
      if (!this.#locals.has(local))
        this.#locals.set(
          local,
          valueOf(local, () => UNTOLD),
        );
      return this.#locals.get(local);
    }
    const [head, ...parts] = term.value as Term[];
    const keys = parts.map((part) => valueOf(part, (each) => this.valueIn(each, event)));
    if (!head || keys.includes(UNTOLD)) return UNTOLD;
    if (head.value === 'input') return descend(this.#input, keys);
    if (head.value === 'data') return this.#below(keys);
    const local = this.valueIn(head, event);
    return local === UNTOLD ? UNTOLD : descend(local, keys);
  }

  #below(keys: readonly unknown[]): unknown {
    const path = keys.map(String);
    const ruled = this.#ruleValue(path);
    if (!ruled) {
      const found = descend(this.#data, keys);
      return found === undefined ? UNTOLD : found;
    }
    return ruled.value === UNTOLD ? UNTOLD : descend(ruled.value, ruled.rest);
  }
}

/** Names of the compiler's own. */
const isOwnName = (name: string): boolean =>
  name.startsWith('__local') || name.startsWith('$') || name === '_';

const authored = (variable: string, { LocalMetadata: named }: TraceEvent): string =>
  named?.[variable]?.name ?? variable;

/** Which expression gives a variable of the compiler's its value. */
function madeBy(nodes: readonly Node[]): ReadonlyMap<string, Node> {
  const made = new Map<string, Node>();
  for (const node of nodes) {
    const call = node.generated ? callIn(node.terms) : undefined;
    const target = call?.name === 'eq' ? call.args[0] : call?.args.at(-1);
    if (target?.type === 'var' && !made.has(String(target.value))) made.set(String(target.value), node);
  }
  return made;
}

function constantPath({ value }: Term): string[] | undefined {
  const path: string[] = [];
  for (const [at, part] of (value as Term[]).entries()) {
    if (typeof part.value !== 'string' || (at > 0 && part.type !== 'string')) break;
    path.push(part.value);
  }
  return path;
}

function descend(value: unknown, keys: readonly unknown[]): unknown {
  let at = value;
  for (const key of keys) {
    if (Array.isArray(at))
      at = typeof key === 'number' || /^\d+$/.test(String(key)) ? at[Number(key)] : UNTOLD;
    else if (typeof at === 'object' && at !== null && Object.hasOwn(at, String(key)))
      at = (at as Record<string, unknown>)[String(key)];
    else return undefined;
    if (at === UNTOLD) return UNTOLD;
  }
  return at;
}
