import { bounds, clipped, shown } from './bounds.ts';
import { ABOVE, type ExplainedBody, type ExplainedRule, type FailedExpression } from './explanation.ts';
import { Seen } from './seen.ts';
import { type Node, UNTOLD, valueOf } from './terms.ts';
import type { Frame, TraceEvent } from './trace.ts';
import { type OpaPlace, placed, type Written } from './written.ts';

interface Told {
  /** The outermost query. */
  readonly root: Frame;
  readonly written: Written;
  readonly input: unknown;
  readonly data: unknown;
}

/** Reads a trace as an author would: which body of a rule held, and what nothing got past in those that did not. */
export class Fold {
  readonly #written: Written;
  readonly #seen: Seen;
  readonly #byRule = new Map<string, Frame[]>();
  readonly #shown = new Set<string>();
  #rules = 0;

  constructor({ root, written, input, data }: Told) {
    this.#written = written;
    for (const frame of framesUnder(root)) {
      const name = this.#nameOf(frame);
      if (name === undefined) continue;
      const known = this.#byRule.get(name);
      if (known) known.push(frame);
      else this.#byRule.set(name, [frame]);
    }
    this.#seen = new Seen(input, data, (path) => this.#valueOfRule(path));
  }

  /** Undefined where it was not evaluated: then there is none of that name. */
  rule(name: string, value: string): ExplainedRule | undefined {
    const frames = this.#byRule.get(name);
    return frames && { ...this.#explained(name, frames, 0), value: clipped(value, bounds.valueCharacters) };
  }

  /** Such as `authz.allow`. */
  #nameOf(frame: Frame): string | undefined {
    const { rule, entered } = frame;
    if (!rule || !entered.Location) return undefined;
    const parts = (rule.head.ref ?? []).map(({ value }) => value);
    const constant = parts.findIndex((part) => typeof part !== 'string');
    const own = (constant < 0 ? parts : parts.slice(0, constant)).join('.');
    return `${this.#written.packageOf(entered.Location.file)}.${own || (rule.head.name ?? '')}`;
  }

