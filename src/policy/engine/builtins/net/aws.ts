import { createHash, createHmac } from 'node:crypto';
import { bytesOf } from '../../values/utf8.ts';
import { compareText, RegoObject, type Value } from '../../values/values.ts';
import {
  type BuiltinContext,
  BuiltinError,
  type BuiltinTable,
  int64In,
  number,
  object,
  text,
} from '../builtin.ts';
import { marshalJson } from '../data/json.ts';
import { escapedPath, parseUrl } from './urls.ts';

/** The keys and the time are arguments, so the signature is a function of them alone: nothing is asked of AWS. */
export const awsBuiltins: BuiltinTable = {
  'providers.aws.sign_req': ([request, config, time], context) =>
    signRequest(object(request), object(config), int64In(number(time)), context),
};

/** Fuel units of a signature (a dozen digests), of a header, and of a byte, which is copied, sorted and hashed. */
const unitsPerSignature = 60_000;
const unitsPerHeader = 1_500;
const unitsPerByte = 24;

/** What OPA's http.send takes; any other member is a mistake. */
const requestMembers = new Set(
  (
    'method url body enable_redirect force_json_decode force_yaml_decode headers raw_body tls_use_system_certs ' +
    'tls_ca_cert tls_ca_cert_file tls_ca_cert_env_variable tls_client_cert tls_client_cert_file ' +
    'tls_client_cert_env_variable tls_client_key tls_client_key_file tls_client_key_env_variable ' +
    'tls_insecure_skip_verify tls_server_name timeout cache force_cache force_cache_duration_seconds raise_error ' +
    'caching_mode max_retry_attempts cache_ignored_headers'
  ).split(' '),
);

/** Headers that whoever stands between may change are not signed. */
const unsigned = new Set(['authorization', 'user-agent', 'x-amzn-trace-id']);

/** AWS Signature Version 4. Undefined time: no integer of 64 bits. */
function signRequest(
  request: RegoObject,
  config: RegoObject,
  time: bigint | undefined,
  context: BuiltinContext,
): Value {
  const [service, accessKey, secretKey, region] = [
    'aws_service',
    'aws_access_key',
    'aws_secret_access_key',
    'aws_region',
  ].map((name) => text(config.get(name))) as [string, string, string, string];
  if (time === undefined) throw new BuiltinError('not a time');
  for (const [name] of request.entries())
    if (typeof name !== 'string' || !requestMembers.has(name))
      throw new BuiltinError('not a member of a request');
  const method = text(request.get('method'));
  const address = parseUrl(text(request.get('url')), context);
  const headers = headersOf(request.get('headers'), context);
  const body = bodyOf(request, context);
  const isUnsigned = config.get('disable_payload_signing') ?? false;
  if (typeof isUnsigned !== 'boolean') throw new BuiltinError('disable_payload_signing is no boolean');
  const token = config.get('aws_session_token');

  context.spend(unitsPerSignature + (body.length + address.rawPath.length) * unitsPerByte);
  const contentHash = isUnsigned ? 'UNSIGNED-PAYLOAD' : sha256(body);
  const stamp = stampOf(time);
  const added = new Map<string, string>([
    ['host', address.host],
    ['x-amz-date', stamp],
  ]);
  if (service === 's3' || service === 'glacier') added.set('x-amz-content-sha256', contentHash);
  if (typeof token === 'string' && token !== '') added.set('x-amz-security-token', token);
  const signed = new Map(added);
  for (const [name, value] of headers)
    if (!unsigned.has(name.toLowerCase())) signed.set(name.toLowerCase(), value);
  const names = [...signed.keys()].sort(compareText);
  const canonical = [
    method,
    escapedPath(address),
    address.rawQuery,
    ...names.map((name) => `${name}:${signed.get(name)}`),
    '',
    names.join(';'),
    contentHash,
  ].join('\n');

  const day = stamp.slice(0, 8);
  const scope = `${day}/${region}/${service}/aws4_request`;
  const key = [day, region, service, 'aws4_request'].reduce(
    (derived, part) => mac(part, derived),
    bytesOf(`AWS4${secretKey}`),
  );
  const signature = mac(`AWS4-HMAC-SHA256\n${stamp}\n${scope}\n${sha256(bytesOf(canonical))}`, key).toString(
    'hex',
  );
  const authorization = `AWS4-HMAC-SHA256 Credential=${accessKey}/${scope},SignedHeaders=${names.join(';')},Signature=${signature}`;
  const result = request.copy();
  result.set('headers', new RegoObject([...headers, ['Authorization', authorization], ...added]));
  return result;
}

/** What is no text counts as an empty one, as in OPA. */
function headersOf(value: Value | undefined, context: BuiltinContext): Map<string, string> {
  const found = value === undefined ? new RegoObject() : object(value);
  const textOr = (each: Value): string => (typeof each === 'string' ? each : '');
  return new Map(
    found.sorted().map(([name, each]) => {
      context.spend(unitsPerHeader + (textOr(name).length * 4 + textOr(each).length) * unitsPerByte);
      return [textOr(name), textOr(each)];
    }),
  );
}

function bodyOf(request: RegoObject, context: BuiltinContext): Buffer {
  const raw = request.get('raw_body');
  if (raw !== undefined) return bytesOf(typeof raw === 'string' ? raw : '');
  const body = request.get('body');
  return bytesOf(body === undefined ? '' : marshalJson(body, context));
}

/** Nanoseconds as `20060102T150405Z`. */
function stampOf(time: bigint): string {
  const milliseconds = Number(time / 1_000_000n - (time < 0n && time % 1_000_000n !== 0n ? 1n : 0n));
  return new Date(milliseconds).toISOString().replace(/[-:]|\.\d+/g, '');
}

const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');
const mac = (message: string, key: Buffer): Buffer =>
  createHmac('sha256', key).update(bytesOf(message)).digest();
