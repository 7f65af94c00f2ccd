import { bytesOf } from '../../values/utf8.ts';
import type { RegoObject, Value } from '../../values/values.ts';
import {
  type BuiltinContext,
  BuiltinError,
  type BuiltinTable,
  int64In,
  members,
  number,
  object,
  text,
} from '../builtin.ts';
import { decodeBase64 } from '../data/base64.ts';
import { type Certificate, parseCertificate, parseCertificates } from './certificate.ts';
import { type Purpose, verifyChain } from './chains.ts';
import { decodePem } from './pem.ts';
import { type PrivateKey, parsePkcs1, parsePkcs8, parseSec1 } from './privatekeys.ts';
import { parseRequest } from './requests.ts';
import { bytes, certificateValue, extendedValue, struct } from './shape.ts';

const unitsPerByte = 40;
const begin = '-----BEGIN';

/** Certificates, requests and keys, read by what Go's crypto/x509 takes for such; signatures are checked by OpenSSL. */
export const x509Builtins: BuiltinTable = {
  'crypto.x509.parse_certificates': ([input], context) =>
    certificatesIn(text(input), context).map(extendedValue),
  'crypto.x509.parse_and_verify_certificates': ([input], context) => {
    const chain = chainOf(text(input), { name: '', now: nanoseconds(context), usages: [] }, context);
    return [chain.length > 0, chain.map(extendedValue)];
  },
  'crypto.x509.parse_and_verify_certificates_with_options': ([input, options], context) => {
    const value = text(input);
    const given = object(options);
    const certificates = attempt(() => certificatesIn(value, context));
    if (!certificates) return [false, []];
    const purpose = purposeOf(given, context);
    const chain = attempt(() => verifyChain(certificates, purpose, context)) ?? [];
    return [chain.length > 0, chain.map(certificateValue)];
  },
  'crypto.x509.parse_certificate_request': ([input], context) => {
    const value = text(input);
    context.spend(value.length * unitsPerByte);
    const data = value.startsWith('-----BEGIN CERTIFICATE REQUEST-----')
      ? bytesOf(value)
      : decodeBase64(value);
    const block = decodePem(data.toString('latin1'));
    if (block && block.type !== 'CERTIFICATE REQUEST') throw new BuiltinError('not a request');
    return parseRequest(block?.bytes ?? data, context);
  },
  'crypto.x509.parse_keypair': ([certificate, key], context) =>
    keyPair(pemOf(text(certificate), 'CERTIFICATE'), pemOf(text(key), 'PRIVATE KEY'), context),
  'crypto.x509.parse_rsa_private_key': ([input], context) => {
    const value = text(input);
    if (value === '') throw new BuiltinError('input PEM data was empty');
    const pem = value.startsWith(begin) ? value : decodeBase64(value).toString('latin1');
    const [first] = privateKeysIn(pem, context);
    if (!first) return null;
    if (first.jwk === undefined) throw new BuiltinError('not a key that a JWK can be made of');
    return first.jwk;
  },
  'crypto.parse_private_keys': ([input], context) =>
    text(input) === '' ? null : privateKeysIn(text(input), context).map(({ value }) => value),
};

const nanoseconds = ({ nowMs }: BuiltinContext): bigint => BigInt(Math.floor(nowMs)) * 1_000_000n;

function attempt<T>(work: () => T): T | undefined {
  try {
    return work();
  } catch (error) {
    if (error instanceof BuiltinError) return undefined;
    throw error;
  }
}

/** PEM, DER in base64, or PEM in base64. */
function certificatesIn(value: string, context: BuiltinContext): Certificate[] {
  context.spend(value.length * unitsPerByte);
  const data = value.startsWith(begin) ? bytesOf(value) : decodeBase64(value);
  const latin = data.toString('latin1');
  if (!latin.startsWith(begin)) return parseCertificates(data, context);
  const blocks: Buffer[] = [];
  for (let block = decodePem(latin); block; block = decodePem(block.rest)) {
    context.spend(block.rest.length);
    if (block.type !== 'CERTIFICATE') throw new BuiltinError('not a certificate');
    blocks.push(block.bytes);
  }
  return parseCertificates(Buffer.concat(blocks), context);
}

function chainOf(value: string, purpose: Purpose, context: BuiltinContext): readonly Certificate[] {
  return attempt(() => verifyChain(certificatesIn(value, context), purpose, context)) ?? [];
}

const usageNames = (
  'Any ServerAuth ClientAuth CodeSigning EmailProtection IPSECEndSystem IPSECTunnel IPSECUser TimeStamping ' +
  'OCSPSigning MicrosoftServerGatedCrypto NetscapeServerGatedCrypto MicrosoftCommercialCodeSigning ' +
  'MicrosoftKernelCodeSigning'
)
  .split(' ')
  .map((name) => `KeyUsage${name}`);

