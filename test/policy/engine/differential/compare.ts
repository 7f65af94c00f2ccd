import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { type BuiltinContext, BuiltinError } from '../../../../src/policy/engine/builtins/builtin.ts';
import { typeNameOf } from '../../../../src/policy/engine/builtins/collections/values.ts';
import { marshalJson } from '../../../../src/policy/engine/builtins/data/json.ts';
import { hostBuiltins } from '../../../../src/policy/engine/builtins/index.ts';
import { parseJson } from '../../../../src/policy/engine/values/parse.ts';
import { isArray, RegoObject, toRego, type Value } from '../../../../src/policy/engine/values/values.ts';
import { opaBinary } from '../opa.ts';

const run = promisify(execFile);

export interface Call {
  readonly builtin: string;
  readonly args: readonly Value[];
}

/** A call as Rego has it. */
export function textOf({ builtin, args }: Call): string {
  return `${builtin}(${args.map(toRego).map(inAscii).join(', ')})`;
}

/** A byte order mark within a text is not allowed, and others would be lost to the eye. */
function inAscii(rego: string): string {
  return rego.replace(/[^ -~]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

/** Certificates are good now, as they are for the evaluator. */
const free: BuiltinContext = { nowMs: Date.now(), seed: '', spend: () => {} };

/** What is no UTF-8 is an escape where it is marshalled, and a character where OPA prints it. */
export const shown = (json: string): string => json.replaceAll('\\ufffd', '\ufffd');

/** What ours answers: its type and its JSON, or nothing. */
export function answerOf({ builtin, args }: Call, context: BuiltinContext = free): string {
  const implementation = hostBuiltins.get(builtin);
  if (!implementation) return 'not available';
  try {
    let result = implementation(args, context);
    if (builtin === 'to_number' && result !== undefined)
      result = hostBuiltins.get('plus')?.([result, 0], context);
    return result === undefined ? 'undefined' : `${typeNameOf(result)} ${shown(marshalJson(result, free))}`;
  } catch (error) {
    if (error instanceof BuiltinError) return 'undefined';
    return `threw ${String(error)}`;
  }
}

/** What OPA's evaluator answers to each. */
async function answersAtOnce(calls: readonly Call[]): Promise<string[]> {
  const rules = calls.map((call, index) => `r${index} = [type_name(x), x] { ${queryOf(call)} }`);
  const folder = await mkdtemp(join(tmpdir(), 'mandate-differential-'));
  try {
    const policy = join(folder, 'policy.rego');
    await writeFile(policy, `package test\n\n${rules.join('\n')}\n`);
    const { stdout } = await run(
      opaBinary,
      ['eval', '--v0-compatible', '-f', 'json', '-d', policy, 'data.test'],
      {
        maxBuffer: 2 ** 28,
      },
    );
    const values = resultOf(stdout);
    return calls.map((_, index) => {
      const pair = values.get(`r${index}`);
      const [type, result] = isArray(pair) ? pair : [];
      return typeof type === 'string' ? `${type} ${shown(marshalJson(result ?? null, free))}` : 'undefined';
    });
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** By which OPA's evaluator ends, with all that is asked with it. */
export const panic = 'panic';

/** The same of each, `panic` for what it panics for: a fault of its own, with which there is nothing to compare. */
export async function answersOfOpa(calls: readonly Call[]): Promise<string[]> {
  try {
    return await answersAtOnce(calls);
  } catch (error) {
    if (!/^panic: /m.test(String(error))) throw error;
    if (calls.length === 1) return [panic];
    const half = Math.ceil(calls.length / 2);
    return [...(await answersOfOpa(calls.slice(0, half))), ...(await answersOfOpa(calls.slice(half)))];
  }
}

/**
 * Arguments are made such as may be anything to the compiler, which would refuse the calls that are to fail. Not by a
 * function: its results are kept, and 2e0 would become the 2 that was asked for before.
 */
export function queryOf({ builtin, args }: Call): string {
  const opaque = args.map((arg) => `object.get({"v": ${inAscii(toRego(arg))}}, "v", null)`).join(', ');
  if (builtin === 'walk') return `x := [p | walk(${opaque}, p)]`;
  // The text of a number may be such as JSON does not have.
  return builtin === 'to_number' ? `x := to_number(${opaque}) + 0` : `x := ${builtin}(${opaque})`;
}

function resultOf(stdout: string): RegoObject {
  let value: Value | undefined = parseJson(stdout);
  for (const step of ['result', 0, 'expressions', 0, 'value'] as const)
    value = typeof step === 'number' ? (value as readonly Value[])[step] : (value as RegoObject).get(step);
  if (!(value instanceof RegoObject)) throw new Error('the evaluator answered no object');
  return value;
}

/** The parser of YAML here does not take the line breaks of other scripts for such, as libyaml does. */
export function isKnown(call: Call): boolean {
  // An Ed25519 key is no secret here: what is signed by one with HMAC would be signed by whoever knows the public key.
  if (call.builtin === 'io.jwt.encode_sign') return /"alg":"HS\d+".*"OKP"/.test(textOf(call));
  return call.builtin.startsWith('yaml.') && /\\u(?:0085|2028|2029|feff)/.test(textOf(call));
}

/**
 * OPA goes through the members of a schema and of a document in another order each time, so that its mistakes come in
 * any order, and of those of a schema any one is told.
 */
export function settled({ builtin }: Call, answer: string): string {
  if (builtin === 'json.verify_schema') return answer.slice(0, 'array [false'.length);
  return builtin === 'json.match_schema' ? answer.split('').sort().join('') : answer;
}
