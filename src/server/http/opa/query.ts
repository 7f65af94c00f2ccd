import { ServiceError } from '../../../errors.ts';
import type { OpaQuestion } from '../../../policy/query/query.ts';
import { presentedBy } from '../../peer.ts';
import type { HttpHandler, HttpRequest } from '../exchange.ts';
import { answered, objectOf, refused } from './answer.ts';
import { postedObject } from './body.ts';
import type { DataParts } from './data.ts';
import { type Parameters, readParameters } from './parameters.ts';

type Body = Readonly<Record<string, unknown>>;

const RIGHT = 'policy.read';
const MAX_REFS = 64;

/** `/v1/query` and `/v1/compile`, for whoever may read the policy: OPA's evaluator answers, beside what decides. */
const queryOf =
  (
    parts: DataParts,
    read: (request: HttpRequest, parameters: Parameters) => Promise<OpaQuestion>,
  ): HttpHandler =>
  async (request, { tenant: id = '' }) => {
    try {
      const tenant = parts.tenants.get(id);
      const presented = presentedBy(request.header('authorization'), request.peer);
      const caller = await parts.callers.authenticate(tenant, presented, RIGHT);
      parts.throttle(tenant);
      const parameters = readParameters(request.url, request.method === 'GET' ? ['q', 'pretty'] : ['pretty']);
      const question = await read(request, parameters);
      const again = parts.callers.again(tenant, caller, RIGHT);
      const { answer } = await parts.queries.ask(again, caller, question);
      if ('result' in answer) return answered(objectOf({ result: answer.result }), parameters.pretty);
      const [first] = answer.errors;
      const isOurs = first?.code?.startsWith('eval_') === true;
      const told = {
        code: isOurs ? 'policy_failed' : 'invalid_request',
        message: `error(s) occurred while ${isOurs ? 'evaluating' : 'compiling'} query`,
        errors: answer.errors,
      };
      return answered(JSON.stringify(told), true, isOurs ? 500 : 400);
    } catch (error) {
      return refused(error, request);
    }
  };

export const queryV1 = (parts: DataParts): HttpHandler =>
  queryOf(parts, async (request, { q }) => {
    if (request.method === 'GET') return { kind: 'query', query: textIn({ q }, 'q'), input: undefined };
    const body = await postedObject(request);
    checkMembers(body, ['query', 'input']);
    return { kind: 'query', query: textIn(body, 'query'), input: body['input'] };
  });

export const compileV1 = (parts: DataParts): HttpHandler =>
  queryOf(parts, async (request) => {
    const body = await postedObject(request);
    checkMembers(body, ['query', 'input', 'unknowns', 'options']);
    const options = body['options'] ?? {};
    if (typeof options !== 'object' || Array.isArray(options))
      throw new ServiceError('invalid_request', 'options is an object');
    checkMembers(options as Body, ['disableInlining']);
    return {
      kind: 'compile',
      query: textIn(body, 'query'),
      input: body['input'],
      unknowns: refsIn(body, 'unknowns') ?? ['input'],
      disableInlining: refsIn(options as Body, 'disableInlining') ?? [],
    };
  });

function textIn(body: Body, name: string): string {
  const value = body[name];
  if (typeof value === 'string' && value.trim() !== '') return value;
  throw new ServiceError('invalid_request', `${name} is a query, as text`);
}

/** They are arguments of a process: a reference by names and texts, and nothing else. */
const REF = /^(?:input|data)(?:\.[A-Za-z_]\w*|\["[\w ./:@-]*"\])*$/;

function refsIn(body: Body, name: string): string[] | undefined {
  const value = body[name] ?? undefined;
  if (value === undefined) return undefined;
  if (!Array.isArray(value) || value.length > MAX_REFS)
    throw new ServiceError('invalid_request', `${name} is a list of at most ${MAX_REFS} references`);
  return value.map((each) => {
    if (typeof each === 'string' && each.length <= 256 && REF.test(each)) return each;
    throw new ServiceError('invalid_request', `${name} holds references such as input.resource`);
  });
}

function checkMembers(body: Body, taken: readonly string[]): void {
  for (const name of Object.keys(body))
    if (!taken.includes(name))
      throw new ServiceError('invalid_request', `the member ${name.slice(0, 64)} is not answered here`);
}
