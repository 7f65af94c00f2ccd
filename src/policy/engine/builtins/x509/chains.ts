import { isIPv4, isIPv6 } from 'node:net';
import { type BuiltinContext, BuiltinError } from '../builtin.ts';
import { parseAddress } from '../net/addresses.ts';
import { bigOf } from '../signing/ecdsa.ts';
import type { Certificate } from './certificate.ts';
import { areNamesPermitted } from './constraints.ts';
import { arePoliciesValid } from './policies.ts';
import { isSignedBy } from './publickeys.ts';

/** What a chain is to be good for. */
export interface Purpose {
  readonly name: string;
  /** Nanoseconds since the Unix epoch. */
  readonly now: bigint;
  /** Go's numbers of extended key usages; none is that of a server. */
  readonly usages: readonly number[];
}

/** Of one verification; each costs what its key does. */
const mostSignatures = 100;
const unitsPerCandidate = 1_500;
const anyUsage = 0;
const serverUsage = 1;
const certificateSigning = 1 << 5;

/**
 * The first chain from the last certificate to the first, which is trusted, by those between (Go's Certificate.Verify).
 * Empty if there is none.
 * @throws BuiltinError for less than two certificates
 */
export function verifyChain(
  certificates: readonly Certificate[],
  purpose: Purpose,
  context: BuiltinContext,
): readonly Certificate[] {
  const [root, ...others] = certificates;
  const leaf = others.pop();
  if (!root || !leaf) throw new BuiltinError('must supply at least two certificates');
  if (!isValid(leaf, [], 'leaf', purpose.now)) return [];
  if (purpose.name !== '' && !isNamed(leaf, purpose.name)) return [];
  const search = { root, between: unique(others), now: purpose.now, signatures: 0, context };
  const chains = root.raw.equals(leaf.raw) ? [[leaf]] : build(search, [leaf]);
  const suits = (chain: readonly Certificate[]): boolean =>
    arePoliciesValid(chain, context) &&
    (purpose.usages.includes(anyUsage) || isForUsage(chain, purpose.usages)) &&
    areNamesPermitted(chain, context);
  return chains.find(suits) ?? [];
}

interface Search {
  readonly root: Certificate;
  readonly between: readonly Certificate[];
  readonly now: bigint;
  signatures: number;
  readonly context: BuiltinContext;
}

function unique(certificates: readonly Certificate[]): Certificate[] {
  return [...new Map(certificates.map((each) => [each.raw.toString('latin1'), each])).values()];
}

/** Of some chains that end in one certificate, those that go on to the root. */
function build(search: Search, chain: readonly Certificate[]): (readonly Certificate[])[] {
  const last = chain.at(-1) as Certificate;
  const found: (readonly Certificate[])[] = [];
  const consider = (candidate: Certificate, kind: 'root' | 'between'): void => {
    search.signatures += 1;
    if (search.signatures > mostSignatures) return;
    if (candidate.publicKey.algorithm === 0 || isIn(candidate, chain)) return;
    if (!isIssuedBy(last, candidate, search.context) || !isValid(candidate, chain, kind, search.now)) return;
    if (kind === 'root') found.push([...chain, candidate]);
    else found.push(...build(search, [...chain, candidate]));
  };
  search.context.spend((1 + search.between.length) * unitsPerCandidate);
  for (const candidate of parents(last, [search.root])) consider(candidate, 'root');
  for (const candidate of parents(last, search.between)) consider(candidate, 'between');
  return found;
}

/** Those of the issuer's name, first those whose key is the one that is named. */
function parents(child: Certificate, candidates: readonly Certificate[]): readonly Certificate[] {
  const wanted = child.known.authorityKeyId ?? Buffer.alloc(0);
  const rank = ({ known: { subjectKeyId = Buffer.alloc(0) } }: Certificate): number => {
    if (subjectKeyId.equals(wanted)) return 0;
    return (subjectKeyId.length === 0) !== (wanted.length === 0) ? 1 : 2;
  };
  return candidates
    .filter(({ rawSubject }) => rawSubject.equals(child.rawIssuer))
    .toSorted((a, b) => rank(a) - rank(b));
}