const unquoted = (value: string): string => value.replace(/^"+|"+$/g, '');

/** What is no text is no option's name, and what is not known is a mistake. */
function purposeOf(options: RegoObject, context: BuiltinContext): Purpose {
  const purpose = { name: '', now: nanoseconds(context), usages: [] as number[] };
  for (const [name, value] of options.entries()) {
    if (typeof name !== 'string') continue;
    if (name === 'DNSName') purpose.name = unquoted(text(value));
    else if (name === 'CurrentTime') purpose.now = integer(value) || purpose.now;
    else if (name === 'MaxConstraintComparisons') integer(value);
    else if (name === 'KeyUsages') purpose.usages = usagesOf(value);
    else throw new BuiltinError('invalid key option');
  }
  return purpose;
}

function integer(value: Value): bigint {
  const result = int64In(number(value));
  if (result === undefined) throw new BuiltinError('not an integer of 64 bits');
  return result;
}

function usagesOf(value: Value): number[] {
  return members(value).flatMap((member) => {
    if (typeof member !== 'string') return [];
    const usage = usageNames.indexOf(unquoted(member));
    if (usage < 0) throw new BuiltinError('not a key usage');
    return [usage];
  });
}

/** What is no PEM is base64 of it, or of DER. @returns bytes, a character each */
function pemOf(value: string, type: string): string {
  const latin = value.startsWith(`${begin} `)
    ? bytesOf(value).toString('latin1')
    : decodeBase64(value).toString('latin1');
  if (latin.startsWith(begin)) return latin;
  return `-----BEGIN ${type}-----\n${Buffer.from(latin, 'latin1').toString('base64')}\n-----END ${type}-----\n`;
}

/** Go's tls.X509KeyPair: the key must be that of the first certificate. */
function keyPair(certificatePem: string, keyPem: string, context: BuiltinContext): Value {
  context.spend((certificatePem.length + keyPem.length) * unitsPerByte);
  const certificates: Buffer[] = [];
  for (let block = decodePem(certificatePem); block; block = decodePem(block.rest))
    if (block.type === 'CERTIFICATE') certificates.push(block.bytes);
  const [first] = certificates;
  if (!first) throw new BuiltinError('no certificate');
  let block = decodePem(keyPem);
  while (block && !/(?:^| )PRIVATE KEY$/.test(block.type)) block = decodePem(block.rest);
  if (!block) throw new BuiltinError('no private key');
  const leaf = parseCertificate(first, context);
  if (leaf.raw.length !== first.length) throw new BuiltinError('trailing data');
  const key = anyPrivateKey(block.bytes, context);
  const type = [undefined, 'RSA', undefined, 'EC', 'Ed25519'][leaf.publicKey.algorithm];
  const isSame =
    type === key.type &&
    struct({ k: key.publicValue }).identity === struct({ k: leaf.publicKey.value }).identity;
  if (!isSame) throw new BuiltinError('private key does not match public key');
  return struct({
    Certificate: certificates.map(bytes),
    PrivateKey: key.value,
    SupportedSignatureAlgorithms: null,
    OCSPStaple: null,
    SignedCertificateTimestamps: null,
    Leaf: certificateValue(leaf),
  });
}

function anyPrivateKey(der: Buffer, context: BuiltinContext): PrivateKey {
  const key =
    attempt(() => parsePkcs1(der, context)) ??
    attempt(() => parsePkcs8(der, context)) ??
    attempt(() => parseSec1(der, context));
  if (!key || key.type === 'X25519') throw new BuiltinError('not a private key');
  return key;
}

const parsers: Readonly<Record<string, (der: Buffer, context: BuiltinContext) => PrivateKey>> = {
  'RSA PRIVATE KEY': parsePkcs1,
  'PRIVATE KEY': parsePkcs8,
  'EC PRIVATE KEY': parseSec1,
};

/** Blocks of other types are left out. */
function privateKeysIn(value: string, context: BuiltinContext): PrivateKey[] {
  context.spend(value.length * unitsPerByte);
  const decoded = attempt(() => decodeBase64(value));
  const keys: PrivateKey[] = [];
  const pem = (decoded ?? bytesOf(value)).toString('latin1');
  for (let block = decodePem(pem); block; block = decodePem(block.rest)) {
    context.spend(block.rest.length);
    const parser = Object.hasOwn(parsers, block.type) ? parsers[block.type] : undefined;
    if (parser) keys.push(parser(block.bytes, context));
  }
  return keys;
}
