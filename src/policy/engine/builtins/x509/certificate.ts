import type { Value } from '../../values/values.ts';
import { type BuiltinContext, BuiltinError } from '../builtin.ts';
import { constructed, context as contextTag, DerReader, integerOf, malformed, tag } from './der.ts';
import { type Extension, type Extensions, emptyExtensions, readExtensions } from './extensions.ts';
import { readName } from './names.ts';
import { type PublicKey, readPublicKey } from './publickeys.ts';
import { signatureAlgorithmOf } from './signatures.ts';
import { readTime } from './times.ts';

/** Fuel units of a certificate, and per byte of it: it is copied, and written in base64 several times. */
const unitsPerCertificate = 220_000;
const unitsPerByte = 60;

/** A certificate as Go's crypto/x509 reads it (RFC 5280 section 4.1). */
export interface Certificate {
  readonly raw: Buffer;
  readonly rawTbs: Buffer;
  readonly rawIssuer: Buffer;
  readonly rawSubject: Buffer;
  readonly rawPublicKey: Buffer;
  readonly version: number;
  readonly serialNumber: bigint;
  readonly signatureAlgorithm: number;
  readonly signature: Buffer;
  readonly issuer: Value;
  readonly subject: Value;
  /** Nanoseconds of the epoch would overflow: seconds. */
  readonly notBefore: bigint;
  readonly notAfter: bigint;
  readonly publicKey: PublicKey;
  readonly extensions: readonly Extension[];
  readonly known: Extensions;
}

/** Certificates behind one another, nothing between. @throws BuiltinError if one of them is malformed */
export function parseCertificates(der: Buffer, context: BuiltinContext): Certificate[] {
  const certificates: Certificate[] = [];
  for (let rest = der; rest.length > 0; ) {
    const certificate = parseCertificate(rest, context);
    certificates.push(certificate);
    rest = rest.subarray(certificate.raw.length);
  }
  return certificates;
}

export function parseCertificate(der: Buffer, context: BuiltinContext): Certificate {
  const { whole: raw, content } = new DerReader(der).read(tag.sequence);
  context.spend(unitsPerCertificate + raw.length * unitsPerByte);
  const outer = new DerReader(content);
  const { whole: rawTbs, content: tbs } = outer.read(tag.sequence);
  const reader = new DerReader(tbs);
  const version = readVersion(reader);
  const serialNumber = reader.integer();
  if (serialNumber < 0n) throw new BuiltinError('negative serial number');
  const algorithm = reader.read(tag.sequence).content;
  if (!algorithm.equals(outer.read(tag.sequence).content))
    throw new BuiltinError('the signature algorithms are not the same');
  const rawIssuer = reader.read(tag.sequence).whole;
  const issuer = readName(rawIssuer);
  const validity = reader.enter(tag.sequence);
  const [notBefore, notAfter] = [readTime(validity), readTime(validity)];
  const rawSubject = reader.read(tag.sequence).whole;
  const subject = readName(rawSubject);
  const rawPublicKey = reader.read(tag.sequence).whole;
  const publicKey = readPublicKey(rawPublicKey, context);
  const extensions = version > 1 ? readList(reader, version) : [];
  return {
    raw,
    rawTbs,
    rawIssuer,
    rawSubject,
    rawPublicKey,
    version,
    serialNumber,
    signatureAlgorithm: signatureAlgorithmOf(algorithm),
    signature: outer.bits(),
    issuer,
    subject,
    notBefore,
    notAfter,
    publicKey,
    extensions,
    known: extensions.length > 0 ? readExtensions(extensions, context) : emptyExtensions(),
  };
}

function readVersion(reader: DerReader): number {
  const element = reader.optional(constructed(0));
  const version = element ? new DerReader(element.content).integer() : 0n;
  if (version < 0n || version > 2n) throw new BuiltinError('invalid version');
  return Number(version) + 1;
}

function readList(reader: DerReader, version: number): Extension[] {
  reader.optional(contextTag(1));
  reader.optional(contextTag(2));
  const element = version === 3 ? reader.optional(constructed(3)) : undefined;
  if (!element) return [];
  const list = new DerReader(element.content).enter(tag.sequence);
  const extensions: Extension[] = [];
  const seen = new Set<string>();
  while (!list.isEmpty) {
    const extension = readExtension(list.enter(tag.sequence));
    if (seen.has(extension.id.join('.'))) throw new BuiltinError('an extension is there twice');
    seen.add(extension.id.join('.'));
    extensions.push(extension);
  }
  return extensions;
}

export function readExtension(reader: DerReader): Extension {
  const id = reader.identifier();
  const isCritical = reader.peeks(tag.boolean) && reader.boolean();
  return { id, isCritical, value: reader.read(tag.octetString).content };
}

/** An int of Go's, which is what some numbers must fit. */
export function smallInteger(content: Buffer): number {
  const value = integerOf(content);
  if (value < 0n || value > BigInt(Number.MAX_SAFE_INTEGER)) throw malformed();
  return Number(value);
}
