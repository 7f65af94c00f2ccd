import type { Rule, Syntax } from '../testing/syntax.ts';
import { ambiguous } from './ambiguity.ts';
import { isSet, type Known, type Problem } from './known.ts';
import { isVar, refOf, type Term, termsIn } from './rego.ts';

/** An expression of the tenant's, and the words in it. */
export interface Place {
  readonly file: string;
  readonly line: number;
  readonly words: ReadonlySet<string>;
}

/** What the sources of a revision say that partial evaluation does not. */
export interface Analysis {
  /** Whether `deny` can be nothing but a set. */
  readonly denyIsSet: boolean;
  /** For which there is no filter, whatever is asked. */
  readonly problems: readonly Problem[];
  /** Paths of rules that may have two values for some resource. */
  readonly doubtful: readonly string[];
  readonly expressions: readonly Place[];
  /** By name and path, such as `authz.risk`. */
  readonly rules: ReadonlyMap<string, Omit<Place, 'words'>>;
}

const DECIDING = ['allow', 'deny', 'challenge', 'obligations', 'reasons'];
/** Other than the time, they give something else each time. */
const RANDOM = ['rand.intn', 'uuid.rfc4122'];
/** Of the platform's library: what depends on the resource. */
const OF_RESOURCE = new Set(['owns_resource']);

/** `modules`: by path from where the compiler runs, `tenant/…`. */
export function analyse(modules: ReadonlyMap<string, Syntax>): Analysis {
  const rules = [...modules].flatMap(([file, syntax]) => rulesOf(file.replace(/^tenant\//, ''), syntax));
  const reached = reachedFrom(
    rules.filter(({ path }) => {
      const [first = '', second = ''] = path.split('/');
      return first === 'authz' && DECIDING.includes(second);
    }),
    rules,
  );
  const { problems, doubtful } = ambiguous(reached, dependentAmong(reached));
  const deny = rules.filter(({ path }) => path === 'authz/deny' || path.startsWith('authz/deny/'));
  return {
    denyIsSet:
      deny.length > 0 &&
      deny.every(({ path, rule: { head } }) => path === 'authz/deny' && head.ref.length === 1 && isSet(head)),
    problems: [...problems, ...reached.flatMap(randomIn), ...reached.filter(replaces).map(replacing)],
    doubtful,
    expressions: reached.flatMap(({ file, rule }) => expressionsIn(file, rule)),
    rules: new Map(rules.map(({ file, line, path }) => [path.replaceAll('/', '.'), { file, line }])),
  };
}

function rulesOf(file: string, { package: of, rules = [], ...rest }: Syntax): Known[] {
  const { imports = [] } = rest;
  const imported = [...termsIn(imports)].map(({ value }) => value).filter((each) => typeof each === 'string');
  const readsResource = imports.some(
    ({ path }) => refOf(path)?.[0]?.value === 'input' && isOfResource(refOf(path) ?? []),
  );
  const parts = of.path.slice(1).map(({ value }) => String(value));
  return rules.map((rule) => {
    const { ref } = rule.head;
    const end = ref.findIndex((part, at) => at > 0 && part.type !== 'string');
    const own = ref.slice(0, end < 0 ? undefined : end).map(({ value }) => String(value));
    return {
      rule,
      file,
      line: rule.location?.row ?? 0,
      path: [...parts, ...own].join('/'),
      names: [...own, ...parts],
      words: new Set([...wordsIn(rule), ...imported]),
      takesAll: takesAllIn(rule),
      readsResource: readsResource || readsResourceIn(rule),
    };
  });
}

/** Whatever is mentioned by name, and all that mentions. More may be in it than is ever evaluated. */
function reachedFrom(roots: readonly Known[], all: readonly Known[]): readonly Known[] {
  const reached = new Set(roots);
  for (const each of reached)
    for (const other of all)
      if (each.takesAll || other.names.some((name) => each.words.has(name))) reached.add(other);
  return [...reached];
}

/** Those that may have another value for another resource. */
function dependentAmong(rules: readonly Known[]): ReadonlySet<Known> {
  const found = new Set(
    rules.filter(
      ({ rule, words, readsResource, takesAll }) =>
        rule.head.args !== undefined ||
        readsResource ||
        takesAll ||
        [...OF_RESOURCE].some((name) => words.has(name)),
    ),
  );
  for (const each of found)
    for (const other of rules) if (each.names.some((name) => other.words.has(name))) found.add(other);
  return found;
}

/** Whether `with` stands in it: what is taken out of such an expression is asked without the replacement. */
const replaces = ({ rule }: Known): boolean => JSON.stringify(rule).includes('"with":[');

const replacing = ({ file, line }: Known): Problem => ({
  file,
  line,
  message: '"with" has no counterpart in a filter',
});

function randomIn({ rule, file, line }: Known): Problem[] {
  const used = [...termsIn(rule)].map((term) =>
    refOf(term)
      ?.map(({ value }) => String(value))
      .join('.'),
  );
  return RANDOM.filter((name) => used.includes(name)).map((name) => ({
    file,
    line,
    message: `${name} gives something else each time`,
  }));
}

/** Texts and names in a tree. */
export function* wordsIn(node: unknown): Generator<string> {
  for (const { type, value } of termsIn(node))
    if ((type === 'var' || type === 'string') && typeof value === 'string') yield value;
}

/** References, and variables that are the head of none as references of one part. */
function* wholeRefsIn(node: unknown): Generator<readonly Term[]> {
  const heads = new Set<unknown>();
  for (const term of termsIn(node)) {
    const ref = refOf(term);
    if (ref) heads.add(ref[0]);
    if (ref) yield ref;
    else if (isVar(term) && !heads.has(term)) yield [term];
  }
}

const isOf = (ref: readonly Term[], root: string): boolean => isVar(ref[0]) && ref[0].value === root;

/** A reference to the data that does not say which package. */
const takesAllIn = (rule: Rule): boolean =>
  [...wholeRefsIn(rule)].some((ref) => isOf(ref, 'data') && ref[1]?.type !== 'string');

const readsResourceIn = (rule: Rule): boolean =>
  [...wholeRefsIn(rule)].some((ref) => isOf(ref, 'input') && isOfResource(ref));

/** Whether a reference to the input may be to what is not known. */
function isOfResource([, member, part]: readonly Term[]): boolean {
  if (member?.type !== 'string') return true;
  if (member.value !== 'resource') return false;
  return part?.type !== 'string' || part.value !== 'type';
}

function expressionsIn(file: string, node: unknown): Place[] {
  const found: Place[] = [];
  const walk = (each: unknown): void => {
    if (typeof each !== 'object' || each === null) return;
    const { terms, location } = each as { terms?: unknown; location?: { row: number } };
    if (terms !== undefined && location)
      found.push({ file, line: location.row, words: new Set(wordsIn(terms)) });
    for (const child of Object.values(each)) walk(child);
  };
  walk(node);
  return found;
}
