import { assemble } from './assembly.ts';
import type { Config } from './config.ts';
import { type Clock, type Random, systemClock, systemRandom } from './effects.ts';
import type { ServiceError } from './errors.ts';
import { tenantId } from './ids.ts';
import { readCertificates, watchCertificates } from './server/certificates.ts';
import { toServiceError } from './server/errors.ts';
import { devIssuer } from './server/http/dev.ts';
import { checkFree } from './server/intake/bind.ts';
import { Listener } from './server/listener.ts';
import { adminPlane, dataPlane, hotKinds, type Services } from './server/planes.ts';
import { planeHandlers } from './server/server.ts';
import { noTracing, otelTracing } from './server/tracing.ts';
import { openReader } from './storage/reader.ts';
import { Writer } from './storage/writer.ts';
import type { Tenants } from './tenancy/tenants.ts';

/** A server that answers. Disposing drains and stops it. */
export interface Mandate extends AsyncDisposable {
  readonly dataPort: number;
  readonly adminPort: number;
  readonly tenants: Tenants;
  readonly services: Services;
  /** Resolves when it can answer nothing any more until it is started again, with the reason. */
  readonly failed: Promise<ServiceError>;
}

/** How long the start waits to know that logs are those that their keys have signed. The rest follows behind. */
const CHECKED_MS = 200;

/** How long the admin plane's requests may take to finish; tails are ended at once. */
const ADMIN_DRAIN_MS = 1_000;

/**
 * Opens the store, loads the tenants, listens. Everything is closed in the opposite order: requests finish first, the
 * store goes last. Throws `config_invalid`, `storage_unsupported`.
 */
export async function start(
  config: Config,
  clock: Clock = systemClock,
  random: Random = systemRandom,
): Promise<Mandate> {
  await using stack = new AsyncDisposableStack();
  const stopping = new AbortController();
  const writer = stack.use(await Writer.open({ folder: config.data_dir, maxBytes: config.max_store_bytes }));
  const open = () => stack.adopt(openReader(config.data_dir), (db) => void db.close());
  const [reader, directory] = [open(), open()];
  let base = config.base_url ?? '';
  const common = { config, writer, reader, directory, clock, random };
  const parts = { ...common, base: () => base, stopping: stopping.signal };
  const { services, fleet, checkpointer, keeper, presence, unreported, join } = assemble(parts, stack);
  await services.tenantKeys.open();
  await services.logKeys.checkAll(config.accept_damage.length > 0 ? Number.POSITIVE_INFINITY : CHECKED_MS);
  for (const id of config.accept_damage) await services.administration.restartLog(tenantId(id));
  const parted = await join();
  await fleet.load(config.tenants);

  const tls = config.tls && readCertificates(config.tls);
  const tracing = config.tracing ? otelTracing() : noTracing;
  // A sidecar passes on what takes a token of it.
  const dev = config.dev && !config.authority ? await devIssuer(clock, () => base, services.tenants) : [];
  const listening = {
    connections: { total: config.max_connections, each: config.max_connections_per_address },
    nodeHttp2: config.http2 === 'node',
  };
  const { accepting, bounds } = services;
  const plane = dataPlane(services, dev);
  const handlers = planeHandlers(plane, tracing, bounds);
  const data = stack.use(new Listener(handlers, { ...listening, shared: bounds }));
  const admin = stack.use(new Listener(planeHandlers(adminPlane(services), tracing), listening));
  const socket = config.socket && { path: config.socket.path, mode: Number.parseInt(config.socket.mode, 8) };
  if (accepting) await checkFree(config.data.host, config.data.port);
  const door = { ...config.data, tls, reusePort: accepting !== undefined };
  const dataPort = await data.listen({ ...door, socket });
  const adminPort = await admin.listen({ ...config.admin, tls });
  base ||= `${tls ? 'https' : 'http'}://${config.data.host}:${dataPort}`;
  const endpoint = { ...door, port: dataPort };
  await accepting?.begin({
    served: { hot: hotKinds(plane), request: handlers.request },
    endpoint,
    base,
    door: { open: (at) => data.listen(at), close: () => data.leavePort(), shed: () => data.shed() },
  });
  // What a log is called begins with it.
  await services.logKeys.makeMissing(Array.from(services.tenants, ({ no }) => no));
  await presence.begin();
  // Where a change of the master key was broken off.
  await services.tenantKeys.settle((error) => void toServiceError(error, 'master key'));
  checkpointer.begin();
  keeper.begin();
  if (!config.authority) unreported.begin();
  fleet.follow(
    config.tenants,
    (tenant) => services.logKeys.makeMissing([tenant.no]),
    (error) => void toServiceError(error, 'tenants'),
  );
  if (config.tls)
    stack.use(watchCertificates(config.tls, accepting ? [data, admin, accepting] : [data, admin]));
  stack.defer(async () => {
    stopping.abort();
    const graceMs = config.drain_seconds * 1_000;
    // What main serves for the threads' connections goes on until these are done.
    await Promise.all([data.drain(graceMs), accepting?.drain(graceMs), admin.drain(ADMIN_DRAIN_MS)]);
  });
  const running = stack.move();
  return {
    dataPort,
    adminPort,
    tenants: services.tenants,
    services,
    failed: parted ? Promise.race([writer.failed, parted.failed]) : writer.failed,
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}
