import { create, type JsonObject } from '@bufbuild/protobuf';
import {
  type HeaderValueOption,
  HeaderValueOptionSchema,
  type QueryParameter,
  QueryParameterSchema,
} from '../../../gen/envoy/config/core/v3/base_pb.ts';
import {
  type CheckResponse,
  CheckResponseSchema,
} from '../../../gen/envoy/service/auth/v3/external_auth_pb.ts';
import { proto } from '../messages.ts';

/** Those that Envoy's definition has: with another one it would take the whole answer for none. */
const STATUSES = /^(?:100|20[0-8]|226|30[0-578]|40\d|41[0-7]|42[1-468]|429|431|50[0-8]|51[01])$/;

/** google.rpc.Code */
const OK = 0;
const PERMISSION_DENIED = 7;

/** The policy's answer is not of the form that the plugin takes. */
export class Malformed extends Error {}

type Decision = Readonly<Record<string, unknown>>;

/** What Mandate adds to the metadata. */
export interface Recorded {
  readonly decisionId: string;
  readonly stateVersion: number;
}

export const recordedMetadata = ({ decisionId, stateVersion }: Recorded): JsonObject => ({
  decision_id: decisionId,
  state_version: stateVersion,
});

export interface Said {
  readonly allowed: boolean;
  /** Without the metadata that Mandate adds. */
  readonly response: (recorded: Recorded) => CheckResponse;
}

/**
 * What a policy for opa-envoy-plugin answers: a boolean, or an object with `allowed` and `headers`,
 * `request_headers_to_remove`, `response_headers_to_add`, `query_parameters_to_set`, `query_parameters_to_remove`,
 * `body`, `http_status`, `dynamic_metadata`. Throws `Malformed` where the plugin has an error.
 */
export function saidBy(result: unknown): Said {
  if (typeof result === 'boolean')
    return { allowed: result, response: (recorded) => plain(result, recorded) };
  if (!isObject(result)) throw new Malformed('the decision is neither a boolean nor an object');
  const { allowed } = result;
  if (typeof allowed !== 'boolean') throw new Malformed('allowed is not a boolean');
  const [headers, metadata] = [headersIn(result, 'headers'), metadataIn(result)];
  const common = (recorded: Recorded, code: number) => ({
    status: { code },
    dynamicMetadata: proto({ ...recordedMetadata(recorded), ...metadata }),
  });
  if (allowed) {
    const value = {
      headers,
      headersToRemove: namesIn(result, 'request_headers_to_remove'),
      responseHeadersToAdd: headersIn(result, 'response_headers_to_add'),
      queryParametersToRemove: namesIn(result, 'query_parameters_to_remove'),
      queryParametersToSet: parametersIn(result),
    };
    const httpResponse = { case: 'okResponse' as const, value };
    return {
      allowed,
      response: (recorded) => create(CheckResponseSchema, { ...common(recorded, OK), httpResponse }),
    };
  }
  const value = { headers, body: bodyIn(result), status: { code: statusIn(result) } };
  const httpResponse = { case: 'deniedResponse' as const, value };
  return {
    allowed,
    response: (recorded) =>
      create(CheckResponseSchema, { ...common(recorded, PERMISSION_DENIED), httpResponse }),
  };
}

/** Where the policy says nothing but whether. */
const plain = (allowed: boolean, recorded: Recorded): CheckResponse =>
  create(CheckResponseSchema, {
    status: { code: allowed ? OK : PERMISSION_DENIED },
    dynamicMetadata: proto(recordedMetadata(recorded)),
  });

const isObject = (value: unknown): value is Decision =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

function namesIn(decision: Decision, member: string): string[] {
  const { [member]: names = [] } = decision;
  if (!Array.isArray(names) || !names.every((name) => typeof name === 'string'))
    throw new Malformed(`${member} is not an array of texts`);
  return names;
}

function headersIn(decision: Decision, member: string): HeaderValueOption[] {
  const { [member]: given } = decision;
  if (given === undefined) return [];
  const all: readonly unknown[] = Array.isArray(given) ? given : [given];
  return all.flatMap((headers) =>
    pairsOf(headers, member).map(([key, value]) =>
      // How it is added is left to Envoy, as the plugin does.
      create(HeaderValueOptionSchema, { header: { key, value } }),
    ),
  );
}

const parametersIn = ({ query_parameters_to_set: given }: Decision): QueryParameter[] =>
  given === undefined
    ? []
    : pairsOf(given, 'query_parameters_to_set').map(([key, value]) =>
        create(QueryParameterSchema, { key, value }),
      );

/** A text each, or an array of texts. */
function pairsOf(given: unknown, member: string): (readonly [string, string])[] {
  if (!isObject(given)) throw new Malformed(`${member} is not an object`);
  return Object.entries(given).flatMap(([name, value]) =>
    (Array.isArray(value) ? value : [value]).map((each: unknown): readonly [string, string] => {
      if (typeof each !== 'string') throw new Malformed(`${member}: ${name.slice(0, 64)} is not a text`);
      return [name, each];
    }),
  );
}

function bodyIn({ body = '' }: Decision): string {
  if (typeof body !== 'string') throw new Malformed('body is not a text');
  return body;
}

function statusIn({ http_status: status = 403 }: Decision): number {
  if (typeof status !== 'number') throw new Malformed('http_status is no number');
  if (!STATUSES.test(String(status))) throw new Malformed(`Envoy has no HTTP status ${status}`);
  return status;
}

function metadataIn({ dynamic_metadata: metadata = {} }: Decision): JsonObject {
  if (!isObject(metadata)) throw new Malformed('dynamic_metadata is not an object');
  return metadata as JsonObject;
}
