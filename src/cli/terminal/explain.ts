import { Code, ConnectError } from '@connectrpc/connect';
import { type ErrorCode, errorCodes, ServiceError } from '../../errors.ts';
import { ExchangeRefusalSchema } from '../../gen/mandate/v1/delegation_pb.ts';
import { visible } from './visible.ts';

/** The metadata in which the server sends its stable code, beside Connect's own. */
const ERROR_CODE_HEADER = 'mandate-error-code';

/** What the server said, with its own code; or why it said nothing that this command understands. */
export function explained(error: unknown, address: string): Error {
  return (
    saidByServer(error) ??
    saidByNode(error, address) ??
    saidByConnect(error, address) ??
    (error instanceof Error ? error : new Error(String(error)))
  );
}

/** The same once an answer has begun: the address was right then. */
export const explainedMidway = (error: unknown, address: string): Error =>
  saidByServer(error) ??
  new ServiceError('unavailable', `the connection to ${address} broke off`, { cause: error });

function saidByServer(error: unknown): ServiceError | undefined {
  if (!(error instanceof ConnectError)) return undefined;
  const code = error.metadata.get(ERROR_CODE_HEADER);
  if (!isErrorCode(code)) return undefined;
  // The message repeats the code, for clients that show nothing else.
  const message = visible(error.rawMessage.replace(`${code}: `, ''));
  return new ServiceError(code, message + askedBy(error), { cause: error });
}

/** What a policy asks for first. */
function askedBy(error: ConnectError): string {
  const [refusal] = error.findDetails(ExchangeRefusalSchema);
  if (refusal?.approval)
    return `: ask again with --approval ${visible(refusal.approval)}, every ${refusal.approvalIntervalSeconds} seconds at most`;
  return refusal?.challenge ? `: ${visible(JSON.stringify(refusal.challenge))}` : '';
}

export const isErrorCode = (code: string | null | undefined): code is ErrorCode =>
  (errorCodes as readonly unknown[]).includes(code);

type Words = (address: string) => string;

const nobody: Words = (address) => `nothing answers at ${address}; is "mandate serve" running?`;
const noHost: Words = (address) => `no host has the name in ${address}`;
const cleartext: Words = (address) =>
  `no TLS is spoken at ${address}; without it the address is ${address.replace('https:', 'http:')}`;
const untrusted: Words = (address) =>
  `the certificate of ${address} is from no authority that is trusted here; set NODE_EXTRA_CA_CERTS=<ca file>`;
const otherName: Words = (address) => `the certificate at ${address} is for another name`;
const expired: Words = (address) => `the certificate of ${address} has expired`;
const noHttp2: Words = (address) => `what answers at ${address} speaks no HTTP/2, so it is not Mandate`;
const late: Words = (address) => `${address} gave no answer in time; --timeout <seconds> is how long to wait`;
const hungUp: Words = (address) =>
  `${address} ended the connection without an answer${
    address.startsWith('http:')
      ? `; if it serves TLS, the address is ${address.replace('http:', 'https:')}`
      : ''
  }`;

/** By Node's code, or OpenSSL's, of what went wrong below HTTP. */
const connectionFaults: Readonly<Record<string, Words>> = {
  ECONNREFUSED: nobody,
  EHOSTUNREACH: nobody,
  ENETUNREACH: nobody,
  ETIMEDOUT: nobody,
  ENOTFOUND: noHost,
  EAI_AGAIN: noHost,
  ECONNRESET: hungUp,
  EPIPE: hungUp,
  UND_ERR_SOCKET: hungUp,
  ERR_SSL_WRONG_VERSION_NUMBER: cleartext,
  ERR_SSL_PACKET_LENGTH_TOO_LONG: cleartext,
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: untrusted,
  UNABLE_TO_GET_ISSUER_CERT: untrusted,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: untrusted,
  SELF_SIGNED_CERT_IN_CHAIN: untrusted,
  DEPTH_ZERO_SELF_SIGNED_CERT: untrusted,
  ERR_TLS_CERT_ALTNAME_INVALID: otherName,
  CERT_HAS_EXPIRED: expired,
  ERR_HTTP2_ERROR: noHttp2,
};

function saidByNode(error: unknown, address: string): ServiceError | undefined {
  if (error instanceof DOMException && error.name === 'TimeoutError')
    return new ServiceError('deadline_exceeded', late(address), { cause: error });
  for (let each = error; each instanceof Error; each = each.cause) {
    const words = 'code' in each && typeof each.code === 'string' ? connectionFaults[each.code] : undefined;
    if (words) return new ServiceError('unavailable', words(address), { cause: error });
  }
  return undefined;
}

/** What is left has no code of the server's, so no service of Mandate was reached, or its answer was lost. */
function saidByConnect(error: unknown, address: string): Error | undefined {
  if (!(error instanceof ConnectError)) return undefined;
  switch (error.code) {
    case Code.Unimplemented:
      return new ServiceError(
        'unimplemented',
        `this service is not served at ${address}; are --data and --admin swapped?`,
        { cause: error },
      );
    case Code.DeadlineExceeded:
      return new ServiceError('deadline_exceeded', late(address), { cause: error });
    case Code.Canceled: // Cleartext to a TLS server: the stream ends before anything is said.
      return new ServiceError('unavailable', hungUp(address), { cause: error });
    default:
      return new Error(`${address}: ${visible(error.rawMessage) || Code[error.code]}`, { cause: error });
  }
}
