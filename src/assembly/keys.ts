import path from 'node:path';
import { keyMade, ownRecord } from '../audit/own.ts';
import { MemberKeys } from '../audit/privacy/keys.ts';
import { LogKeys } from '../audit/proof/keys.ts';
import { MlDsaKeys } from '../audit/proof/ml-dsa.ts';
import { Keys } from '../delegation/keys/keys.ts';
import { KmsTenantKeys } from '../delegation/keys/kms/tenant-keys.ts';
import { openFormerMaster, openMasterKey } from '../delegation/keys/open-master-key.ts';
import { TenantKeys } from '../delegation/keys/tenant-keys.ts';
import { systemMonotonic } from '../effects.ts';
import { vkeyOf } from '../merkle/keys.ts';
import { kmsOf } from '../settings.ts';
import { keyStore } from '../storage/keys.ts';
import { LogTrees } from '../storage/log/tree.ts';
import { logKeyStore } from '../storage/log-keys.ts';
import { memberKeyStore } from '../storage/member-keys.ts';
import { tenantKeyStore } from '../storage/tenant-keys.ts';
import type { Parts } from './parts.ts';

/** What keys there are, and what seals them. */
export function assembleKeys(
  { config, writer, reader, clock, random }: Parts,
  issuerOf: (tenant: string) => string,
  stack: AsyncDisposableStack,
) {
  const sealed = keyStore(reader);
  const master = {
    file: config.master_key_file ?? path.join(config.data_dir, 'master.key'),
    given: config.masterKey,
  };
  const kms = kmsOf(config);
  const sealing = { store: tenantKeyStore(reader), writer, clock, monotonic: systemMonotonic, random };
  const tenantKeys = kms
    ? stack.use(new KmsTenantKeys({ kms, former: openFormerMaster(master, sealed, random), ...sealing }))
    : new TenantKeys({ source: openMasterKey(master, sealed, random), ...sealing });
  const keys = new Keys({
    store: sealed,
    writer,
    sealing: tenantKeys,
    isPassive: config.authority !== undefined,
    clock,
    random,
  });
  const logStore = logKeyStore(reader);
  const logKeys = new LogKeys({
    store: logStore,
    trees: new LogTrees(reader),
    writer,
    sealing: tenantKeys,
    originOf: (tenant) => `${issuerOf(tenant).replace(/^https?:\/\//, '')}/log/${config.node}`,
    recordOf: (no, key) => ownRecord(keyMade(no, vkeyOf(key), 'log', 'Ed25519'), clock, random),
    clock,
    random,
  });
  const memberStore = memberKeyStore(reader);
  const memberKeys = new MemberKeys({ store: memberStore, writer, sealing: tenantKeys, clock, random });
  const mlDsaKeys = config.ml_dsa_checkpoints
    ? new MlDsaKeys({
        store: logStore,
        writer,
        sealing: tenantKeys,
        recordOf: (no, key) => ownRecord(keyMade(no, vkeyOf(key), 'log', 'ML-DSA-44'), clock, random),
        clock,
        random,
      })
    : undefined;
  return { tenantKeys, keys, logKeys, memberStore, memberKeys, mlDsaKeys };
}
