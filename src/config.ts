import { existsSync, readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import path from 'node:path';
import { parse } from 'yaml';
import { z } from 'zod';
import { bucket } from './audit/keeping/bucket.ts';
import type { S3Credentials } from './audit/keeping/s3.ts';
import { recordKinds, recordOutcomes } from './audit/record.ts';
import { sinkFormats } from './audit/sinks/settings.ts';
import { describe, ServiceError } from './errors.ts';
import { nodePattern } from './ids.ts';
import { bundlesDeclared } from './policy/pulling/declared.ts';
import { operatorOperations } from './tenancy/manifest.ts';

const port = z.int().min(0).max(65_535);

const address = z.string().transform((text, context) => {
  const match = /^(\[[0-9a-fA-F:]+\]|[^:]+):(\d{1,5})$/.exec(text);
  if (match && port.safeParse(Number(match[2])).success)
    return { host: (match[1] ?? '').replace(/^\[|\]$/g, ''), port: Number(match[2]) };
  context.addIssue({ code: 'custom', message: 'an address such as 127.0.0.1:7400' });
  return z.NEVER;
});

const LOOPBACK = ['127.0.0.1', '::1', '[::1]', 'localhost'];

/** Of other servers. What is secret crosses them, so that cleartext is for this machine alone. */
const origins = z
  .union([z.url(), z.array(z.url()).min(1).max(16)])
  .transform((given) => [given].flat().map((each) => new URL(each)))
  .refine(
    (all) => all.every(({ protocol, hostname }) => protocol === 'https:' || LOOPBACK.includes(hostname)),
    'https, unless it is on this machine',
  )
  .refine(
    (all) => all.every(({ pathname, search }) => pathname === '/' && search === ''),
    'an address without a path',
  );

/** How other servers are reached. */
const reached = {
  /** Who certifies them, where the system does not know; and the certificate that this server shows. PEM files. */
  ca: z.string().min(1).optional(),
  cert: z.string().min(1).optional(),
  key: z.string().min(1).optional(),
};
const isPair = ({ cert, key }: { cert?: string | undefined; key?: string | undefined }): boolean =>
  (cert === undefined) === (key === undefined);
const PAIR = 'cert and key come together';

const loginMount = (name: string) =>
  z
    .string()
    .regex(/^[\w-]+(?:\/[\w-]+)*$/, 'names of letters, digits, _ and -')
    .default(name);

const schema = z.strictObject({
  /** Loopback only; callers may leave out their credentials; issuers on this machine may speak cleartext. */
  dev: z.boolean().default(false),
  data_dir: z.string().min(1).default('data'),
  /** Folders that are a tenant's (with a tenant.yaml), or that hold such folders. */
  tenants: z.array(z.string().min(1)).default([]),
  data: address.prefault('127.0.0.1:7400'),
  admin: address.prefault('127.0.0.1:7401'),
  /** A Unix socket that serves the data plane too. Mode in octal. */
  socket: z
    .strictObject({
      path: z.string().min(1),
      mode: z
        .string()
        .regex(/^0?[0-7]{3}$/)
        .default('660'),
    })
    .optional(),
  /** Tenants whose log is set aside at the start if it is damaged, and a new one begun: for the command line. */
  accept_damage: z.array(z.string()).default([]),
  /** What this server's part of each tenant's log is called. */
  node: z.string().regex(nodePattern, '1 to 63 of a-z, 0-9 and -').default('main'),
  /** Where records are sent, each with a place of its own in each log (docs/sinks.md). */
  sinks: z
    .array(
      z
        .strictObject({
          name: z.string().regex(/^[a-z0-9][a-z0-9-]{0,62}$/, '1 to 63 of a-z, 0-9 and -'),
          http: z.strictObject({ url: z.url(), token_file: z.string().optional() }).optional(),
          file: z
            .strictObject({
              path: z.string().min(1),
              max_bytes: z.int().min(65_536).default(134_217_728),
              keep: z.int().min(0).max(1_000).default(10),
            })
            .optional(),
          syslog: z.strictObject({ host: z.string().min(1), port, ca: z.string().optional() }).optional(),
          format: z.enum(sinkFormats).default('records'),
          tenants: z.array(z.string().min(1)).min(1).default(['*']),
          kinds: z.array(z.enum(recordKinds)).min(1).optional(),
          outcomes: z.array(z.enum(recordOutcomes)).min(1).optional(),
          from: z.enum(['beginning', 'now']).default('beginning'),
        })
        .refine(
          ({ http, file, syslog }) => [http, file, syslog].filter((each) => each !== undefined).length === 1,
          'a sink has one of http, file and syslog',
        ),
    )
    .max(32)
    .refine(
      (sinks) => new Set(sinks.map(({ name }) => name)).size === sinks.length,
      'two sinks have one name',
    )
    .refine((sinks) => {
      const files = sinks.flatMap(({ file }) => (file ? [path.resolve(file.path)] : []));
      return new Set(files).size === files.length;
    }, 'two sinks write one file')
    .default([]),
  /** When a log's older records leave the database for a file of their own (docs/volumes.md). */
  volumes: z
    .strictObject({
      max_mib: z.number().min(1).max(4_096).default(256),
      max_days: z.number().positive().max(36_500).default(30),
    })
    .prefault({}),
  /** Where such files are moved to, once their records are so old; without `after_days` when somebody asks for it. */
  archive: z
    .strictObject({
      folder: z.string().min(1).optional(),
      /** Its credentials are AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN of the environment. */
      s3: bucket.optional(),
      after_days: z.number().min(0).max(36_500).optional(),
    })
    .refine(({ folder, s3 }) => (folder === undefined) !== (s3 === undefined), 'one of folder and s3')
    .optional(),
  /** Tenants whose policy is pulled: an OPA bundle, or a folder that something else keeps (docs/bundles.md). */
  bundles: bundlesDeclared,
  /** How long records are kept where a tenant does not say; for so many days in any case. Left out: for good. */
  retention: z
    .strictObject({
      days: z.int().min(1).max(36_500).optional(),
      mib: z.int().min(1).optional(),
      at_least_days: z.int().min(1).max(36_500).optional(),
    })
    .prefault({}),
  /** What the outside calls the data plane; issuers begin with it. Left out: its own address. */
  base_url: z.url().optional(),
  tls: z.strictObject({ cert: z.string(), key: z.string(), client_ca: z.string().optional() }).optional(),
  master_key_file: z.string().optional(),
  /** What wraps the keys of tenants in the place of a master key (docs/authority.md). */
  kms: z
    .strictObject({
      transit: z
        .strictObject({
          url: z.url(),
          mount: z
            .string()
            .regex(/^[\w-]+(?:\/[\w-]+)*$/, 'names of letters, digits, _ and -')
            .default('transit'),
          key: z.string().regex(/^[\w.-]{1,128}$/, 'a name of letters, digits, _, . and -'),
          namespace: z
            .string()
            .regex(/^[\w-]+(?:\/[\w-]+)*$/)
            .optional(),
          token_file: z.string().min(1).optional(),
          approle: z
            .strictObject({
              mount: loginMount('approle'),
              role_id: z.string().min(1).max(256),
              secret_id_file: z.string().min(1),
            })
            .optional(),
          jwt: z
            .strictObject({
              mount: loginMount('jwt'),
              role: z.string().min(1).max(256),
              file: z.string().min(1),
            })
            .optional(),
        })
        .refine(
          ({ token_file: token, approle, jwt }) =>
            [token, approle, jwt].filter((each) => each !== undefined).length === 1,
          'one of token_file, approle and jwt',
        ),
    })
    .optional(),
  /** Who signs checkpoints beside the log (C2SP tlog-witness): the verifier key and the submission prefix of each. */
  witnesses: z
    .array(z.strictObject({ key: z.string().min(1), url: z.url() }))
    .max(32)
    .default([]),
  /** Whether logs sign their checkpoints by a second key too, of ML-DSA-44. */
  ml_dsa_checkpoints: z.boolean().default(false),
  operators: z
    .array(
      z.strictObject({
        id: z.string().min(1).max(256),
        secret_sha256: z.string().regex(/^[0-9a-f]{64}$/),
        tenants: z.array(z.string()).default(['*']),
        may: z
          .array(z.enum(operatorOperations))
          .default(operatorOperations.filter((each) => each !== 'sync.follow')),
      }),
    )
    .default([]),
  /** Fuel of one evaluation; the default is about five milliseconds of a typical core. */
  fuel: z.int().min(1_000).max(2_000_000_000).default(20_000_000),
  memory_mib: z.int().min(4).max(1_024).default(64),
  max_instances: z.int().min(1).default(1_000),
  /** How many tenants metrics name. */
  tenant_labels: z.int().min(0).default(100),
  /** How many decisions may be under way at once; beyond it callers are told to come back. */
  max_open_decisions: z.int().min(1).default(20_000),
  /** How many connections there may be on a plane, and how many of them from one address; of IPv6 from one /64. */
  max_connections: z.int().min(1).default(10_000),
  max_connections_per_address: z.int().min(1).default(1_000),
  /** How many threads may decide gRPC's checks, beside the one that speaks the protocols. They start when needed. */
  decision_threads: z
    .int()
    .min(0)
    .max(16)
    .default(() => Math.min(4, availableParallelism())),
  /**
   * How many threads accept the data plane's connections and decide what comes on them: in the place of the one that does
   * all else from the start, or beside it once that has no time left. Left out: two less than there are cores, 3 at most.
   */
  accept_threads: z.int().min(0).max(16).optional(),
  accept_from: z.enum(['start', 'load']).default('load'),
  /** Bounds the database; a write beyond it fails, and so does its request. */
  max_store_bytes: z.int().min(1_048_576).optional(),
  /**
   * The most that a tenant's own `limits` may be. Fuel and memory are the server's where they are left out; a tenant
   * may fill half of a bounded store, so that it does not fill it for all, and record 256 MiB a second.
   */
  tenant_limits: z
    .strictObject({
      fuel: z.int().min(1_000).max(2_000_000_000).optional(),
      memory_mib: z.int().min(4).max(1_024).optional(),
      decisions_per_second: z.int().min(1).optional(),
      record_bytes_per_second: z.int().min(1_024).default(268_435_456),
      store_bytes: z.int().min(65_536).optional(),
    })
    .prefault({}),
  /** For Envoy: the request header that names the tenant, where the edge sets or strips it. Lower case. */
  ext_authz: z
    .strictObject({
      tenant_header: z
        .string()
        .regex(/^[a-z0-9-]+$/)
        .optional(),
    })
    .optional(),
  /** Several authorities with one state have their order here: postgres://… or MANDATE_STORE. Left out: this one is alone. */
  store: z
    .string()
    .regex(/^postgres(?:ql)?:\/\//, 'postgres://user@host/database')
    .optional(),
  /** After how many changes of a tenant its state is copied there, and what led to it is given up. */
  store_copy_every: z.int().min(100).default(20_000),
  /** For how long a server that is one of several may hear nothing before it refuses what depends on nothing being revoked. */
  max_staleness_seconds: z.number().min(1).max(3_600).default(10),
  /** Makes this server a sidecar: it serves what an authority has, and passes on what is granted and changed there. */
  authority: z
    .strictObject({
      /** Addresses of authorities, asked in turn: their admin planes, which are followed, and their data planes. */
      admin: origins,
      data: origins,
      /** The secret of the operator that this sidecar is to them; or MANDATE_AUTHORITY_SECRET. */
      secret_file: z.string().min(1).optional(),
      ...reached,
      /** Whether records are sent to each of them, or stay where they were made. */
      records: z.enum(['shipped', 'kept']).default('shipped'),
    })
    .refine(isPair, PAIR)
    .optional(),
  /** Other authorities, which this one sends its records to. */
  peers: z
    .strictObject({
      /** Their admin planes. */
      admin: origins,
      /** The secret of the operator that this authority is to them; or MANDATE_PEERS_SECRET. */
      secret_file: z.string().min(1).optional(),
      ...reached,
    })
    .refine(isPair, PAIR)
    .optional(),
  opa: z.string().optional(),
  /** Who speaks HTTP/2: Mandate itself, or Node's `http2` as before; for two releases, as a way back. */
  http2: z.enum(['own', 'node']).default('own'),
  log_level: z.enum(['debug', 'info', 'warn', 'error', 'silent']).default('info'),
  /** Spans through OpenTelemetry's API, for the SDK that the process has registered. */
  tracing: z.boolean().default(false),
  /** How long requests may take to finish when the server stops. */
  drain_seconds: z.number().min(0).max(300).default(10),
});

export type Config = Readonly<z.infer<typeof schema>> & {
  /** The folder of the package: where policies/ and bin/ are. */
  readonly home: string;
  /** Mandate's own. */
  readonly version: string;
  readonly opa: string;
  /** The master key, where the environment has it and no file, and the one before it. */
  readonly masterKey?: MasterKeyGiven | undefined;
  /** What `authority` knows this sidecar by. */
  readonly authoritySecret?: string | undefined;
  /** What `peers` know this authority by. */
  readonly peersSecret?: string | undefined;
  /** Those of `archive.s3`, and of bundles in buckets. */
  readonly s3Credentials?: S3Credentials | undefined;
  /** By tenant: the bearer token that its bundle is pulled with, where the environment has it. */
  readonly bundleTokens?: ReadonlyMap<string, string> | undefined;
};

/** Values given on the command line, by the names of the file. Undefined ones were not given. */
export type Overrides = {
  readonly [Name in keyof z.input<typeof schema>]?: z.input<typeof schema>[Name] | undefined;
};

/**
 * Reads the configuration once: file, then environment, then command line. Throws `config_invalid`, naming what is
 * wrong. Beyond loopback it demands TLS.
 */
export function readConfig(
  environment: Readonly<Record<string, string | undefined>>,
  overrides: Overrides = {},
  file: string | undefined = environment['MANDATE_CONFIG'],
): Config {
  const given: Record<string, unknown> = file === undefined ? {} : readFile(file);
  if (environment['MANDATE_OPA']) given['opa'] = environment['MANDATE_OPA'];
  if (environment['MANDATE_DATA_DIR']) given['data_dir'] = environment['MANDATE_DATA_DIR'];
  if (environment['MANDATE_LOG_LEVEL']) given['log_level'] = environment['MANDATE_LOG_LEVEL'];
  if (environment['MANDATE_NODE']) given['node'] = environment['MANDATE_NODE'];
  if (environment['MANDATE_STORE']) given['store'] = environment['MANDATE_STORE'];
  if (environment['MANDATE_HTTP2']) given['http2'] = environment['MANDATE_HTTP2'];
  for (const [name, value] of Object.entries(overrides)) if (value !== undefined) given[name] = value;
  // Who tries Mandate out reads the console; a log line for each refusal would bury what it says.
  if (given['dev'] === true) given['log_level'] ??= 'warn';
  const parsed = schema.safeParse(given);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw new ServiceError(
      'config_invalid',
      `${file ?? 'configuration'}: ${issue?.path.join('.') || 'document'}: ${issue?.message}`,
    );
  }
  const home = path.resolve(import.meta.dirname, import.meta.filename.endsWith('.ts') ? '..' : '../..');
  const config: Config = Object.freeze({
    ...parsed.data,
    home,
    version: versionOf(home),
    opa: opaOf(parsed.data.opa, home),
    masterKey: masterKeyIn(environment),
    authoritySecret:
      parsed.data.authority &&
      fleetSecretIn('authority', parsed.data.authority, environment['MANDATE_AUTHORITY_SECRET']),
    peersSecret:
      parsed.data.peers && fleetSecretIn('peers', parsed.data.peers, environment['MANDATE_PEERS_SECRET']),
    s3Credentials: usesS3(parsed.data) ? s3CredentialsIn(environment) : undefined,
    bundleTokens: bundleTokensIn(environment, parsed.data.bundles),
  });
  for (const [plane, { host }] of Object.entries({ data: config.data, admin: config.admin }))
    checkExposure(config, plane, host);
  checkSidecar(config);
  checkThreads(config);
  return config;
}

/** A sidecar has its tenants from its authority, and is called as that is. */
function checkSidecar({ authority, peers, store, tenants, base_url }: Config): void {
  if (store !== undefined && base_url === undefined)
    throw new ServiceError('config_invalid', 'store: authorities take base_url, the same for all of them');
  if (!authority) return;
  if (store !== undefined)
    throw new ServiceError(
      'config_invalid',
      'store: a sidecar has its state from its authority, and no database',
    );
  if (peers) throw new ServiceError('config_invalid', 'peers: a sidecar sends its records to its authority');
  if (tenants.length > 0)
    throw new ServiceError(
      'config_invalid',
      'authority: a sidecar has its tenants from there, and takes none of its own',
    );
  if (base_url === undefined)
    throw new ServiceError(
      'config_invalid',
      'authority: a sidecar takes base_url, the same as its authority has',
    );
}

/** What one thread alone can do. */
function checkThreads({ accept_threads: threads, tracing, http2 }: Config): void {
  const why = tracing ? 'tracing' : http2 === 'node' ? 'http2: node (or MANDATE_HTTP2)' : undefined;
  if (!threads || why === undefined) return;
  throw new ServiceError(
    'config_invalid',
    `accept_threads: with ${why} one thread accepts all connections: leave it out, or make it 0`,
  );
}

/** From the environment or a file; `what` names the member. */
function fleetSecretIn(
  what: string,
  { secret_file: file }: { secret_file?: string | undefined },
  fromEnvironment: string | undefined,
): string | undefined {
  const given = fromEnvironment ?? (file === undefined ? undefined : secretIn(what, file));
  if (given !== undefined && !/^[\x21-\x7e]{16,512}$/.test(given))
    throw new ServiceError('config_invalid', `${what}: the secret is 16 to 512 printable characters`);
  return given;
}

function secretIn(what: string, file: string): string {
  try {
    return readFileSync(file, 'utf8').trim();
  } catch (error) {
    throw new ServiceError('config_invalid', `${what}: secret_file: ${describe(error)}`);
  }
}

const versionOf = (home: string): string =>
  (JSON.parse(readFileSync(path.join(home, 'package.json'), 'utf8')) as { version: string }).version;

export interface MasterKeyGiven {
  readonly current: Uint8Array;
  readonly previous: Uint8Array | undefined;
}

function masterKeyIn(environment: Readonly<Record<string, string | undefined>>): MasterKeyGiven | undefined {
  const [current, previous] = ['MANDATE_MASTER_KEY', 'MANDATE_MASTER_KEY_PREVIOUS'].map((name) => {
    const text = environment[name] ?? '';
    if (text !== '' && !/^[0-9a-f]{64}$/.test(text))
      throw new ServiceError('config_invalid', `${name} is no master key: 64 lower-case hex digits`);
    return text === '' ? undefined : Buffer.from(text, 'hex');
  });
  if (current) return { current, previous };
  if (!previous) return undefined;
  throw new ServiceError(
    'config_invalid',
    'MANDATE_MASTER_KEY_PREVIOUS is nothing without MANDATE_MASTER_KEY',
  );
}

const usesS3 = ({ archive, bundles }: z.infer<typeof schema>): boolean =>
  archive?.s3 !== undefined || bundles.some(({ s3 }) => s3 !== undefined);

function bundleTokensIn(
  environment: Readonly<Record<string, string | undefined>>,
  bundles: z.infer<typeof schema>['bundles'],
): ReadonlyMap<string, string> {
  const tokens = new Map<string, string>();
  for (const { tenant, https } of bundles) {
    const name = https?.token_environment;
    if (name === undefined) continue;
    const token = environment[name] ?? '';
    // RFC 6750 section 2.1.
    if (!/^[\x21-\x7e]{1,16384}$/.test(token))
      throw new ServiceError(
        'config_invalid',
        `bundles: ${tenant}: ${name} of the environment holds no token`,
      );
    tokens.set(tenant, token);
  }
  return tokens;
}

function s3CredentialsIn(environment: Readonly<Record<string, string | undefined>>): S3Credentials {
  const { AWS_ACCESS_KEY_ID: id, AWS_SECRET_ACCESS_KEY: secret, AWS_SESSION_TOKEN: token } = environment;
  if (id && secret) return { accessKeyId: id, secretAccessKey: secret, sessionToken: token };
  throw new ServiceError(
    'config_invalid',
    's3 takes AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY from the environment, and one is missing',
  );
}

function checkExposure(config: Config, plane: string, host: string): void {
  if (LOOPBACK.includes(host)) return;
  if (config.dev)
    throw new ServiceError('config_invalid', `${plane}: --dev serves loopback only, not ${host}`);
  if (!config.tls)
    throw new ServiceError('config_invalid', `${plane}: ${host} is beyond loopback and takes tls`);
}

function readFile(file: string): Record<string, unknown> {
  try {
    const value: unknown = parse(readFileSync(file, 'utf8'), { maxAliasCount: 0 });
    if (value === null || value === undefined) return {};
    if (typeof value === 'object' && !Array.isArray(value)) return { ...value };
    throw new Error('not a mapping of names to values');
  } catch (error) {
    throw new ServiceError('config_invalid', `${file}: ${describe(error)}`);
  }
}

/** The pinned compiler that `make opa` builds, unless another is named; else whatever `opa` the PATH has. */
function opaOf(named: string | undefined, home: string): string {
  if (named) return path.resolve(named);
  const pinned = path.join(home, 'bin', 'opa');
  return existsSync(pinned) ? pinned : 'opa';
}

/** Whether other servers may serve the same tenants. */
export const isShared = ({ store, authority, operators }: Config): boolean =>
  store !== undefined || authority !== undefined || operators.some(({ may }) => may.includes('sync.follow'));
