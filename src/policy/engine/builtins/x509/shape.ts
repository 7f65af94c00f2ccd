import { fromBigInt } from '../../values/numbers.ts';
import { RegoObject, type Value } from '../../values/values.ts';
import { formatAddress } from '../net/addresses.ts';
import type { Reference } from '../net/references.ts';
import { bigOf } from '../signing/ecdsa.ts';
import type { Certificate } from './certificate.ts';
import type { AlternativeNames, Extension, IpRange } from './extensions.ts';
import { formatTime } from './times.ts';

/** What Go's JSON makes of its structs: bytes are base64, nothing of a list is null. */
export const bytes = (value: Buffer | undefined): Value => value?.toString('base64') ?? null;
export const list = (values: readonly Value[]): Value => (values.length > 0 ? values : null);
export const struct = (members: Readonly<Record<string, Value>>): RegoObject =>
  new RegoObject(Object.entries(members));

export function extensionsValue(extensions: readonly Extension[]): Value {
  return list(
    extensions.map(({ id, isCritical, value }) =>
      struct({ Id: id, Critical: isCritical, Value: bytes(value) }),
    ),
  );
}

export function namesValue({ domains, emails, addresses, uris }: AlternativeNames): Record<string, Value> {
  return {
    DNSNames: list(domains),
    EmailAddresses: list(emails),
    IPAddresses: list(addresses.map(addressText)),
    URIs: list(uris.map(({ reference }) => urlValue(reference))),
  };
}

export function addressText(address: Buffer): string {
  const value = bigOf(address);
  const isMapped = address.length === 16 && value >> 32n === 0xffffn;
  return address.length === 4 || isMapped
    ? formatAddress({ bits: 32, value: value & 0xffffffffn })
    : formatAddress({ bits: 128, value });
}

function urlValue(reference: Reference): Value {
  const { url } = reference;
  return struct({
    Scheme: url.scheme,
    Opaque: url.opaque,
    User: reference.hasUser ? new RegoObject() : null,
    Host: url.host,
    Path: url.path,
    Fragment: url.fragment,
    RawQuery: url.rawQuery,
    RawPath: url.rawPath,
    RawFragment: reference.rawFragment,
    ForceQuery: reference.hasEmptyQuery,
    OmitHost: reference.omitsHost,
  });
}

const rangesValue = (ranges: readonly IpRange[]): Value =>
  list(ranges.map(({ address, mask }) => struct({ IP: addressText(address), Mask: bytes(mask) })));

/** A number that was left out is 0. */
const number = (level: number | undefined): Value => level ?? 0;

/** Go's x509.Certificate. */
export function certificateMembers(certificate: Certificate): Record<string, Value> {
  const { known, publicKey } = certificate;
  return {
    Raw: bytes(certificate.raw),
    RawTBSCertificate: bytes(certificate.rawTbs),
    RawSubjectPublicKeyInfo: bytes(certificate.rawPublicKey),
    RawSubject: bytes(certificate.rawSubject),
    RawIssuer: bytes(certificate.rawIssuer),
    Signature: bytes(certificate.signature),
    SignatureAlgorithm: certificate.signatureAlgorithm,
    PublicKeyAlgorithm: publicKey.algorithm,
    PublicKey: publicKey.value,
    Version: certificate.version,
    SerialNumber: fromBigInt(certificate.serialNumber),
    Issuer: certificate.issuer,
    Subject: certificate.subject,
    NotBefore: formatTime(certificate.notBefore),
    NotAfter: formatTime(certificate.notAfter),
    KeyUsage: known.keyUsage,
    Extensions: extensionsValue(certificate.extensions),
    ExtraExtensions: null,
    UnhandledCriticalExtensions: list(known.unhandled),
    ExtKeyUsage: list(known.usages),
    UnknownExtKeyUsage: list(known.unknownUsages),
    BasicConstraintsValid: known.isBasic,
    IsCA: known.isAuthority,
    MaxPathLen: number(known.longestPath),
    MaxPathLenZero: known.longestPath === 0,
    SubjectKeyId: bytes(known.subjectKeyId),
    AuthorityKeyId: bytes(known.authorityKeyId),
    OCSPServer: list(known.ocspServers),
    IssuingCertificateURL: list(known.issuers),
    ...namesValue(known.names),
    PermittedDNSDomainsCritical: known.areConstraintsCritical,
    PermittedDNSDomains: list(known.permitted.domains),
    ExcludedDNSDomains: list(known.excluded.domains),
    PermittedIPRanges: rangesValue(known.permitted.ranges),
    ExcludedIPRanges: rangesValue(known.excluded.ranges),
    PermittedEmailAddresses: list(known.permitted.emails),
    ExcludedEmailAddresses: list(known.excluded.emails),
    PermittedURIDomains: list(known.permitted.uriDomains),
    ExcludedURIDomains: list(known.excluded.uriDomains),
    CRLDistributionPoints: list(known.distributionPoints),
    PolicyIdentifiers: known.policyIdentifiers ?? null,
    Policies: list(known.policies),
    InhibitAnyPolicy: number(known.inhibitAny),
    InhibitAnyPolicyZero: known.inhibitAny === 0,
    InhibitPolicyMapping: number(known.inhibitMapping),
    InhibitPolicyMappingZero: known.inhibitMapping === 0,
    RequireExplicitPolicy: number(known.requireExplicit),
    RequireExplicitPolicyZero: known.requireExplicit === 0,
    PolicyMappings: list(
      known.mappings.map(({ issuer, subject }) =>
        struct({ IssuerDomainPolicy: issuer, SubjectDomainPolicy: subject }),
      ),
    ),
  };
}

export const certificateValue = (certificate: Certificate): Value => struct(certificateMembers(certificate));

/** With its addresses as texts, which OPA adds. */
export function extendedValue(certificate: Certificate): Value {
  const uris = certificate.known.names.uris.map(({ reference }) => reference.text);
  return struct({ ...certificateMembers(certificate), URIStrings: list(uris) });
}
