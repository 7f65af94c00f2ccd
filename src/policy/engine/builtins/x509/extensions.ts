import { isIPv4, isIPv6 } from 'node:net';
import { decodeUtf8 } from '../../values/utf8.ts';
import { type BuiltinContext, BuiltinError } from '../builtin.ts';
import { Reference } from '../net/references.ts';
import { constructed, context as contextTag, DerReader, identifierOf, identifierParts, tag } from './der.ts';
import { isDomainName, parseMailbox } from './domains.ts';

/** As it is written in a certificate (RFC 5280 section 4.2). */
export interface Extension {
  readonly id: readonly number[];
  readonly isCritical: boolean;
  readonly value: Buffer;
}

export interface IpRange {
  readonly address: Buffer;
  readonly mask: Buffer;
}

/** Names that authorities may, or may not, certify. */
export interface Subtrees {
  readonly domains: string[];
  readonly ranges: IpRange[];
  readonly emails: string[];
  readonly uriDomains: string[];
}

/** A number that may be left out; Go tells one that is zero apart. */
export type Level = number | undefined;

export interface PolicyMapping {
  readonly issuer: string;
  readonly subject: string;
}

/** What is known of the extensions of a certificate. */
export interface Extensions {
  keyUsage: number;
  isBasic: boolean;
  isAuthority: boolean;
  /** -1 for no bound; undefined without the extension. */
  longestPath: Level;
  subjectKeyId: Buffer | undefined;
  authorityKeyId: Buffer | undefined;
  names: AlternativeNames;
  permitted: Subtrees;
  excluded: Subtrees;
  areConstraintsCritical: boolean;
  hasConstraints: boolean;
  distributionPoints: string[];
  usages: number[];
  unknownUsages: (readonly number[])[];
  /** Identifiers with dots between. */
  policies: string[];
  /** Those of them whose parts are small. */
  policyIdentifiers: (readonly number[])[] | undefined;
  mappings: PolicyMapping[];
  requireExplicit: Level;
  inhibitMapping: Level;
  inhibitAny: Level;
  ocspServers: string[];
  issuers: string[];
  unhandled: (readonly number[])[];
}

export interface AlternativeNames {
  /** The extension, if there is one. */
  readonly whole: Buffer | undefined;
  readonly domains: string[];
  readonly emails: string[];
  readonly addresses: Buffer[];
  readonly uris: { readonly text: string; readonly reference: Reference }[];
}

const noSubtrees = (): Subtrees => ({ domains: [], ranges: [], emails: [], uriDomains: [] });
const noNames = (): AlternativeNames => ({
  whole: undefined,
  domains: [],
  emails: [],
  addresses: [],
  uris: [],
});

export const emptyExtensions = (): Extensions => ({
  keyUsage: 0,
  isBasic: false,
  isAuthority: false,
  longestPath: undefined,
  subjectKeyId: undefined,
  authorityKeyId: undefined,
  names: noNames(),
  permitted: noSubtrees(),
  excluded: noSubtrees(),
  areConstraintsCritical: false,
  hasConstraints: false,
  distributionPoints: [],
  usages: [],
  unknownUsages: [],
  policies: [],
  policyIdentifiers: undefined,
  mappings: [],
  requireExplicit: undefined,
  inhibitMapping: undefined,
  inhibitAny: undefined,
  ocspServers: [],
  issuers: [],
  unhandled: [],
});

/** True if it says what is not understood. */
type Read = (known: Extensions, extension: Extension, context: BuiltinContext) => boolean | void;

/** @throws BuiltinError for one that is malformed */
export function readExtensions(extensions: readonly Extension[], context: BuiltinContext): Extensions {
  const known = emptyExtensions();
  for (const extension of extensions) {
    const read = readers[extension.id.join('.')];
    const isUnhandled = read ? read(known, extension, context) === true : true;
    if (isUnhandled && extension.isCritical) known.unhandled.push(extension.id);
  }
  return known;
}

const refuseCritical = ({ isCritical }: Extension): void => {
  if (isCritical) throw new BuiltinError('it must not be critical');
};

