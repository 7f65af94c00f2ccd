import { Keeper } from '../audit/keeping/keeper.ts';
import { Presence } from '../audit/presence.ts';
import { Checkpointer } from '../audit/proof/checkpointer.ts';
import type { LogKeys } from '../audit/proof/keys.ts';
import type { MlDsaKeys } from '../audit/proof/ml-dsa.ts';
import { LogProofs } from '../audit/proof/proofs.ts';
import { Receiving } from '../audit/receiving/thread.ts';
import { Sinks } from '../audit/sinks/thread.ts';
import { unsentOf } from '../audit/sinks/unsent.ts';
import { Witnessing } from '../audit/witness/witnessing.ts';
import { cursorOf, Shipping } from '../fleet/shipping/thread.ts';
import type { Policies } from '../policy/policies.ts';
import { toServiceError } from '../server/errors.ts';
import { archiveOf, retentionOf, shippingPlaces, sinkSettings, witnessPeer } from '../settings.ts';
import { receivedStore } from '../storage/received/store.ts';
import { volumeStore } from '../storage/volume/store.ts';
import type { Administration } from '../tenancy/administration.ts';
import type { Tenants } from '../tenancy/tenants.ts';
import type { Parts } from './parts.ts';

interface LogParts {
  readonly tenants: Tenants;
  readonly policies: Policies;
  readonly administration: Administration;
  readonly logKeys: LogKeys;
  readonly mlDsaKeys: MlDsaKeys | undefined;
}

/** What states, keeps and receives logs. */
export function assembleLogs(
  { config, writer, reader, clock, random }: Parts,
  { tenants, policies, administration, logKeys, mlDsaKeys }: LogParts,
  stack: AsyncDisposableStack,
) {
  const proofs = new LogProofs(reader, clock);
  const failed = (error: unknown): void => void toServiceError(error, 'checkpoints');
  const witnessing = stack.use(
    new Witnessing({ witnesses: config.witnesses.map(witnessPeer), proofs, writer, failed }),
  );
  // It goes after all that makes records.
  const checkpointer = stack.use(
    new Checkpointer(writer, logKeys, mlDsaKeys, (no) => witnessing.stated(no), failed),
  );
  const presence = stack.use(
    new Presence({
      writer,
      node: config.node,
      version: config.version,
      tenants,
      revisionOf: (tenant) => policies.of(tenant).revision,
      clock,
      random,
    }),
  );
  const places = shippingPlaces(config);
  const received = receivedStore(reader);
  const receiving = stack.use(
    new Receiving({
      folder: config.data_dir,
      writer,
      maxBytes: config.max_store_bytes,
      node: config.node,
      clock,
      failed: (error) => void toServiceError(error, 'receiving'),
    }),
  );
  const volumes = volumeStore(reader);
  const keeper = stack.use(
    new Keeper({
      folder: config.data_dir,
      writer,
      store: volumes,
      proofs,
      keyOf: (no) => logKeys.of(no),
      tenants: function* () {
        for (const { id, no, manifest } of tenants) {
          const retention = retentionOf(manifest.audit.retention, config.retention);
          yield { id, no, retention };
          for (const other of received.list(no)) yield { id, no: other.no, retention, other };
        }
      },
      reached: (...asked) => received.reached(...asked),
      settings: { maxMib: config.volumes.max_mib, maxDays: config.volumes.max_days },
      archive: archiveOf(config),
      archiveAfterDays: config.archive?.after_days,
      record: ({ id, no, other }, caller, action, detail) => {
        const whole = other ? { ...detail, node: other.node } : detail;
        return administration.record({ id, no: other?.tenantNo ?? no }, caller, action, undefined, whole);
      },
      unsent: unsentOf(reader, [
        ...config.sinks,
        ...places.map(({ url }) => ({ name: cursorOf(url), tenants: ['*'] })),
      ]),
      clock,
      failed: (error) => void toServiceError(error, 'volumes'),
    }),
  );
  return { proofs, witnessing, checkpointer, presence, received, receiving, volumes, keeper };
}

/** What sends records elsewhere. */
export function assembleSending({ config, writer }: Parts, stack: AsyncDisposableStack) {
  const places = shippingPlaces(config);
  const sinks = stack.use(
    new Sinks({
      folder: config.data_dir,
      writer,
      sinks: config.sinks.map(sinkSettings),
      failed: (error) => void toServiceError(error, 'sinks'),
    }),
  );

  const shipping = stack.use(
    new Shipping({
      folder: config.data_dir,
      writer,
      places,
      failed: (error) => void toServiceError(error, 'shipping'),
    }),
  );
  return { sinks, shipping };
}
