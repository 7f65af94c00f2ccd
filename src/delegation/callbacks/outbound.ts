import { lookup as resolve } from 'node:dns';
import http from 'node:http';
import https from 'node:https';
import { BlockList, isIP, type LookupFunction } from 'node:net';

/** Addresses that are nobody's on the Internet (RFC 6890, RFC 4193, RFC 4291, RFC 6052, RFC 3056). */
const PRIVATE = new BlockList();
for (const [net, prefix] of [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.0.2.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['198.51.100.0', 24],
  ['203.0.113.0', 24],
  ['224.0.0.0', 3],
] as const)
  PRIVATE.addSubnet(net, prefix, 'ipv4');
/** Of IPv6 what is global unicast is meant, without what leads to addresses of IPv4. */
const GLOBAL = new BlockList();
GLOBAL.addSubnet('2000::', 3, 'ipv6');
for (const [net, prefix] of [
  ['2001::', 23],
  ['2001:db8::', 32],
  ['2002::', 16],
] as const)
  PRIVATE.addSubnet(net, prefix, 'ipv6');

/** Whether an address is one of the Internet's. */
export function isPublic(address: string): boolean {
  switch (isIP(address)) {
    case 4:
      return !PRIVATE.check(address, 'ipv4');
    case 6:
      return GLOBAL.check(address, 'ipv6') && !PRIVATE.check(address, 'ipv6');
    default:
      return false;
  }
}

const TIMEOUT_MS = 5_000;
const LOOPBACK = ['127.0.0.1', '[::1]', 'localhost'];

/** What is connected to is what was looked at: a name that leads elsewhere the next time leads nowhere. */
const publicOnly: LookupFunction = (hostname, options, done) => {
  resolve(hostname, { ...options, all: true }, (error, found) => {
    const stray = found?.find(({ address }) => !isPublic(address));
    if (error) done(error, '');
    else if (stray || found.length === 0)
      done(new Error(`${hostname} is not at an address of the Internet`), '');
    else if (options.all) done(null, found);
    else done(null, found[0]?.address ?? '', found[0]?.family);
  });
};

/**
 * Posts JSON to somebody else: by https, to addresses of the Internet, within five seconds; redirects are not followed and
 * what is answered is not read. `loopback`: this machine may be told by http, in development mode. Rejects where it was
 * not taken.
 */
export function post(
  endpoint: string,
  body: string,
  authorization: string,
  { loopback }: { readonly loopback: boolean },
): Promise<void> {
  const url = new URL(endpoint);
  const isLocal = loopback && url.protocol === 'http:' && LOOPBACK.includes(url.hostname);
  if (url.protocol !== 'https:' && !isLocal) return Promise.reject(new Error(`${endpoint} is not https`));
  const literal = url.hostname.replace(/^\[|\]$/g, '');
  if (!isLocal && isIP(literal) !== 0 && !isPublic(literal))
    return Promise.reject(new Error(`${endpoint} is not at an address of the Internet`));
  return new Promise((done, failed) => {
    const headers = {
      'content-type': 'application/json',
      'content-length': Buffer.byteLength(body),
      authorization,
    };
    const signal = AbortSignal.timeout(TIMEOUT_MS);
    const options = {
      method: 'POST',
      headers,
      signal,
      agent: false,
      ...(!isLocal && { lookup: publicOnly }),
    };
    const request = (isLocal ? http : https).request(url, options, (response) => {
      const { statusCode = 0 } = response;
      response.destroy();
      if (statusCode >= 200 && statusCode < 300) done();
      else failed(new Error(`${endpoint} answered ${statusCode}`));
    });
    request.on('error', failed);
    request.end(body);
  });
}