const readers: Readonly<Record<string, Read>> = {
  '2.5.29.15': (known, { value }) => {
    known.keyUsage = readKeyUsage(value);
  },
  '2.5.29.19': (known, { value }) => {
    const reader = new DerReader(value).enter(tag.sequence);
    known.isAuthority = reader.peeks(tag.boolean) && reader.boolean();
    known.longestPath = reader.peeks(tag.integer) ? level(reader.integer()) : -1;
    known.isBasic = true;
  },
  '2.5.29.17': (known, { value }, context) => {
    known.names = readAlternativeNames(value, context);
    const { domains, emails, addresses, uris } = known.names;
    return domains.length + emails.length + addresses.length + uris.length === 0;
  },
  '2.5.29.30': (known, { value, isCritical }) => {
    known.hasConstraints = true;
    known.areConstraintsCritical = isCritical;
    return readConstraints(known, value);
  },
  '2.5.29.31': (known, { value }) => {
    for (const point of sequenceOf(value)) readPoint(known, point);
  },
  '2.5.29.35': (known, extension) => {
    refuseCritical(extension);
    const reader = new DerReader(extension.value).enter(tag.sequence);
    known.authorityKeyId = reader.optional(contextTag(0))?.content;
  },
  '2.5.29.36': (known, { value }) => {
    const reader = new DerReader(value).enter(tag.sequence);
    if (reader.peeks(contextTag(0))) known.requireExplicit = signedLevel(reader.integer(contextTag(0)));
    if (reader.peeks(contextTag(1))) known.inhibitMapping = signedLevel(reader.integer(contextTag(1)));
  },
  '2.5.29.37': (known, { value }) => {
    const reader = new DerReader(value).enter(tag.sequence);
    while (!reader.isEmpty) {
      const usage = reader.identifier();
      const number = usages.indexOf(usage.join('.'));
      if (number >= 0) known.usages.push(number);
      else known.unknownUsages.push(usage);
    }
  },
  '2.5.29.14': (known, extension) => {
    refuseCritical(extension);
    known.subjectKeyId = new DerReader(extension.value).read(tag.octetString).content;
  },
  '2.5.29.32': (known, { value }) => readPolicies(known, value),
  '2.5.29.33': (known, { value }) => {
    for (const mapping of sequenceOf(value)) {
      const [issuer, subject] = [0, 1].map(() => dotted(mapping.read(tag.objectIdentifier).content));
      known.mappings.push({ issuer: issuer ?? '', subject: subject ?? '' });
    }
  },
  '2.5.29.54': (known, { value }) => {
    known.inhibitAny = signedLevel(new DerReader(value).integer());
  },
  '1.3.6.1.5.5.7.1.1': (known, extension) => {
    refuseCritical(extension);
    for (const access of sequenceOf(extension.value)) {
      const method = access.identifier().join('.');
      const address = access.optional(contextTag(6))?.content;
      if (address === undefined) continue;
      if (method === '1.3.6.1.5.5.7.48.1') known.ocspServers.push(shown(address));
      if (method === '1.3.6.1.5.5.7.48.2') known.issuers.push(shown(address));
    }
  },
};

/** Go's numbers of extended key usages are their places. */
const usages = [
  '2.5.29.37.0',
  ...[1, 2, 3, 4, 5, 6, 7, 8, 9].map((number) => `1.3.6.1.5.5.7.3.${number}`),
  '1.3.6.1.4.1.311.10.3.3',
  '2.16.840.1.113730.4.1',
  '1.3.6.1.4.1.311.2.1.22',
  '1.3.6.1.4.1.311.61.1.1',
];

/** Go's JSON has U+FFFD for each byte that is no UTF-8. */
const shown = (content: Buffer): string => decodeUtf8(content).toWellFormed();

function* sequenceOf(value: Buffer): Generator<DerReader> {
  const reader = new DerReader(value).enter(tag.sequence);
  while (!reader.isEmpty) yield reader.enter(tag.sequence);
}

const largestInt = 2n ** 63n;

function level(value: bigint): number {
  if (value < 0n) throw new BuiltinError('negative');
  return signedLevel(value);
}

function signedLevel(value: bigint): number {
  if (value >= largestInt || value < -largestInt) throw new BuiltinError('too large');
  return Number(value);
}

/** The first nine bits, the first the lowest. */
function readKeyUsage(value: Buffer): number {
  const { content } = new DerReader(value).read(tag.bitString);
  new DerReader(value).bits();
  const bits = [...content.subarray(1)].flatMap((byte) =>
    [7, 6, 5, 4, 3, 2, 1, 0].map((at) => (byte >> at) & 1),
  );
  return bits.slice(0, 9).reduce((usage, bit, at) => usage | (bit << at), 0);
}

