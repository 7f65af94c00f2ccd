import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { type Archive, FolderArchive } from './audit/keeping/archive.ts';
import type { Retention } from './audit/keeping/options.ts';
import { S3Archive } from './audit/keeping/s3.ts';
import type { SinkSettings } from './audit/sinks/settings.ts';
import type { WitnessPeer } from './audit/witness/witnessing.ts';
import type { Config } from './config.ts';
import type { Kms } from './delegation/keys/kms/kms.ts';
import type { Login } from './delegation/keys/kms/login.ts';
import { Transit } from './delegation/keys/kms/transit.ts';
import { describe, ServiceError } from './errors.ts';
import type { ShippingPlace } from './fleet/shipping/thread.ts';
import { tenantId } from './ids.ts';
import { parseVkey, SignatureType } from './merkle/keys.ts';
import { FolderSource } from './policy/pulling/folder.ts';
import { HttpsSource } from './policy/pulling/https.ts';
import type { PulledTenant } from './policy/pulling/pulls.ts';
import { S3Source } from './policy/pulling/s3.ts';
import { verificationOf } from './policy/pulling/signatures.ts';
import type { BundleSource } from './policy/pulling/source.ts';
import type { TenantLimits } from './tenancy/limits.ts';

/** What parts of the configuration mean to the services that are made from them. */

/**
 * How many threads may accept connections beside main, unless it is said: main and the writer have a core each, and with
 * more the writer would be full first. With two cores a call would take a tenth more of the processor.
 */
const MOST_ACCEPTING = 3;
const TAKEN_CORES = 2;

/** How many threads may accept connections; where the system cannot have several on one port there are none. */
export function acceptingThreads({ accept_threads: given, tracing, http2 }: Config): number {
  if (tracing || http2 === 'node' || process.platform !== 'linux') return 0;
  return given ?? Math.max(0, Math.min(MOST_ACCEPTING, availableParallelism() - TAKEN_CORES));
}

/** Throws `config_invalid`. */
export function sinkSettings({ http, file, syslog, ...rest }: Config['sinks'][number]): SinkSettings {
  if (http) {
    refuseCleartext(`sinks: ${rest.name}`, http.url);
    return { ...rest, to: { kind: 'http', ...http } };
  }
  if (file) return { ...rest, to: { kind: 'file', ...file } };
  if (syslog) return { ...rest, to: { kind: 'syslog', ...syslog } };
  throw new ServiceError('config_invalid', `sinks: ${rest.name}: it has none of http, file and syslog`);
}

/** Beyond this machine nothing is sent that others can read. Throws `config_invalid`. */
function refuseCleartext(what: string, url: string): void {
  const { protocol, hostname, username, password } = new URL(url);
  if (username !== '' || password !== '')
    throw new ServiceError('config_invalid', `${what}: a credential in an address would be told with it`);
  const isHere = ['127.0.0.1', '[::1]', 'localhost'].includes(hostname);
  if (protocol !== 'https:' && !(protocol === 'http:' && isHere))
    throw new ServiceError('config_invalid', `${what}: ${new URL(url).origin} is not https`);
}

/** Throws `config_invalid`. */
export function witnessPeer({ key, url }: Config['witnesses'][number]): WitnessPeer {
  const refuse = (why: string): ServiceError =>
    new ServiceError('config_invalid', `witnesses: ${url}: ${why}`);
  refuseCleartext('witnesses', url);
  try {
    const parsed = parseVkey(key);
    if (parsed.type !== SignatureType.ED25519) return { key: parsed, url };
  } catch (cause) {
    throw refuse(describe(cause));
  }
  throw refuse('its key is not that of a witness, but of a log');
}

/** Throws `config_invalid`. */
export function archiveOf({ archive, s3Credentials }: Config): Archive | undefined {
  if (archive?.folder !== undefined) return new FolderArchive(archive.folder);
  if (!archive?.s3 || !s3Credentials) return undefined;
  refuseCleartext('archive', archive.s3.endpoint);
  return new S3Archive(archive.s3, s3Credentials);
}

/** The PEM files of `authority`, or of `peers`. Throws `config_invalid`. */
export function readFleetFiles(
  what: 'authority' | 'peers',
  { ca, cert, key }: Pick<NonNullable<Config['authority']>, 'ca' | 'cert' | 'key'>,
): {
  readonly ca: string | undefined;
  readonly cert: string | undefined;
  readonly key: string | undefined;
} {
  const read = (file: string | undefined): string | undefined => {
    try {
      return file === undefined ? undefined : readFileSync(file, 'utf8');
    } catch (error) {
      throw new ServiceError('config_invalid', `${what}: ${describe(error)}`);
    }
  };
  return { ca: read(ca), cert: read(cert), key: read(key) };
}

