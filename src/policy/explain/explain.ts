import { ServiceError } from '../../errors.ts';
import type { Bench, Compiler } from '../compiler.ts';
import type { Limits } from '../engine/instance.ts';
import type { Bounds } from '../opa/child.ts';
import { textsOf } from '../opa/platform.ts';
import type { PolicySources } from '../sources.ts';
import { parseAll, type Syntax } from '../testing/syntax.ts';
import { bounds } from './bounds.ts';
import { theirsOf } from './decided.ts';
import { type Asked, agreement, askEngine, type Whole } from './engine.ts';
import type { ExplainedRule, Explanation } from './explanation.ts';
import { Fold } from './fold.ts';
import { askOpa, type Traced, traceRule, UNTRACED } from './opa.ts';
import { placesOf } from './places.ts';
import type { Frame } from './trace.ts';
import { Written } from './written.ts';

export type { Asked } from './engine.ts';

const BOUNDS: Bounds = {
  totalMs: bounds.totalMs,
  runMs: bounds.runMs,
  outputBytes: bounds.traceBytes,
  memoryKib: bounds.memoryKib,
};

/** The rules of a tenant's package that have a part in an entry point's answer, the first that decides before. */
const RULES: Readonly<
  Record<string, { authors: string; rules: readonly string[]; guards: readonly string[] }>
> = {
  'mandate/decision': {
    authors: 'authz',
    rules: ['deny', 'challenge', 'allow', 'obligations', 'reasons'],
    guards: ['mandate.guardrails.denials', 'mandate.guardrails.acting_denials'],
  },
  'mandate/delegation': {
    authors: 'delegation',
    rules: ['deny', 'challenge', 'allow', 'limits', 'obligations', 'reasons'],
    guards: ['mandate.guardrails.denials'],
  },
  'mandate/approval': {
    authors: 'approval',
    rules: ['deny', 'allow', 'reasons'],
    guards: ['mandate.approve.guarded'],
  },
};

/** Entry points that can be explained. */
export const explainable = (entryPoint: string): boolean => Object.hasOwn(RULES, entryPoint);

export interface Explained extends Explanation {
  /** The entry point's value on the engine that serves, whole. */
  readonly value: unknown;
  /** What ended it there. */
  readonly failed: ServiceError | undefined;
}

/**
 * Evaluates an input again, on the engine that serves and on OPA's, and tells rule by rule why the answer is what it
 * is. Throws `policy_invalid` for sources that do not compile, `unavailable` where OPA cannot run, `invalid_request`
 * for an entry point that is not one of the platform's or an input that is no JSON.
 */
export async function explainPolicy(
  compiler: Compiler,
  sources: PolicySources,
  asked: Asked,
  limits: Limits,
): Promise<Explained> {
  const parts = RULES[asked.entryPoint];
  if (!parts) throw new ServiceError('invalid_request', `there is nothing to explain of ${asked.entryPoint}`);
  const input = parsedInput(asked.input);
  const bundle = await compiler.compile(sources);
  const engine = askEngine(bundle.wasm, bundle.data, limits, asked);
  const guards = isGuarded(engine.value) || engine.answer.code !== '' ? parts.guards : [];
  const own = parts.rules.filter((rule) => isNamed(sources, rule)).map((rule) => `${parts.authors}.${rule}`);
  return compiler.withData(sources, BOUNDS, async (bench) => {
    const theirs = await theirsOf(bench, sources, asked);
    const [opa, guarding, deciding] = await Promise.all([
      askOpa(bench, asked),
      traced(bench, asked, guards),
      theirs ? traced(bench, theirs.asked, theirs.names) : traced(bench, asked, own),
    ]);
    const traces = [...guarding, ...deciding];
    const written = await writtenIn(
      bench,
      sources,
      traces.map(({ root }) => root),
    );
    const data: unknown = JSON.parse(sources.data);
    const rules: ExplainedRule[] = [];
    for (const trace of traces) {
      const places = trace.cut === UNTRACED ? await placesOf(bench, sources, asked, trace) : undefined;
      const seen = theirs && deciding.includes(trace) ? theirs.input : input;
      rules.push(...(places ? [places] : ruleOf(trace, { written, input: seen, data })));
    }
    return {
      entryPoint: asked.entryPoint,
      revision: bundle.revision,
      engine: engine.answer,
      opa: opa.answer,
      agreement: agreement(engine, opa),
      rules,
      notes: notesOn(sources),
      value: engine.value,
      failed: engine.failure,
    };
  });
}

