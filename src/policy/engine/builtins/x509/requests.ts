import { fromBigInt } from '../../values/numbers.ts';
import { decodeUtf8 } from '../../values/utf8.ts';
import { RegoObject, type Value } from '../../values/values.ts';
import { type BuiltinContext, BuiltinError } from '../builtin.ts';
import { readExtension } from './certificate.ts';
import { constructed, DerReader, type Element, identifierOf, integerOf, malformed, tag } from './der.ts';
import { type AlternativeNames, type Extension, readAlternativeNames } from './extensions.ts';
import { readName, readText } from './names.ts';
import { readPublicKey } from './publickeys.ts';
import { bytes, extensionsValue, list, namesValue, struct } from './shape.ts';
import { signatureAlgorithmOf } from './signatures.ts';

const unitsPerRequest = 220_000;
const unitsPerByte = 60;
const extensionRequest = '1.2.840.113549.1.9.14';
const noNames: AlternativeNames = { whole: undefined, domains: [], emails: [], addresses: [], uris: [] };

/** A request for a certificate (PKCS #10, RFC 2986) as Go's crypto/x509 reads it. */
export function parseRequest(der: Buffer, context: BuiltinContext): Value {
  const whole = new DerReader(der);
  const { whole: raw, content } = whole.read(tag.sequence);
  if (!whole.isEmpty) throw new BuiltinError('trailing data');
  context.spend(unitsPerRequest + raw.length * unitsPerByte);
  const outer = new DerReader(content);
  const { whole: rawTbs, content: tbs } = outer.read(tag.sequence);
  const signatureAlgorithm = signatureAlgorithmOf(outer.read(tag.sequence).content);
  const reader = new DerReader(tbs);
  const version = Number(reader.integer());
  const rawSubject = reader.read(tag.sequence).whole;
  const rawPublicKey = reader.read(tag.sequence).whole;
  const publicKey = readPublicKey(rawPublicKey, context);
  const attributes = attributesIn(reader);
  const extensions = attributes.flatMap(requestedIn);
  if (new Set(extensions.map(({ id }) => id.join('.'))).size < extensions.length)
    throw new BuiltinError('an extension is there twice');
  const names = extensions.findLast(({ id }) => id.join('.') === '2.5.29.17');
  return struct({
    Raw: bytes(raw),
    RawTBSCertificateRequest: bytes(rawTbs),
    RawSubjectPublicKeyInfo: bytes(rawPublicKey),
    RawSubject: bytes(rawSubject),
    Version: version,
    Signature: bytes(outer.bits()),
    SignatureAlgorithm: signatureAlgorithm,
    PublicKeyAlgorithm: publicKey.algorithm,
    PublicKey: publicKey.value,
    Subject: readName(rawSubject, anyValue),
    Attributes: list(attributes.flatMap(attributeValue)),
    Extensions: extensionsValue(extensions),
    ExtraExtensions: null,
    ...namesValue(names ? readAlternativeNames(names.value, context) : noNames),
  });
}

interface Attribute {
  readonly id: readonly number[];
  readonly values: readonly Element[];
}

/** Those that are none are left out, as in Go. */
function attributesIn(reader: DerReader): Attribute[] {
  const attributes: Attribute[] = [];
  const content = reader.enter(constructed(0));
  while (!content.isEmpty) {
    const { whole } = content.read();
    attributes.push(...ifSound(() => attributeOf(whole)));
  }
  return attributes;
}

function ifSound<T>(read: () => T): T[] {
  try {
    return [read()];
  } catch (error) {
    if (error instanceof BuiltinError) return [];
    throw error;
  }
}

function attributeOf(whole: Buffer): Attribute {
  const attribute = new DerReader(whole).enter(tag.sequence);
  const id = attribute.identifier();
  const set = attribute.enter(tag.set);
  const values: Element[] = [];
  while (!set.isEmpty) values.push(set.read());
  return { id, values };
}

function requestedIn({ id, values }: Attribute): Extension[] {
  const [first] = values;
  if (id.join('.') !== extensionRequest || !first) return [];
  // A list of any other class is none: the whole request is refused, as in Go.
  if (first.tag !== tag.sequence) throw malformed();
  const extensions: Extension[] = [];
  const content = new DerReader(first.whole).enter(tag.sequence);
  while (!content.isEmpty) extensions.push(readExtension(content.enter(tag.sequence)));
  return extensions;
}

/** Those whose values are lists of types and values; what is of another form is left out, as in Go. */
const attributeValue = ({ id, values }: Attribute): Value[] =>
  ifSound(() => struct({ Type: id, Value: values.map(pairsIn) }));

function pairsIn({ tag: kind, content }: Element): Value {
  if (kind !== tag.sequence) throw new BuiltinError('not a list');
  const reader = new DerReader(content);
  const pairs: RegoObject[] = [];
  while (!reader.isEmpty) {
    const pair = reader.enter(tag.sequence);
    const type = pair.identifier();
    pairs.push(struct({ Type: type, Value: valueOf(pair.read()) }));
  }
  return pairs;
}

const valueOf = ({ tag: kind, content }: Element): Value => anyValue(kind, content);

const texts: ReadonlySet<number> = new Set([
  tag.utf8String,
  tag.numericString,
  tag.printableString,
  tag.ia5String,
  tag.bmpString,
]);

/** By Go's encoding/asn1, which a request is read by: what it does not know is nil. */
function anyValue(kind: number, content: Buffer): Value {
  if (kind === tag.octetString) return bytes(content);
  if (kind === tag.integer) return fromBigInt(BigInt.asIntN(64, integerOf(content)));
  if (kind === tag.t61String) return decodeUtf8(content).toWellFormed();
  if (kind === tag.objectIdentifier) return identifierOf(content);
  return texts.has(kind) ? readText(kind, content) : null;
}
