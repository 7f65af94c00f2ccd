/**
 * Every failure a caller can see has one of these codes, in every protocol.
 * Codes are part of the contract: add, never rename.
 */
export const errorCodes = [
  'invalid_request',
  'invalid_scope',
  'invalid_target',
  'invalid_authorization_details',
  'unsupported_grant_type',
  'unsupported_token_type',
  'unsupported_media_type',
  'method_not_allowed',
  'payload_too_large',
  'not_found',
  'gone',
  'conflict',
  'log_refused',
  'unauthenticated',
  'permission_denied',
  'tenant_unknown',
  'tenant_killed',
  'principal_unknown',
  'principal_disabled',
  'principal_class_unknown',
  'managed_by_manifest',
  'token_invalid',
  'token_expired',
  'token_revoked',
  'audience_mismatch',
  'usage_unclear',
  'usage_exceeded',
  'dpop_invalid',
  'dpop_nonce_required',
  'certificate_invalid',
  'exchange_denied',
  'insufficient_user_authentication',
  'challenge_required',
  'not_requestable',
  'denial_unbound',
  'denial_expired',
  'authorization_pending',
  'slow_down',
  'approval_expired',
  'approval_rejected',
  'approval_invalid',
  'approval_settled',
  'duplicate_request',
  'policy_invalid',
  'policy_undefined',
  'policy_failed',
  'policy_memory_exceeded',
  'plan_unsupported',
  'deadline_exceeded',
  'cancelled',
  'resource_exhausted',
  'audit_unavailable',
  'state_stale',
  'unavailable',
  'config_invalid',
  'storage_unsupported',
  'unimplemented',
  'internal',
] as const;

export type ErrorCode = (typeof errorCodes)[number];

/**
 * The one error type of the core. `message` is public and says what the caller can change;
 * `detail` and `cause` are for the operator's log and never leave the process.
 */
export class ServiceError extends Error {
  override readonly name = 'ServiceError';
  readonly code: ErrorCode;
  readonly detail: string | undefined;
  /** Of a policy that failed: `file:line:column` in it, for those who may read it. */
  readonly place: string | undefined;
  /** How long a caller should wait before it asks again, in milliseconds. */
  readonly retryAfterMs: number | undefined;
  /** What a caller is told beside, as fields of a header: lower-case names. */
  readonly fields: Readonly<Record<string, string>>;

  constructor(
    code: ErrorCode,
    message: string,
    options: {
      cause?: unknown;
      detail?: string;
      place?: string | undefined;
      retryAfterMs?: number;
      fields?: Readonly<Record<string, string>>;
    } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.detail = options.detail;
    this.place = options.place;
    this.retryAfterMs = options.retryAfterMs;
    this.fields = options.fields ?? {};
  }
}

/** The message of anything thrown, for an operator's eyes. */
export function describe(error: unknown): string {
  if (error instanceof ServiceError)
    return error.detail ? `${error.message}: ${error.detail}` : error.message;
  return error instanceof Error ? error.message : String(error);
}

/** A ServiceError on its way to another thread, without what cannot travel: its cause is told with its detail. */
export interface ThreadError {
  readonly code: ErrorCode;
  readonly message: string;
  readonly detail: string | undefined;
  readonly retryAfterMs: number | undefined;
}

/** Anything thrown; what is unknown is internal. */
export function toThread(error: unknown): ThreadError {
  const known =
    error instanceof ServiceError
      ? error
      : new ServiceError('internal', 'something went wrong here; the operator finds it in the log', {
          cause: error,
        });
  const cause = known.cause === undefined ? '' : describe(known.cause);
  const detail = [known.detail, cause].filter((each) => each !== undefined && each !== '').join(': ');
  const { code, message, retryAfterMs } = known;
  return { code, message, retryAfterMs, detail: detail === '' ? undefined : detail };
}

export function ofThread({ code, message, detail, retryAfterMs }: ThreadError): ServiceError {
  return new ServiceError(code, message, {
    ...(detail === undefined ? {} : { detail }),
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
  });
}
