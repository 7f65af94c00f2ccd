import path from 'node:path';
import { MemberKeys } from '../../../src/audit/privacy/keys.ts';
import type { Sealing } from '../../../src/audit/proof/keys.ts';
import { Recorder } from '../../../src/decision/recorder.ts';
import { MasterKey } from '../../../src/delegation/keys/master-key.ts';
import { systemClock, systemRandom } from '../../../src/effects.ts';
import { tenantId } from '../../../src/ids.ts';
import { type MemberKeyStore, memberKeyStore } from '../../../src/storage/member-keys.ts';
import { openReader } from '../../../src/storage/reader.ts';
import type { Writer } from '../../../src/storage/writer.ts';
import { parseManifest } from '../../../src/tenancy/manifest.ts';
import type { Tenant } from '../../../src/tenancy/tenants.ts';
import { openStore, temporaryFolder, tenantNo } from '../../storage/store.ts';

/** A store, the keys in it, and the recorder of tenants that seal. */
export interface Stage extends AsyncDisposable {
  readonly folder: string;
  readonly writer: Writer;
  readonly store: MemberKeyStore;
  readonly keys: MemberKeys;
  readonly recorder: Recorder;
  /** With another master key than the store's keys are sealed by. */
  strangers(): MemberKeys;
  /** With the same, over a store that says something else. */
  keysOver(store: MemberKeyStore): MemberKeys;
  tenant(id: string, sealed: readonly object[]): Promise<Tenant>;
}

/** All tenants' keys under one. */
export const sealedBy = (key: MasterKey): Sealing => ({
  seal: (_tenant, ...given) => key.seal(...given),
  unseal: (_tenant, ...given) => key.unseal(...given),
});

export async function stage(): Promise<Stage> {
  const place = await temporaryFolder();
  const folder = path.join(place.folder, 'data');
  const writer = await openStore(folder);
  const reader = openReader(folder);
  const store = memberKeyStore(reader);
  const master = new MasterKey(systemRandom(32));
  const keysWith = (key: MasterKey, over: MemberKeyStore = store): MemberKeys =>
    new MemberKeys({ store: over, writer, sealing: sealedBy(key), clock: systemClock, random: systemRandom });
  const keys = keysWith(master);
  const recorder = new Recorder({
    policyOf: () => ({
      revision: '',
      masks: false,
      approves: false,
      evaluate: () => ({ result: undefined, cost: 0 }),
    }),
    keys,
    admission: { spent: () => undefined },
    random: systemRandom,
  });
  return {
    folder,
    writer,
    store,
    keys,
    recorder,
    strangers: () => keysWith(new MasterKey(systemRandom(32))),
    keysOver: (other) => keysWith(master, other),
    tenant: async (id, sealed) => {
      const no = await tenantNo(writer, id);
      return {
        id: tenantId(id),
        no,
        manifest: parseManifest({ id, audit: { sealed } }, 'tenant.yaml'),
      } as Tenant;
    },
    [Symbol.asyncDispose]: async () => {
      reader.close();
      await writer[Symbol.asyncDispose]();
      await place[Symbol.asyncDispose]();
    },
  };
}
