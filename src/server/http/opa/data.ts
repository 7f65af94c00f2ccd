import type { DataAnswer, DataQueries } from '../../../decision/data.ts';
import type { PolicyQueries } from '../../../decision/queries.ts';
import { ServiceError } from '../../../errors.ts';
import type { OpaAnswer, OpaQuestion } from '../../../policy/query/query.ts';
import type { TraceLevel } from '../../../policy/query/tracing.ts';
import type { Caller, Callers } from '../../../tenancy/callers.ts';
import type { Tenant, Tenants } from '../../../tenancy/tenants.ts';
import { presentedBy } from '../../peer.ts';
import type { HttpHandler, HttpRequest } from '../exchange.ts';
import { answered, objectOf, pathOf, refused } from './answer.ts';
import { postedObject, postedValue } from './body.ts';
import { readParameters } from './parameters.ts';

export interface DataParts {
  readonly tenants: Tenants;
  readonly callers: Callers;
  readonly data: DataQueries;
  readonly queries: PolicyQueries<OpaQuestion, OpaAnswer>;
  readonly throttle: (tenant: Tenant) => void;
  /** Of Mandate. */
  readonly version: string;
}

type Asked = { readonly tenant: Tenant; readonly caller: Caller };

async function askedBy(parts: DataParts, request: HttpRequest, id: string): Promise<Asked> {
  const tenant = parts.tenants.get(id);
  const presented = presentedBy(request.header('authorization'), request.peer);
  const caller = await parts.callers.authenticate(tenant, presented, 'check');
  parts.throttle(tenant);
  return { tenant, caller };
}

/** `/v1/data/{path}`: the input in the member `input`, or in the query of a GET. */
export const dataV1 =
  (parts: DataParts): HttpHandler =>
  async (request, { tenant: id = '', path = '' }) => {
    try {
      const began = performance.now();
      const { tenant, caller } = await askedBy(parts, request, id);
      const { pretty, provenance, metrics, explain, ...query } = readParameters(request.url, [
        ...(['pretty', 'provenance', 'metrics', 'instrument', 'explain', 'strict-builtin-errors'] as const),
        ...(request.method === 'POST' ? [] : (['input'] as const)),
      ]);
      if (explain !== undefined) mayReadPolicy(caller);
      const body = request.method === 'POST' ? await postedObject(request) : undefined;
      const input = body ? body['input'] : query.input;
      const at = pathOf(path);
      const again = parts.callers.again(tenant, caller, 'check');
      const answer = await parts.data.evaluate(again, caller, at, input);
      const explanation =
        explain === undefined ? undefined : await explained(parts, { tenant, caller }, at, input, explain);
      const elapsed = Math.round((performance.now() - began) * 1e6);
      const members = {
        decision_id: JSON.stringify(answer.decisionId),
        state_version: String(answer.stateVersion),
        explanation,
        metrics: metrics
          ? `{"timer_server_handler_ns":${elapsed},"counter_mandate_fuel":${answer.cost}}`
          : undefined,
        provenance: provenance ? provenanceOf(tenant, answer.revision, parts.version) : undefined,
        result: answer.result,
        warning: warningOf(answer, body),
      };
      return answered(objectOf(members), pretty);
    } catch (error) {
      return refused(error, request);
    }
  };

/** `/v0/data/{path}`: the body is the input, and the answer the document alone. */
export const dataV0 =
  (parts: DataParts): HttpHandler =>
  async (request, { tenant: id = '', path = '' }) => {
    try {
      const { tenant, caller } = await askedBy(parts, request, id);
      const { pretty } = readParameters(request.url, ['pretty']);
      const input = await postedValue(request);
      const at = pathOf(path);
      const again = parts.callers.again(tenant, caller, 'check');
      const { result, isDeclared } = await parts.data.evaluate(again, caller, at, input);
      if (result !== undefined) return answered(result, pretty);
      const message = `document ${isDeclared ? 'undefined' : 'missing'}: data.${at.replaceAll('/', '.')}`;
      return answered(JSON.stringify({ code: 'undefined_document', message }), true, 404);
    } catch (error) {
      return refused(error, request);
    }
  };

/** `/health`, of nobody's in particular: whether the tenant has a policy that decides. */
export const health =
  (parts: DataParts & { readonly isServed: (tenant: Tenant) => boolean }): HttpHandler =>
  async (request, { tenant: id = '' }) => {
    try {
      const tenant = parts.tenants.get(id);
      readParameters(request.url, ['bundles', 'plugins']);
      if (parts.isServed(tenant)) return answered('{}', false);
      return answered(JSON.stringify({ error: 'the tenant has no policy that compiles' }), false, 500);
    } catch (error) {
      return refused(error, request);
    }
  };

async function explained(
  parts: DataParts,
  { tenant, caller }: Asked,
  path: string,
  input: unknown,
  level: TraceLevel,
): Promise<string | undefined> {
  const query = `data${path
    .split('/')
    .map((part) => `[${/^\d{1,15}$/.test(part) ? part : JSON.stringify(part)}]`)
    .join('')}`;
  const again = parts.callers.again(tenant, caller, 'policy.read');
  const { answer } = await parts.queries.ask(again, caller, { kind: 'explain', query, input, level });
  if ('result' in answer) return answer.result;
  throw new ServiceError('policy_failed', answer.errors[0]?.message ?? 'the path cannot be explained');
}

function mayReadPolicy({ may }: Caller): void {
  if (!may.has('policy.read'))
    throw new ServiceError('permission_denied', 'explain takes the right policy.read');
}

const provenanceOf = ({ id }: Tenant, revision: string, version: string): string =>
  JSON.stringify({ version, bundles: { [id]: { revision } } });

/** OPA answers a path that is not there as one that is undefined; its own warnings have this form. */
function warningOf(
  { isDeclared }: DataAnswer,
  body: Readonly<Record<string, unknown>> | undefined,
): string | undefined {
  if (!isDeclared) return JSON.stringify(undeclared);
  return body && (body['input'] ?? null) === null ? JSON.stringify(withoutInput) : undefined;
}

const undeclared = {
  code: 'entrypoint_undeclared',
  message: 'tenant.yaml declares no such entry point (entrypoints), so it is undefined',
};

const withoutInput = { code: 'api_usage_warning', message: "'input' key missing from the request" };
