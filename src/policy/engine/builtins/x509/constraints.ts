import { isIPv4, isIPv6 } from 'node:net';
import type { BuiltinContext } from '../builtin.ts';
import type { Certificate } from './certificate.ts';
import { isDomainName, isUnder, type Mailbox, parentOf, parseMailbox } from './domains.ts';
import type { IpRange, Subtrees } from './extensions.ts';

/** Fuel units of a name held against a constraint. */
const unitsPerComparison = 400;

/** Whether every name in a chain, the leaf first, is one that the authorities above may certify (RFC 5280 section 6.1.4). */
export function areNamesPermitted(chain: readonly Certificate[], context: BuiltinContext): boolean {
  return chain.every((certificate, at) => {
    if (certificate.known.names.whole === undefined) return true;
    const above = chain.slice(at + 1).filter(({ known }) => known.hasConstraints);
    return above.length === 0 || hasOnlyPermitted(certificate, above, context);
  });
}

function hasOnlyPermitted(
  { known: { names } }: Certificate,
  above: readonly Certificate[],
  context: BuiltinContext,
): boolean {
  const hosts = names.uris.map(({ reference }) => hostOf(reference.url.host));
  const mailboxes = names.emails.map(parseMailbox);
  if (hosts.includes(undefined) || mailboxes.includes(undefined)) return false;
  return above.every(({ known: { permitted, excluded } }) => {
    const allowed = <T>(name: T, holds: Held<T>): boolean => {
      context.spend(unitsPerComparison * (1 + sizeOf(permitted) + sizeOf(excluded)));
      const inPermitted = holds(permitted, name, true);
      return inPermitted !== false && holds(excluded, name, false) !== true;
    };
    return (
      names.addresses.every((address) => allowed(address, isInRanges)) &&
      names.domains.every((name) => isDomainName(name, false) && allowed(name, isInDomains)) &&
      hosts.every((host) => isDomainName(host ?? '', false) && allowed(host ?? '', isInUriDomains)) &&
      mailboxes.every((box) => box && isDomainName(box.domain, false) && allowed(box, isInEmails))
    );
  });
}

const sizeOf = ({ domains, ranges, emails, uriDomains }: Subtrees): number =>
  domains.length + ranges.length + emails.length + uriDomains.length;

/** Undefined where nothing of the kind is said. */
type Held<T> = (subtrees: Subtrees, name: T, isPermitted: boolean) => boolean | undefined;

const isInRanges: Held<Buffer> = ({ ranges }, address) =>
  ranges.length === 0 ? undefined : ranges.some((each) => contains(each, address));

function contains({ address, mask }: IpRange, other: Buffer): boolean {
  if (address.length !== other.length) return false;
  return mask.every((bits, at) => (bits & (address[at] ?? 0)) === (bits & (other[at] ?? 0)));
}

const isInDomains: Held<string> = ({ domains }, name, isPermitted) => isWithin(domains, name, isPermitted);
const isInUriDomains: Held<string> = ({ uriDomains }, name, isPermitted) =>
  isWithin(uriDomains, name, isPermitted);

/** A wildcard is excluded too if it stands for a name that is. */
function isWithin(domains: readonly string[], name: string, isPermitted: boolean): boolean | undefined {
  if (domains.length === 0) return undefined;
  if (domains.includes('')) return true;
  if (name !== '' && domains.some((domain) => isUnder(domain, name))) return true;
  if (isPermitted || !name.startsWith('*')) return false;
  const parent = parentOf(name.toLowerCase());
  return parent !== '' && domains.some((domain) => parentOf(domain.toLowerCase()) === parent);
}

const isInEmails: Held<Mailbox> = ({ emails }, { local, domain }, isPermitted) => {
  if (emails.length === 0) return undefined;
  const exact = emails.filter((each) => each.includes('@')).map(parseMailbox);
  if (exact.some((each) => each?.local === local && each.domain.toLowerCase() === domain.toLowerCase()))
    return true;
  const domains = emails.filter((each) => !each.includes('@'));
  return isWithin(domains, domain.toLowerCase(), isPermitted) ?? false;
};

/** Without the port; undefined for none, and for an address. */
function hostOf(host: string): string | undefined {
  const lower = host.toLowerCase();
  const name = lower.includes(':') && !lower.endsWith(']') ? lower.slice(0, lower.lastIndexOf(':')) : lower;
  if (lower === '' || name.startsWith('[') || isIPv4(name) || isIPv6(name)) return undefined;
  return name.includes(':') ? undefined : name;
}
