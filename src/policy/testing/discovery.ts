import { pathOf } from '../opa/trees.ts';
import { type Edit, Source } from './source.ts';
import type { Head, Location, Rule, Syntax, Term } from './syntax.ts';

const TEST = 'test_';
const TODO = 'todo_test_';

/** A rule that is a test, as `opa test` finds it: one test a rule, also where several have a name. */
export interface TestRule {
  /** As the parser names the file. */
  readonly location: Location;
  /** Its package, such as `data.authz_test`, as OPA writes it. */
  readonly package: string;
  /** The path of the rule in the module that is compiled, without `data`: tests of a name have others there. */
  readonly path: readonly string[];
  /** `todo_test_…` is not run. */
  readonly todo: boolean;
  /** A function is no value and cannot be asked for. */
  readonly isFunction: boolean;
  /** `test_x[case]`: passes if each of its cases does. */
  readonly cases: boolean;
}

export interface Discovered {
  readonly tests: readonly TestRule[];
  /** What gives tests of a name names of their own. */
  readonly edits: readonly Edit[];
}

/** Collects tests over the modules of a policy, as `opa test` does (v1/tester/runner.go). */
export class Discovery {
  /** By full name, how many there are. */
  readonly #seen = new Map<string, number>();

  /** @throws nothing: a test whose name cannot be changed shares it, and then differs from OPA's evaluator's */
  of(text: string, { package: { path }, rules = [] }: Syntax): Discovered {
    const source = new Source(text);
    const tests: TestRule[] = [];
    const edits: Edit[] = [];
    const prefix = pathOf(path);
    for (const rule of rules) {
      const found = testIn(rule);
      if (!found || !rule.location) continue;
      const full = [...prefix.slice(1), ...found.path];
      const times = this.#times(full);
      if (times > 0) {
        const own = `${full.at(-1)}__again_${times}`;
        const span = source.span(found.segment.location);
        if (span) {
          const isQuoted = text[span.start] === '"';
          edits.push({ ...span, text: isQuoted ? JSON.stringify(own) : own });
          full[full.length - 1] = own;
        }
      }
      const { head } = rule;
      tests.push({
        location: rule.location,
        package: packageName(path),
        path: full,
        todo: found.todo,
        isFunction: head.args !== undefined,
        cases: hasCases(head),
      });
    }
    return { tests, edits };
  }

  #times(path: readonly string[]): number {
    const name = JSON.stringify(path);
    const times = this.#seen.get(name) ?? 0;
    this.#seen.set(name, times + 1);
    return times;
  }
}

/** Whether the rule makes an object (ast.Head.DocKind): `test_x.case if …` by itself does not. */
const hasCases = ({ key, value, ref }: Head): boolean =>
  key ? value !== undefined : ref.some(({ type }, at) => at > 0 && type !== 'string');

interface Found {
  /** The reference in the head up to the part that makes it a test. */
  readonly path: readonly string[];
  readonly segment: Term;
  readonly todo: boolean;
}

function testIn({ head }: Rule): Found | undefined {
  const path: string[] = [];
  for (const [at, segment] of head.ref.entries()) {
    const { type, value } = segment;
    if (typeof value !== 'string' || (type !== 'string' && at > 0)) return undefined;
    path.push(value);
    if (value.startsWith(TEST) || value.startsWith(TODO))
      return { path, segment, todo: value.startsWith(TODO) };
  }
  return undefined;
}

const PLAIN = /^[A-Za-z_][A-Za-z0-9_]*$/;

/** A package's path as OPA prints it. */
function packageName(path: readonly Term[]): string {
  const [root = 'data', ...parts] = pathOf(path);
  return parts.reduce(
    (name, part) => name + (PLAIN.test(part) ? `.${part}` : `[${JSON.stringify(part)}]`),
    root,
  );
}