function parsedInput(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new ServiceError('invalid_request', 'the input is no JSON', { cause });
  }
}

/** Two at a time: each is a process. */
async function traced(bench: Bench, asked: Asked, names: readonly string[]): Promise<Traced[]> {
  const found = new Map<string, Traced>();
  const left = names.values();
  const next = async (): Promise<void> => {
    for (const name of left) found.set(name, await traceRule(bench, asked, name));
  };
  await Promise.all([next(), next()]);
  return names.flatMap((name) => found.get(name) ?? []);
}

function ruleOf(
  { rule: name, value, root, cut }: Traced,
  told: { written: Written; input: unknown; data: unknown },
): ExplainedRule[] {
  const explained = root && new Fold({ root, ...told }).rule(name, value);
  if (explained) return [cut === '' ? explained : { ...explained, cut }];
  // A rule that the tenant does not have has no part in it.
  if (cut === '') return [];
  return [{ name, isPlatform: name.startsWith('mandate.'), value, bodies: [], more: 0, cut }];
}

/** Where expressions begin and end is looked up in the files that the trace went through. */
async function writtenIn(
  bench: Bench,
  sources: PolicySources,
  roots: Iterable<Frame | undefined>,
): Promise<Written> {
  const texts = new Map<string, string>([
    ...[...textsOf(bench.platform)].map(([name, text]) => [`platform/${name}`, text] as const),
    ...[...sources.modules].map(([name, text]) => [`tenant/${name}`, text] as const),
  ]);
  const files = new Set<string>();
  for (const root of roots) if (root) filesIn(root, files);
  const syntax = new Map<string, Syntax>();
  const seen = [...files].filter((file) => texts.has(file)).slice(0, bounds.files);
  for (const file of seen) {
    // Of one whose tree is too large lines are told.
    const parsed = await parseAll([file], bench.run).catch(() => undefined);
    for (const [name, tree] of parsed ?? []) syntax.set(name, tree);
  }
  return new Written(texts, syntax);
}

function filesIn(root: Frame, files: Set<string>): void {
  const waiting = [root];
  for (let next = waiting.pop(); next; next = waiting.pop()) {
    if (next.entered.Location?.file) files.add(next.entered.Location.file);
    waiting.push(...next.children);
  }
}

const isGuarded = (value: unknown): boolean => {
  const { guarded } = (value ?? {}) as { guarded?: unknown };
  return Array.isArray(guarded) && guarded.length > 0;
};

/** Whether any of the tenant's files speaks of a rule of this name. */
const isNamed = ({ modules }: PolicySources, rule: string): boolean =>
  [...modules.values()].some((text) => text.includes(rule));

/** What OPA's evaluator has otherwise, and cannot be made to have alike. */
function notesOn({ modules }: PolicySources): string[] {
  const drawn = ['rand.intn', 'uuid.rfc4122'].filter((name) =>
    [...modules.values()].some((text) => text.includes(name)),
  );
  return drawn.length === 0
    ? []
    : [
        `${drawn.join(' and ')} draw otherwise in OPA's evaluator: values of rules that use them may not be those of the decision`,
      ];
}

/** OPA's evaluator alone. Throws `unavailable` where it cannot run. */
export const askOpaAlone = (compiler: Compiler, sources: PolicySources, asked: Asked): Promise<Whole> =>
  compiler.withData(sources, BOUNDS, (bench) => askOpa(bench, asked));
