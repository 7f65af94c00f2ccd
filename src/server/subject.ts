import { isUtf8 } from 'node:buffer';
import { constructed, DerReader, tag } from '../policy/engine/builtins/x509/der.ts';
import { type Attribute, attributeTypes, isValue } from '../tenancy/registry/subject-name.ts';

/** Of the extension subjectAltName (RFC 5280 section 4.2.1.6), as DER writes its identifier. */
const ALTERNATIVE_NAMES = Buffer.from('0603551d11', 'hex');

/**
 * The subject of a certificate (RFC 5280 section 4.1.2.6) in the order of RFC 4514, the last relative name first. Read from
 * the DER itself, as any text of it can be read in two ways. Undefined where a part is not taken: several attributes in
 * one place, an attribute that has no keyword, a string in an encoding of old.
 */
export function subjectOf(certificate: Buffer): readonly Attribute[] | undefined {
  // One that has other names, also such as cannot be read, is named by those or by nothing.
  if (certificate.includes(ALTERNATIVE_NAMES)) return undefined;
  try {
    const body = new DerReader(certificate).enter(tag.sequence).enter(tag.sequence);
    body.optional(constructed(0));
    body.read(tag.integer);
    // Signature algorithm, issuer, validity.
    for (let skipped = 0; skipped < 3; skipped += 1) body.read(tag.sequence);
    const names = body.enter(tag.sequence);
    const attributes: Attribute[] = [];
    while (!names.isEmpty) {
      const attribute = attributeIn(names.enter(tag.set));
      if (!attribute) return undefined;
      attributes.unshift(attribute);
    }
    return attributes.length > 0 ? attributes : undefined;
  } catch {
    return undefined;
  }
}

function attributeIn(set: DerReader): Attribute | undefined {
  const pair = set.enter(tag.sequence);
  const identifier = pair.identifier().join('.');
  const type = Object.hasOwn(attributeTypes, identifier) ? attributeTypes[identifier] : undefined;
  const { tag: encoding, content } = pair.read();
  if (type === undefined || !set.isEmpty || !pair.isEmpty) return undefined;
  const isText =
    encoding === tag.utf8String
      ? isUtf8(content)
      : (encoding === tag.printableString || encoding === tag.ia5String) &&
        content.every((byte) => byte < 0x80);
  const value = content.toString('utf8');
  return isText && isValue(value) ? [type, value] : undefined;
}