/** Throws `config_invalid`, also where a key cannot be read. */
export function pulledTenants(config: Config): PulledTenant[] {
  return config.bundles.map((each) => {
    const what = `bundles: ${each.tenant}`;
    try {
      const polling = { minMs: each.min_seconds * 1_000, maxMs: each.max_seconds * 1_000 };
      return { tenant: tenantId(each.tenant), source: bundleSource(config, each, what), polling };
    } catch (cause) {
      if (cause instanceof ServiceError && cause.message.startsWith(what)) throw cause;
      throw new ServiceError('config_invalid', `${what}: ${describe(cause)}`, { cause });
    }
  });
}

function bundleSource(
  { bundleTokens, s3Credentials }: Config,
  { tenant: id, https, folder, s3, verify }: Config['bundles'][number],
  what: string,
): BundleSource {
  const tenant = tenantId(id);
  const verification =
    verify && verificationOf(readFileSync(verify.key, 'utf8'), verify.algorithm, verify.scope);
  if (https) {
    refuseCleartext(what, https.url);
    const { url, token_file: tokenFile, client, ca, long_polling_seconds: seconds } = https;
    const settings = { url, token: bundleTokens?.get(id), tokenFile, client, ca, holdMs: seconds * 1_000 };
    return new HttpsSource(tenant, settings, verification);
  }
  if (folder) return new FolderSource({ folder: folder.path, root: folder.root ?? folder.path });
  if (!s3 || !s3Credentials)
    throw new ServiceError('config_invalid', `${what}: it has none of https, folder and s3`);
  refuseCleartext(what, s3.endpoint);
  return new S3Source(tenant, s3, s3Credentials, verification);
}

/** Throws `config_invalid`. */
export function kmsOf({ kms }: Config): Kms | undefined {
  if (!kms) return undefined;
  const { url, mount, key, namespace } = kms.transit;
  refuseCleartext('kms', url);
  return new Transit({ url, mount, key, namespace, login: loginOf(kms.transit) });
}

function loginOf({ token_file: file, approle, jwt }: NonNullable<Config['kms']>['transit']): Login {
  if (approle)
    return {
      by: 'approle',
      mount: approle.mount,
      roleId: approle.role_id,
      secretFile: approle.secret_id_file,
    };
  if (jwt) return { by: 'jwt', ...jwt };
  return { by: 'token', file: file ?? '' };
}

/** Where this server's records are sent, to be kept: a sidecar's by its authorities, an authority's by others. Throws `config_invalid`. */
export function shippingPlaces({ authority, authoritySecret, peers, peersSecret }: Config): ShippingPlace[] {
  const placesOf = (
    what: 'authority' | 'peers',
    to: Pick<NonNullable<Config['authority']>, 'admin' | 'ca' | 'cert' | 'key'>,
    secret: string | undefined,
  ): ShippingPlace[] => {
    const files = readFleetFiles(what, to);
    return to.admin.map(({ origin: url }) => ({ url, secret, ...files }));
  };
  return [
    ...(authority?.records === 'shipped' ? placesOf('authority', authority, authoritySecret) : []),
    ...(peers ? placesOf('peers', peers, peersSecret) : []),
  ];
}

/** What the tenant wants, or else the operator; for no fewer days than the operator has them kept. */
export function retentionOf(
  asked: Retention | undefined,
  { at_least_days: least = 0, ...own }: Config['retention'],
): Retention & { readonly atLeastDays: number } {
  const { days, mib } = asked ?? own;
  return { days: days && Math.max(days, least), mib, atLeastDays: least };
}

/** The most that any tenant may have. */
export function tenantLimitsOf(config: Config): TenantLimits {
  const { fuel = config.fuel, memory_mib = config.memory_mib, ...most } = config.tenant_limits;
  const {
    decisions_per_second,
    record_bytes_per_second,
    store_bytes = halfOf(config.max_store_bytes),
  } = most;
  return { fuel, memory_mib, decisions_per_second, record_bytes_per_second, store_bytes };
}

const halfOf = (bytes: number | undefined): number | undefined => bytes && Math.floor(bytes / 2);

/** What one evaluation may spend, and how many instances there are, unless a tenant says less. */
export const limitsOf = (config: Config) => ({
  fuel: config.fuel,
  memoryMib: config.memory_mib,
  maxInstances: config.max_instances,
});
