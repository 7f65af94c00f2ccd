import { readFileSync } from 'node:fs';
import path from 'node:path';
import type { SecureContextOptions } from 'node:tls';
import type { Config } from './config.ts';
import { DataQueries } from './decision/data.ts';
import { Decisions } from './decision/decisions.ts';
import { Search } from './decision/search.ts';
import { Delegations } from './delegation/delegations.ts';
import { Keys, openMasterKey } from './delegation/keys.ts';
import { Tokens } from './delegation/tokens.ts';
import { type Clock, type Random, systemClock, systemRandom } from './effects.ts';
import { Compiler } from './policy/compiler.ts';
import { Fleet } from './policy/fleet.ts';
import { Policies } from './policy/policies.ts';
import { devIssuer, devTrust } from './server/http/dev.ts';
import { Listener } from './server/listener.ts';
import { adminPlane, dataPlane, type Services } from './server/planes.ts';
import { planeHandlers } from './server/server.ts';
import { openReader } from './storage/database.ts';
import { grantStore } from './storage/grants.ts';
import { keyStore } from './storage/keys.ts';
import { principalStore } from './storage/principals.ts';
import { recordStore } from './storage/records.ts';
import { Writer } from './storage/writer.ts';
import { createMetrics } from './telemetry/metrics.ts';
import { Administration } from './tenancy/administration.ts';
import { Callers } from './tenancy/callers.ts';
import { factSource } from './tenancy/facts.ts';
import { Issuers } from './tenancy/issuers.ts';
import { type Tenant, Tenants } from './tenancy/tenants.ts';

/** A server that answers. Disposing drains and stops it. */
export interface Mandate extends AsyncDisposable {
  readonly dataPort: number;
  readonly adminPort: number;
  readonly tenants: Tenants;
  readonly services: Services;
}

/** Puts everything together and listens. Throws `config_invalid`, `storage_unsupported`. */
export async function start(
  config: Config,
  clock: Clock = systemClock,
  random: Random = systemRandom,
): Promise<Mandate> {
  await using stack = new AsyncDisposableStack();
  const stopping = new AbortController();
  const writer = stack.use(await Writer.open({ folder: config.data_dir, maxBytes: config.max_store_bytes }));
  const reader = stack.adopt(openReader(config.data_dir), (db) => void db.close());
  const [grants, records, principals] = [grantStore(reader), recordStore(reader), principalStore(reader)];
  let base = config.base_url ?? '';
  const issuerOf = (tenant: string): string => `${base}/t/${tenant}`;
  const issuerOfTenant = (tenant: Tenant): string => issuerOf(tenant.id);

  const tenants = new Tenants();
  const facts = factSource(principals);
  const policies = new Policies({
    clock,
    fuel: config.fuel,
    memoryMib: config.memory_mib,
    maxInstances: config.max_instances,
  });
  const policyOf = (tenant: Tenant) => policies.of(tenant);
  const administration = new Administration({ writer, facts, clock, random });
  const cache = path.join(config.data_dir, 'policy-cache');
  const compiler = new Compiler({ opa: config.opa, policies: path.join(config.home, 'policies'), cache });
  const fleet = stack.use(new Fleet({ tenants, policies, compiler, administration }));
  const issuers = new Issuers(clock, config.dev, () => (config.dev ? [devTrust(base)] : []));
  const master = openMasterKey(config.master_key_file ?? path.join(config.data_dir, 'master.key'), random);
  const keys = new Keys({ store: keyStore(reader), writer, master, clock, random });
  const tokens = new Tokens({ keys, grants, issuers, issuerOf: issuerOfTenant });
  const common = { facts, policyOf, writer, clock, random };
  const decisions = new Decisions({ ...common, resolveToken: tokens.resolve });
  const operators = config.operators.map((each) => ({ ...each, secretSha256: each.secret_sha256 }));
  const metrics = stack.use(createMetrics({ waiting: () => writer.waiting, tenants: () => tenants.size }));
  const services: Services = {
    tenants,
    policies,
    administration,
    principals,
    records,
    keys,
    issuerOf,
    dev: config.dev,
    callers: new Callers(operators, config.dev),
    decisions,
    data: new DataQueries(common),
    search: new Search({ decisions, principals, secret: random(32) }),
    delegations: new Delegations({ ...common, tokens, issuers, grants }),
    reload: (tenant, caller) => fleet.reload(tenant, caller),
    readiness: () => ({
      ready: writer.healthy,
      problems: [...(writer.healthy ? [] : ['store: the writer stopped']), ...fleet.problems()],
    }),
    metrics: metrics.text,
    stopping: stopping.signal,
  };
  await fleet.load(config.tenants);

  // Read again for each renewal; the first time a missing file stops the start.
  const context = (): SecureContextOptions | undefined => config.tls && certificatesOf(config.tls);
  const endpointTls = context() && { ...context(), requestCert: config.tls?.client_ca !== undefined };
  const dev = config.dev ? await devIssuer(clock, () => base, tenants) : [];
  const data = stack.use(new Listener(planeHandlers(dataPlane(services, dev))));
  const admin = stack.use(new Listener(planeHandlers(adminPlane(services))));
  const socket = config.socket && { path: config.socket.path, mode: Number.parseInt(config.socket.mode, 8) };
  const dataPort = await data.listen({ ...config.data, socket, tls: endpointTls });
  const adminPort = await admin.listen({ ...config.admin, tls: endpointTls });
  base ||= `${config.tls ? 'https' : 'http'}://${config.data.host}:${dataPort}`;
  stack.defer(() => stopping.abort());
  stack.defer(
    async () => void (await Promise.all([data.drain(config.drain_seconds * 1000), admin.drain(1000)])),
  );
  const running = stack.move();
  return { dataPort, adminPort, tenants, services, [Symbol.asyncDispose]: () => running.disposeAsync() };
}

function certificatesOf(tls: NonNullable<Config['tls']>): SecureContextOptions {
  const ca = tls.client_ca === undefined ? {} : { ca: readFileSync(tls.client_ca) };
  return { cert: readFileSync(tls.cert), key: readFileSync(tls.key), ...ca };
}
