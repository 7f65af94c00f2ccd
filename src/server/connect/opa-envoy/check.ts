import { create } from '@bufbuild/protobuf';
import type { DataQueries } from '../../../decision/data.ts';
import { ServiceError } from '../../../errors.ts';
import {
  type CheckRequest,
  type CheckResponse,
  CheckResponseSchema,
} from '../../../gen/envoy/service/auth/v3/external_auth_pb.ts';
import type { Caller } from '../../../tenancy/callers.ts';
import type { Tenant } from '../../../tenancy/tenants.ts';
import { proto } from '../messages.ts';
import { Unreadable } from './escaped.ts';
import { opaInput, secretsIn } from './input.ts';
import { Malformed, type Recorded, recordedMetadata, type Said, saidBy } from './response.ts';

const PERMISSION_DENIED = 7;

/**
 * Asks a policy that was written for opa-envoy-plugin, on that plugin's input and without guardrails. Undefined, malformed
 * and failed are denies; all are recorded, without the credentials in the request's headers. Throws `invalid_request`
 * where the request cannot be read.
 */
export async function opaEnvoyCheck(
  data: Pick<DataQueries, 'ask'>,
  tenant: Tenant,
  caller: Caller,
  entryPoint: string,
  request: CheckRequest,
): Promise<CheckResponse> {
  let said: Said | undefined;
  const answer = await data.ask(tenant, caller, entryPoint, inputOf(request), {
    keptOut: secretsIn(request),
    read: (result) => {
      if (result === undefined) return { outcome: 'deny' };
      try {
        // Numbers are statuses alone, which are exact.
        said = saidBy(JSON.parse(result));
        return { outcome: said.allowed ? 'allow' : 'deny' };
      } catch (error) {
        if (!(error instanceof Malformed)) throw error;
        return { outcome: 'deny', failure: new ServiceError('policy_failed', error.message) };
      }
    },
  });
  return said && !answer.failure
    ? said.response(answer)
    : refused(answer, answer.failure?.code ?? 'policy_undefined');
}

function inputOf(request: CheckRequest): unknown {
  try {
    return opaInput(request);
  } catch (error) {
    if (error instanceof Unreadable) throw new ServiceError('invalid_request', error.message);
    throw error;
  }
}

const refused = (recorded: Recorded, code: string): CheckResponse =>
  create(CheckResponseSchema, {
    status: { code: PERMISSION_DENIED, message: code },
    httpResponse: {
      case: 'deniedResponse',
      value: {
        status: { code: 403 },
        body: JSON.stringify({ error: code, decision_id: recorded.decisionId }),
      },
    },
    dynamicMetadata: proto(recordedMetadata(recorded)),
  });