/** The same name and key; of different alternative names it is another one. */
function isIn(candidate: Certificate, chain: readonly Certificate[]): boolean {
  const names = candidate.known.names.whole;
  for (const each of chain) {
    if (!each.rawSubject.equals(candidate.rawSubject) || !each.rawPublicKey.equals(candidate.rawPublicKey))
      continue;
    const others = each.known.names.whole;
    if (!names && !others) return true;
    if (!names || !others) return false;
    if (names.equals(others)) return true;
  }
  return false;
}

function isIssuedBy(child: Certificate, parent: Certificate, context: BuiltinContext): boolean {
  const { isBasic, isAuthority, keyUsage } = parent.known;
  if (isBasic ? !isAuthority : parent.version === 3) return false;
  if (keyUsage !== 0 && (keyUsage & certificateSigning) === 0) return false;
  return isSignedBy(parent.publicKey, child.signatureAlgorithm, child.rawTbs, child.signature, context);
}

function isValid(
  { known, notBefore, notAfter }: Certificate,
  chain: readonly Certificate[],
  kind: 'leaf' | 'between' | 'root',
  now: bigint,
): boolean {
  const second = 1_000_000_000n;
  if (known.unhandled.length > 0) return false;
  if (now < notBefore * second || now > notAfter * second) return false;
  if (kind === 'between' && !(known.isBasic && known.isAuthority)) return false;
  const longest = known.longestPath ?? -1;
  return !known.isBasic || longest < 0 || chain.length - 1 <= longest;
}

/** Each certificate that says what it is for leaves of the wanted usages those it is for; one must be left. */
function isForUsage(chain: readonly Certificate[], wanted: readonly number[]): boolean {
  let left = wanted.length === 0 ? [serverUsage] : wanted;
  for (const { known } of chain.toReversed()) {
    if (known.usages.length + known.unknownUsages.length === 0 || known.usages.includes(anyUsage)) continue;
    left = left.filter((usage) => known.usages.includes(usage));
    if (left.length === 0) return false;
  }
  return true;
}

/** Go's VerifyHostname (RFC 6125): a wildcard is the whole first label. The common name says nothing. */
function isNamed({ known: { names } }: Certificate, name: string): boolean {
  const literal = name.length >= 3 && name.startsWith('[') && name.endsWith(']') ? name.slice(1, -1) : name;
  if (isIPv4(literal) || (isIPv6(literal) && !literal.includes('%')))
    return names.addresses.some((address) => isAddress(address, literal));
  const wanted = lowerCase(name);
  const parts = wanted.replace(/\.$/, '').split('.');
  return names.domains.some((domain) => {
    const pattern = lowerCase(domain);
    if (!isHostname(wanted.replace(/\.$/, ''), false) || !isHostname(pattern, true))
      return pattern === wanted && pattern !== '' && pattern !== '.';
    const labels = pattern.split('.');
    return (
      labels.length === parts.length &&
      labels.every((label, at) => (at === 0 && label === '*') || label === parts[at])
    );
  });
}

/** An IPv4 address may be written as one of IPv6. */
function isAddress(address: Buffer, literal: string): boolean {
  const wanted = parseAddress(literal);
  const value = bigOf(address);
  const mapped = address.length === 16 && value >> 32n === 0xffffn ? value & 0xffffffffn : value;
  const bits = address.length === 4 || mapped !== value ? 32 : 128;
  return wanted?.bits === bits && wanted.value === mapped;
}

const lowerCase = (text: string): string => text.replace(/[A-Z]/g, (letter) => letter.toLowerCase());

function isHostname(host: string, isPattern: boolean): boolean {
  if (host === '' || host === '*') return false;
  return host
    .split('.')
    .every((label, at) => (isPattern && at === 0 && label === '*') || /^[a-z0-9_][a-z0-9_-]*$/i.test(label));
}
