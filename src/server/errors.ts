import { channel } from 'node:diagnostics_channel';
import { Code, ConnectError } from '@connectrpc/connect';
import { ApprovalPending, POLL_SECONDS } from '../delegation/approval.ts';
import { ExchangeRefused } from '../delegation/refused.ts';
import { describe, type ErrorCode, ServiceError } from '../errors.ts';
import { ExchangeRefusalSchema } from '../gen/mandate/v1/delegation_pb.ts';
import { decisionOf, proto, reasonMessage } from './connect/messages.ts';

/** Published for every error that a caller is told of: {error, where}. Telemetry logs its cause. */
export const errorChannel = channel('mandate:error');

interface Form {
  readonly http: number;
  readonly grpc: Code;
  /** RFC 6749 section 5.2, RFC 8693 section 2.2.2. */
  readonly oauth: string;
}

const form = (http: number, grpc: Code, oauth = 'invalid_request'): Form => ({ http, grpc, oauth });

/** The one place where the core's codes become a protocol's. */
export const errorForms = {
  invalid_request: form(400, Code.InvalidArgument),
  invalid_scope: form(400, Code.InvalidArgument, 'invalid_scope'),
  invalid_target: form(400, Code.InvalidArgument, 'invalid_target'),
  invalid_authorization_details: form(400, Code.InvalidArgument, 'invalid_authorization_details'),
  unsupported_grant_type: form(400, Code.InvalidArgument, 'unsupported_grant_type'),
  unsupported_token_type: form(400, Code.InvalidArgument),
  unsupported_media_type: form(415, Code.InvalidArgument),
  method_not_allowed: form(405, Code.Unimplemented),
  payload_too_large: form(413, Code.ResourceExhausted),
  not_found: form(404, Code.NotFound),
  gone: form(410, Code.NotFound),
  conflict: form(409, Code.Aborted),
  log_refused: form(409, Code.FailedPrecondition),
  unauthenticated: form(401, Code.Unauthenticated, 'invalid_client'),
  permission_denied: form(403, Code.PermissionDenied, 'unauthorized_client'),
  tenant_unknown: form(404, Code.NotFound),
  tenant_killed: form(403, Code.PermissionDenied),
  principal_unknown: form(404, Code.NotFound),
  principal_disabled: form(403, Code.PermissionDenied),
  principal_class_unknown: form(400, Code.InvalidArgument),
  managed_by_manifest: form(409, Code.FailedPrecondition),
  token_invalid: form(400, Code.InvalidArgument),
  token_expired: form(400, Code.InvalidArgument),
  token_revoked: form(400, Code.InvalidArgument),
  audience_mismatch: form(403, Code.PermissionDenied),
  usage_unclear: form(403, Code.PermissionDenied),
  usage_exceeded: form(403, Code.PermissionDenied),
  dpop_invalid: form(400, Code.InvalidArgument, 'invalid_dpop_proof'),
  dpop_nonce_required: form(400, Code.InvalidArgument, 'use_dpop_nonce'),
  certificate_invalid: form(400, Code.InvalidArgument),
  exchange_denied: form(400, Code.PermissionDenied),
  insufficient_user_authentication: form(400, Code.PermissionDenied, 'insufficient_user_authentication'),
  challenge_required: form(400, Code.PermissionDenied),
  not_requestable: form(400, Code.FailedPrecondition),
  denial_unbound: form(400, Code.InvalidArgument),
  denial_expired: form(410, Code.FailedPrecondition),
  authorization_pending: form(400, Code.FailedPrecondition, 'authorization_pending'),
  slow_down: form(400, Code.ResourceExhausted, 'slow_down'),
  approval_expired: form(400, Code.FailedPrecondition, 'expired_token'),
  approval_rejected: form(400, Code.PermissionDenied, 'access_denied'),
  approval_invalid: form(400, Code.InvalidArgument, 'invalid_grant'),
  approval_settled: form(409, Code.FailedPrecondition),
  duplicate_request: form(409, Code.AlreadyExists),
  policy_invalid: form(400, Code.FailedPrecondition),
  policy_undefined: form(503, Code.FailedPrecondition, 'temporarily_unavailable'),
  policy_failed: form(500, Code.Internal, 'server_error'),
  policy_memory_exceeded: form(500, Code.ResourceExhausted, 'server_error'),
  plan_unsupported: form(422, Code.FailedPrecondition),
  deadline_exceeded: form(504, Code.DeadlineExceeded, 'temporarily_unavailable'),
  cancelled: form(499, Code.Canceled),
  resource_exhausted: form(429, Code.ResourceExhausted, 'temporarily_unavailable'),
  audit_unavailable: form(503, Code.Unavailable, 'temporarily_unavailable'),
  state_stale: form(503, Code.Unavailable, 'temporarily_unavailable'),
  unavailable: form(503, Code.Unavailable, 'temporarily_unavailable'),
  config_invalid: form(500, Code.Internal, 'server_error'),
  storage_unsupported: form(500, Code.Internal, 'server_error'),
  unimplemented: form(501, Code.Unimplemented),
  internal: form(500, Code.Internal, 'server_error'),
} as const satisfies Record<ErrorCode, Form>;