function ascii(content: Buffer): string {
  const text = content.toString('latin1');
  if (/\P{ASCII}/u.test(text)) throw new BuiltinError('not ASCII');
  return text;
}

export function readAlternativeNames(value: Buffer, context: BuiltinContext): AlternativeNames {
  const names = { ...noNames(), whole: value };
  const reader = new DerReader(value).enter(tag.sequence);
  while (!reader.isEmpty) {
    const { tag: kind, content } = reader.read();
    if (kind === contextTag(1)) names.emails.push(ascii(content));
    else if (kind === contextTag(2)) names.domains.push(ascii(content));
    else if (kind === contextTag(6)) {
      const text = ascii(content);
      const reference = Reference.parse(text, context);
      if (!isDomainName(reference.url.host, false)) throw new BuiltinError('invalid domain');
      names.uris.push({ text, reference });
    } else if (kind === contextTag(7)) {
      if (content.length !== 4 && content.length !== 16) throw new BuiltinError('not an address');
      names.addresses.push(content);
    }
  }
  return names;
}

function readPoint(known: Extensions, point: DerReader): void {
  const named = point.optional(constructed(0));
  if (!named) return;
  const names = new DerReader(named.content).enter(constructed(0));
  for (let uri = names.optional(contextTag(6)); uri; uri = names.optional(contextTag(6)))
    known.distributionPoints.push(shown(uri.content));
}

const dotted = (content: Buffer): string => identifierParts(content).join('.');

function readPolicies(known: Extensions, value: Buffer): void {
  known.policyIdentifiers = [];
  for (const policy of sequenceOf(value)) {
    const { content } = policy.read(tag.objectIdentifier);
    const identifier = dotted(content);
    if (known.policies.includes(identifier)) throw new BuiltinError('a policy is there twice');
    known.policies.push(identifier);
    if (identifierParts(content).every((part) => part <= 0x7fff_ffffn))
      known.policyIdentifiers.push(identifierOf(content));
  }
}

/** RFC 5280 section 4.2.1.10. True if there are names of kinds that are not understood. */
function readConstraints(known: Extensions, value: Buffer): boolean {
  const outer = new DerReader(value);
  const reader = outer.enter(tag.sequence);
  const [permitted, excluded] = [reader.optional(constructed(0)), reader.optional(constructed(1))];
  const isEmpty = (permitted?.content.length ?? 0) + (excluded?.content.length ?? 0) === 0;
  if (!outer.isEmpty || !reader.isEmpty || isEmpty) throw new BuiltinError('invalid name constraints');
  const isPartial = [
    permitted && readSubtrees(known.permitted, permitted.content),
    excluded && readSubtrees(known.excluded, excluded.content),
  ];
  return isPartial.includes(true);
}

function readSubtrees(subtrees: Subtrees, content: Buffer): boolean {
  const reader = new DerReader(content);
  let isPartial = false;
  while (!reader.isEmpty) {
    const { tag: kind, content: base } = reader.enter(tag.sequence).read();
    if (kind === contextTag(2)) subtrees.domains.push(domain(ascii(base)));
    else if (kind === contextTag(7)) subtrees.ranges.push(range(base));
    else if (kind === contextTag(1)) {
      const email = ascii(base);
      if (email.includes('@') ? !parseMailbox(email) : !isDomainName(email, true))
        throw new BuiltinError('not a constraint of addresses');
      subtrees.emails.push(email);
    } else if (kind === contextTag(6)) {
      const host = ascii(base);
      if (isIPv4(host) || (isIPv6(host) && !host.includes('%'))) throw new BuiltinError('an IP address');
      subtrees.uriDomains.push(domain(host));
    } else isPartial = true;
  }
  return isPartial;
}

function domain(text: string): string {
  if (!isDomainName(text, true)) throw new BuiltinError('not a domain');
  return text;
}

function range(base: Buffer): IpRange {
  if (base.length !== 8 && base.length !== 32) throw new BuiltinError('not a range');
  const half = base.length / 2;
  const mask = base.subarray(half);
  const bits = [...mask].map((byte) => byte.toString(2).padStart(8, '0')).join('');
  if (!/^1*0*$/.test(bits)) throw new BuiltinError('not a mask');
  return { address: base.subarray(0, half), mask };
}
