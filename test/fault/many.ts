import type { TenantNo } from '../../src/storage/rows.ts';
import { appendRows, openStore, rowOf, T0, tenantNo } from '../storage/store.ts';

/** Appends to the logs of many tenants as fast as it can until it is killed, and tells what was answered, a line each. */

const TENANTS = 40;
const [folder = '', life] = process.argv.slice(2);
// Ids are of a time, so that no two lives have one in common.
const time = T0 + Number(life) * 1_000;
const writer = await openStore(folder, { maxBytes: 64 * 1024 * 1024 });
const numbers: TenantNo[] = [];
for (let n = 0; n < TENANTS; n += 1) numbers.push(await tenantNo(writer, `t${n}`));

async function append(): Promise<never> {
  for (;;) {
    const rows = numbers.flatMap((no, at) =>
      Array.from({ length: at === 0 ? 9 : 1 }, () => rowOf(no, { time })),
    );
    const indexes = await appendRows(writer, rows);
    const told = rows.map(({ tenantNo: no, body }, at) => JSON.stringify([no, indexes[at], body]));
    process.stdout.write(`${told.join('\n')}\n`);
  }
}

await Promise.all([append(), append()]);