/** The header, metadata entry or trailer that carries the stable code where a protocol has a code of its own. */
export const ERROR_CODE_HEADER = 'mandate-error-code';

/**
 * Anything thrown, as an error a caller may see; reported with its cause, unless there is no caller any more. What is
 * unknown is internal, never a 400.
 */
export function toServiceError(error: unknown, where: string): ServiceError {
  const known =
    error instanceof ServiceError
      ? error
      : new ServiceError('internal', 'something went wrong here; the operator finds it in the log', {
          cause: error,
          detail: describe(error),
        });
  if (known.code !== 'cancelled' && errorChannel.hasSubscribers)
    errorChannel.publish({ error: known, where });
  return known;
}

export function toConnectError(error: unknown, where: string): ConnectError {
  if (error instanceof ConnectError) return error;
  const known = toServiceError(error, where);
  const metadata = new Headers({ ...known.fields, [ERROR_CODE_HEADER]: known.code });
  if (known.retryAfterMs !== undefined) {
    // The hint as Connect's clients read it, over HTTP, and as gRPC's do.
    metadata.set('retry-after', String(Math.ceil(known.retryAfterMs / 1000)));
    metadata.set('grpc-retry-pushback-ms', String(known.retryAfterMs));
  }
  const details = known instanceof ExchangeRefused ? [refusalDetail(known)] : [];
  return new ConnectError(`${known.code}: ${known.message}`, errorForms[known.code].grpc, metadata, details);
}

/** Of JSON, in characters, each. Beside a challenge, which is whole, clients take so much in headers. */
const MAX_REASONS = 2_048;
const MAX_OBLIGATIONS = 2_048;

/** All that the policy said, as far as a header holds it. */
function refusalDetail(refused: ExchangeRefused) {
  const { decided, decisionId, recordIndex } = refused;
  const { reasons, challenge, obligations } = decided;
  const value = {
    decision: decisionOf[decided.outcome],
    reasons: fitting(reasons, MAX_REASONS).map(reasonMessage),
    ...(challenge ? { challenge: proto(challenge) } : {}),
    decisionId,
    policyRevision: decided.revision,
    recordIndex: BigInt(recordIndex),
    obligations: fitting(obligations, MAX_OBLIGATIONS).map(proto),
    ...(refused instanceof ApprovalPending && {
      approval: refused.approvalId,
      approvalExpiresInSeconds: refused.expiresIn,
      approvalIntervalSeconds: POLL_SECONDS,
    }),
  };
  return { desc: ExchangeRefusalSchema, value };
}

/** The first of them, as many as fit. */
function fitting<T>(items: readonly T[], most: number): readonly T[] {
  let length = 0;
  const at = items.findIndex((item) => (length += JSON.stringify(item).length) > most);
  return at < 0 ? items : items.slice(0, at);
}

/** What the Connect library finds wrong itself, before a service is asked, or says by Connect's own codes. */
const libraryCodes: Readonly<Partial<Record<Code, ErrorCode>>> = {
  [Code.InvalidArgument]: 'invalid_request',
  [Code.OutOfRange]: 'invalid_request',
  [Code.NotFound]: 'not_found',
  [Code.ResourceExhausted]: 'payload_too_large',
  [Code.DeadlineExceeded]: 'deadline_exceeded',
  [Code.Canceled]: 'cancelled',
  [Code.Aborted]: 'cancelled',
  [Code.Unimplemented]: 'unimplemented',
  [Code.Unavailable]: 'unavailable',
};

/**
 * Gives an error of the Connect library's own its stable code, in place, as the library is about to send it. Bytes that
 * are no message are the caller's mistake, which the library calls internal.
 */
export function nameLibraryError(error: unknown, where: string): void {
  if (!(error instanceof ConnectError) || error.metadata.has(ERROR_CODE_HEADER)) return;
  const isMalformed = error.rawMessage.startsWith('parse binary: ');
  const code = isMalformed ? 'invalid_request' : (libraryCodes[error.code] ?? 'internal');
  const known = new ServiceError(code, error.rawMessage, { cause: error.cause });
  error.metadata.set(ERROR_CODE_HEADER, code);
  Object.assign(error, { code: errorForms[code].grpc, rawMessage: `${code}: ${error.rawMessage}` });
  // A caller that waits no longer is nobody's trouble here.
  if (code !== 'deadline_exceeded') toServiceError(known, where);
}
