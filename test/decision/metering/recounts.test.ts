import { expect, test } from 'vitest';
import { changeRow } from '../../../src/audit/administration.ts';
import { Recounts } from '../../../src/decision/metering/recounts.ts';
import type { TenantId } from '../../../src/ids.ts';
import { grantStore } from '../../../src/storage/grants.ts';
import { recordStore } from '../../../src/storage/log/records.ts';
import { openReader } from '../../../src/storage/reader.ts';
import { usageStore } from '../../../src/storage/usage.ts';
import { parseManifest } from '../../../src/tenancy/manifest.ts';
import type { Tenant } from '../../../src/tenancy/tenants.ts';
import { openStore, T0, temporaryFolder, tenantNo } from '../../storage/store.ts';

/** A log that has not all that was decided tells the least that was counted: nothing is lowered by it. */

const declared = {
  id: 'acme',
  meters: {
    ever: { actions: ['export'], per: 'subject' },
    lately: { actions: ['export'], per: 'subject', window: '1h' },
  },
};
const DAY = 86_400_000;

test('where a log was begun anew, what is counted for good is raised by it alone, and what has a window is set right', async () => {
  await using place = await temporaryFolder();
  await using writer = await openStore(place.folder);
  const reader = openReader(place.folder);
  try {
    const no = await tenantNo(writer, 'acme');
    const id = 'acme' as TenantId;
    const tenant = { no, id, manifest: parseManifest(declared, 'tenant.yaml') } as unknown as Tenant;
    const change = (action: string, detail: object) =>
      changeRow({
        tenant,
        time: T0,
        decisionId: 'd',
        caller: 'start',
        action,
        target: undefined,
        detail: { ...detail },
      });
    await writer.append(change('log.restart', {}));
    const count = (meter: string, since: number, amount: number) => ({
      meter,
      of: 'subject user:u',
      since,
      amount,
      until: meter === 'ever' ? null : since + DAY,
    });
    const now = T0 + DAY;
    // Nobody can tell by this log whether this was so.
    const counts = [count('ever', 0, 3_000_000), count('lately', now - 60_000, 2_000_000)];
    await writer.run('countUsage', { tenantNo: no, counts, at: now });
    const usage = usageStore(reader);
    const recounts = new Recounts({
      records: recordStore(reader),
      usage,
      grants: grantStore(reader),
      meters: { counted: () => undefined },
      writer,
      atOnce: (read) => reader.transaction(read)(),
      record: (_tenant, _caller, detail) => change('meters.rebuild', detail),
      isShared: false,
      clock: () => now,
    });
    const { signal } = new AbortController();
    const seen = await recounts.run(tenant, 'operator:root', { meter: undefined, applies: true }, signal);
    expect(seen).toMatchObject({ partial: ['ever'], applied: 1 });
    expect(seen.differences).toHaveLength(2);
    expect(usage.of(no, 'ever', 'subject user:u', 0)).toEqual([{ since: 0, amount: 3_000_000 }]);
    expect(usage.of(no, 'lately', 'subject user:u', 0)).toEqual([]);
  } finally {
    reader.close();
  }
});