  #explained(name: string, frames: readonly Frame[], depth: number): ExplainedRule {
    this.#rules += 1;
    const file = frames[0]?.entered.Location?.file ?? '';
    const value = this.#valueIn(frames);
    const said = value === undefined || value === UNTOLD ? '' : shown(value);
    const head = {
      name,
      isPlatform: file.startsWith('platform/'),
      value: said,
    };
    const isFunction = frames.some(({ rule }) => rule?.head.args !== undefined);
    if (!isFunction && this.#shown.has(name)) return { ...head, bodies: [], more: 0, cut: ABOVE };
    if (depth >= bounds.depth || this.#rules > bounds.rules)
      return { ...head, bodies: [], more: frames.length, cut: 'it is asked too deep to be shown' };
    if (!isFunction) this.#shown.add(name);
    const bodies = frames.slice(0, bounds.bodies).map((frame) => this.#body(frame, depth));
    return { ...head, bodies, more: frames.length - bodies.length, cut: '' };
  }

  #body(frame: Frame, depth: number): ExplainedBody {
    const place = placed(frame.entered.Location as OpaPlace);
    const isDefault = frame.rule?.default === true;
    if (frame.exitCount > 0) {
      const gave = this.#gaveBy(frame)
        .slice(0, bounds.gave)
        .map((each) => (each === UNTOLD ? '…' : shown(each)));
      const more = frame.exitCount - gave.length;
      return { ...place, held: true, isDefault, gave: more > 0 ? [...gave, `… ${more} more`] : gave };
    }
    return { ...place, held: false, isDefault, gave: [], failed: this.#failed(frame, depth) };
  }

  /** The furthest expression that any binding came to. */
  #failed(frame: Frame, depth: number): FailedExpression | undefined {
    const index = Math.max(...frame.fails.keys());
    const failure = frame.fails.get(index);
    if (!failure?.event.Location) return undefined;
    const group = groupOf(frame, index);
    const expression = this.#written.expressionAt(failure.event.Location);
    const within = frame.children.filter(({ under }) => group.has(under));
    const nodes = nodesOf(frame, group);
    const because = this.#asked(within, nodes, depth + 1);
    // Rules that are shown tell their own values.
    const told = new Set(because.map(({ name }) => `data.${name}`));
    const values = [
      ...this.#seen.values(nodes, failure.event),
      ...within.flatMap((child) => this.#valuesWithin(child)),
    ].filter(({ of }) => !told.has(of));
    return { ...expression, values: values.slice(0, bounds.values), times: failure.times, because };
  }

  /** What an `every` saw where it failed. */
  #valuesWithin(frame: Frame): ReturnType<Seen['values']> {
    if (frame.rule || frame.exitCount > 0) return [];
    const failing = frame.children.filter((child) => !child.rule && child.exitCount === 0).at(-1);
    if (failing) return this.#valuesWithin(failing);
    const failure = frame.fails.get(Math.max(...frame.fails.keys()));
    if (!failure) return [];
    const group = groupOf(frame, (failure.event.Node as Node).index ?? 0);
    return this.#seen.values(nodesOf(frame, group), failure.event);
  }

  /** The rules that an expression asked: those evaluated for it, and those it refers to that were evaluated before. */
  #asked(within: readonly Frame[], nodes: readonly Node[], depth: number): ExplainedRule[] {
    const direct = new Map<string, Frame[]>();
    for (const frame of within.flatMap(nearestRules)) {
      const name = this.#nameOf(frame);
      if (name !== undefined) direct.set(name, [...(direct.get(name) ?? []), frame]);
    }
    for (const path of nodes.flatMap((node) => [...this.#seen.rulesIn(node)])) {
      const name = this.#ruleAt(path)?.name;
      const frames = name === undefined ? undefined : this.#byRule.get(name);
      const isFunction = frames?.some(({ rule }) => rule?.head.args !== undefined);
      if (name !== undefined && frames && !isFunction && !direct.has(name)) direct.set(name, frames);
    }
    return [...direct].map(([name, frames]) => this.#explained(name, frames, depth));
  }

  /** The rule that a path below `data` leads to or through. */
  #ruleAt(path: readonly string[]): { readonly name: string; readonly rest: readonly string[] } | undefined {
    for (let length = path.length; length > 0; length -= 1) {
      const name = path.slice(0, length).join('.');
      if (this.#byRule.has(name)) return { name, rest: path.slice(length) };
    }
    return undefined;
  }

  #valueOfRule(path: readonly string[]): { value: unknown; rest: readonly string[] } | undefined {
    const found = this.#ruleAt(path);
    const frames = found && this.#byRule.get(found.name);
    return frames && { value: this.#valueIn(frames), rest: found.rest };
  }

  /** Undefined where no body held; UNTOLD where the trace does not tell. */
  #valueIn(frames: readonly Frame[]): unknown {
    const held = frames.filter(({ exitCount }) => exitCount > 0);
    if (frames.some(({ rule }) => rule?.head.key !== undefined && rule.head.value === undefined)) {
      if (held.some(({ exitCount, exits }) => exitCount > exits.length)) return UNTOLD;
      const members = held.flatMap((frame) => this.#gaveBy(frame));
      return members.includes(UNTOLD)
        ? UNTOLD
        : [...new Map(members.map((member) => [JSON.stringify(member), member])).values()];
    }
    const [first] = held;
    if (!first) return undefined;
    const { head } = first.rule ?? {};
    // A rule of an object's members, or with variables in its name.
    if (head?.key !== undefined || (head?.ref?.length ?? 1) > 1) return UNTOLD;
    return this.#gaveBy(first)[0];
  }

  #gaveBy({ rule, exits }: Frame): unknown[] {
    const { key, value } = rule?.head ?? {};
    const of = (event: TraceEvent, term: unknown): unknown =>
      valueOf(term, (each) => this.#seen.valueIn(each, event));
    return exits.map((event) => {
      if (key !== undefined && value !== undefined) {
        const [name, given] = [of(event, key), of(event, value)];
        return name === UNTOLD || given === UNTOLD ? UNTOLD : { [String(name)]: given };
      }
      return value === undefined && key === undefined ? true : of(event, key ?? value);
    });
  }
}

function* framesUnder(root: Frame): Generator<Frame> {
  const waiting = [root];
  for (let next = waiting.pop(); next; next = waiting.pop()) {
    yield next;
    waiting.push(...next.children.toReversed());
  }
}

/** Rules right below a query, through those that are part of an expression. */
function nearestRules(frame: Frame): Frame[] {
  return frame.rule ? [frame] : frame.children.flatMap(nearestRules);
}

/** An expression and what the compiler took out of it before. */
function groupOf(frame: Frame, index: number): ReadonlySet<number> {
  const group = new Set([index]);
  for (let before = index - 1; isGenerated(frame, before); before -= 1) group.add(before);
  return group;
}

const isGenerated = ({ evals }: Frame, index: number): boolean =>
  (evals.get(index)?.Node as Node | undefined)?.generated === true;

const nodesOf = ({ evals }: Frame, group: ReadonlySet<number>): Node[] =>
  [...group].sort((a, b) => a - b).flatMap((index) => (evals.get(index)?.Node as Node | undefined) ?? []);
