import { expect, test } from 'vitest';
import { Keys } from '../../../src/delegation/keys/keys.ts';
import { MasterKey } from '../../../src/delegation/keys/master-key.ts';
import { systemRandom } from '../../../src/effects.ts';
import { ServiceError } from '../../../src/errors.ts';
import { tenantId } from '../../../src/ids.ts';
import { keyStore } from '../../../src/storage/keys.ts';
import { openReader } from '../../../src/storage/reader.ts';
import type { Writer } from '../../../src/storage/writer.ts';
import { parseManifest } from '../../../src/tenancy/manifest.ts';
import { buildTenant } from '../../../src/tenancy/tenants.ts';
import { sealedBy } from '../../audit/privacy/stage.ts';
import { openStore, T0, temporaryFolder, tenantNo } from '../../storage/store.ts';

const DAY = 86_400_000;

test('while nothing can be recorded no key signs that is due for another, and those that verify are told', async () => {
  await using place = await temporaryFolder();
  await using writer = await openStore(place.folder);
  const id = tenantId('acme');
  const manifest = parseManifest({ id }, 'tenant.yaml');
  const source = { id, manifest, text: '', hash: '', folder: place.folder, root: place.folder };
  const tenant = buildTenant(source, await tenantNo(writer, 'acme'));
  const reader = openReader(place.folder);
  let now = T0;
  const keysOver = (over: Pick<Writer, 'run'>): Keys =>
    new Keys({
      store: keyStore(reader),
      writer: over,
      sealing: sealedBy(new MasterKey(Buffer.alloc(32))),
      clock: () => now,
      random: systemRandom,
    });
  const refusing = { run: () => Promise.reject(new ServiceError('audit_unavailable', 'no')) };
  await expect(keysOver(refusing).jwks(tenant)).rejects.toMatchObject({ code: 'audit_unavailable' });
  const { kid } = await keysOver(writer).signer(tenant);
  now += 40 * DAY;
  const keys = keysOver(refusing);
  expect((await keys.jwks(tenant)).keys.map((key) => key.kid)).toEqual([kid]);
  expect(await keys.find(tenant, kid)).toMatchObject({ kid });
  await expect(keys.signer(tenant)).rejects.toMatchObject({ code: 'audit_unavailable' });
  const again = keysOver(writer);
  expect((await again.signer(tenant)).kid).toBe(kid);
  expect(await again.list(tenant)).toHaveLength(2);
  reader.close();
});
