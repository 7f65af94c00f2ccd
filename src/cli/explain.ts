import { Code, ConnectError } from '@connectrpc/connect';
import { type ErrorCode, errorCodes, ServiceError } from '../errors.ts';

/** The metadata in which the server sends its stable code, beside Connect's own. */
const ERROR_CODE_HEADER = 'mandate-error-code';

/** What the server said, with its own code; or that there is none. */
export function explained(error: unknown, address: string): Error {
  const said = saidByServer(error);
  if (said) return said;
  if (nodeCodes(error).has('ECONNREFUSED'))
    return new ServiceError('unavailable', `nothing answers at ${address}; is "mandate serve" running?`, {
      cause: error,
    });
  if (error instanceof ConnectError) return new Error(error.rawMessage || Code[error.code], { cause: error });
  return error instanceof Error ? error : new Error(String(error));
}

function saidByServer(error: unknown): ServiceError | undefined {
  if (!(error instanceof ConnectError)) return undefined;
  const code = error.metadata.get(ERROR_CODE_HEADER);
  if (!isErrorCode(code)) return undefined;
  // The message repeats the code, for clients that show nothing else.
  const message = error.rawMessage.replace(`${code}: `, '');
  return new ServiceError(code, message, { cause: error });
}

const isErrorCode = (code: string | null): code is ErrorCode =>
  (errorCodes as readonly (string | null)[]).includes(code);

/** Node's codes of an error and of what caused it. */
function nodeCodes(error: unknown): Set<string> {
  const codes = new Set<string>();
  for (let each = error; each instanceof Error; each = each.cause)
    if ('code' in each && typeof each.code === 'string') codes.add(each.code);
  return codes;
}
