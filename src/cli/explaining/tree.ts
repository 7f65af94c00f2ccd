import type {
  EngineAnswer,
  ExplainedBody,
  ExplainedRule,
  FailedExpression,
} from '../../policy/explain/explanation.ts';
import { ABOVE } from '../../policy/explain/explanation.ts';
import { print, warn } from '../terminal/output.ts';
import { visible } from '../terminal/visible.ts';

/** An explanation as it comes of a server, or of the policy itself. */
export interface Shown {
  readonly entryPoint: string;
  readonly engine?: EngineAnswer | undefined;
  readonly opa?: EngineAnswer | undefined;
  readonly agreement: string;
  readonly rules: readonly ExplainedRule[];
  readonly notes: readonly string[];
}

/** Where it is, as editors take it, and what there is to say. */
type Line = readonly [place: string, text: string];

/** Places in a column of their own; a line without one goes on with what is above it. */
export function printTree(shown: Shown): void {
  const lines = shown.rules.flatMap((rule) => [...ofRule(rule, 0)]);
  const width = Math.max(0, ...lines.map(([place]) => place.length));
  for (const [place, text] of lines) print(`${visible(place).padEnd(width)}  ${visible(text)}`.trimEnd());
  for (const note of shown.notes) warn(`mandate: ${note}`);
  if (shown.agreement === 'differs')
    warn(
      `mandate: OPA'S EVALUATOR DISAGREES: it says ${said(shown.opa)}, the engine that serves says ${said(shown.engine)}; this is a fault of Mandate's`,
    );
  else if (shown.agreement === 'unknown')
    warn(`mandate: OPA's evaluator has no second opinion: ${said(shown.opa)}`);
}

const said = (answer: EngineAnswer | undefined): string =>
  !answer
    ? 'nothing'
    : answer.code === ''
      ? answer.result || 'undefined'
      : `${answer.code}: ${answer.message}`;

const indent = (depth: number): string => '  '.repeat(depth);

function* ofRule(rule: ExplainedRule, depth: number): Generator<Line> {
  const { name, value, bodies, more, cut } = rule;
  const first = bodies[0];
  if (cut === ABOVE) return yield ['', `${indent(depth)}${name} (${cut})`];
  const head = `${indent(depth)}${name}${value === '' ? ' is undefined' : ` = ${value}`}${cut === '' ? '' : ` (${cut})`}`;
  yield [first ? `${first.file}:${first.line}:${first.column}` : '', head];
  for (const body of bodies) yield* ofBody(body, depth + 1);
  if (more > 0) yield ['', `${indent(depth + 1)}… ${more} more`];
}

function* ofBody(body: ExplainedBody, depth: number): Generator<Line> {
  const { held, isDefault, gave, failed } = body;
  const place = `${body.file}:${body.line}:${body.column}`;
  if (held) {
    yield [place, `${indent(depth)}✓ ${isDefault ? 'by default ' : ''}${gave.join(', ')}`];
    return;
  }
  if (!failed) {
    yield [place, `${indent(depth)}✗ it was not evaluated to its end`];
    return;
  }
  yield* ofFailed(failed, depth);
}

function* ofFailed(
  { file, line, column, text, values, times, because }: FailedExpression,
  depth: number,
): Generator<Line> {
  const often = times > 1 ? ` (${times} times)` : '';
  yield [`${file}:${line}:${column}`, `${indent(depth)}✗ ${text}${often}`];
  for (const { of, value } of values) yield ['', `${indent(depth + 1)}  ${of} is ${value}`];
  for (const rule of because) yield* ofRule(rule, depth + 2);
}
